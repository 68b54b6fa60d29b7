/**
 * Runs models that `oarlock web build` wrote.
 *
 *     import { load } from "./oarlock.js";
 *     const model = await load("./model/");
 *     const { fetch_name_0 } = model.run({ x: new Float32Array(1 * 3 * 224 * 224) });
 */

import type { GpuModel } from "./gpu-model.js";
import { type LoadOptions, Model } from "./model.js";
import { RemoteModel } from "./remote.js";

export { OarlockError } from "./errors.js";
export { features, type Features } from "./features.js";
export { imageTensor, type Normalisation, type Pixels, pixelsOf } from "./image.js";
export type { KernelTime } from "./engine.js";
export { gpuFacts, type GpuFacts } from "./gpu-device.js";
export type { GpuModel } from "./gpu-model.js";
export type { Input, LoadOptions, Model } from "./model.js";
export type { Key, KeyEndpoint } from "./protect.js";
export type { RemoteModel } from "./remote.js";
export type { Dim, Dtype, Manifest, Plan, Tensor, TensorInfo, TypedArray, Variant } from "./types.js";

/** The model in a folder that `oarlock web build` wrote, running in this thread. */
export function load(source: string | URL, options: LoadOptions & { variant: "webgpu" }): Promise<GpuModel>;
/** As long as another variant runs, that is what an engine takes; where only webgpu does, the model is a GpuModel. */
export function load(source: string | URL, options?: LoadOptions): Promise<Model>;
export function load(source: string | URL, options: LoadOptions = {}): Promise<Model | GpuModel> {
  return Model.load(source, options);
}

/** The same in a worker of its own. */
export function loadInWorker(source: string | URL, options: LoadOptions = {}): Promise<RemoteModel> {
  return RemoteModel.load(source, options.worker ?? new URL("./oarlock-worker.js", import.meta.url), options);
}

/** A model: what it takes and gives, and runs of it. */

import { count, Engine, type KernelTime } from "./engine.js";
import { OarlockError } from "./errors.js";
import { explain, type Features, features, fits } from "./features.js";
import { joined, locate, manifestAt, parts, type Progress } from "./loader.js";
import { type Key, opened } from "./protect.js";
import type { Dtype, Manifest, Tensor, TensorInfo, TypedArray, Variant } from "./types.js";

export interface LoadOptions {
  /** Called as files arrive. */
  progress?: Progress;
  /** The name of a variant, in place of the best that this engine can run. */
  variant?: string;
  /** Of a model that was built with `--protect`. */
  key?: Key;
}

/** What is given for an input: its elements in row-major order, or a tensor. */
export type Input = TypedArray | number[] | Tensor;

const KINDS: Record<string, Dtype[]> = {
  Float32Array: ["float32"], Float64Array: ["float64"], Int8Array: ["int8"], Int16Array: ["int16"], Int32Array: ["int32"],
  BigInt64Array: ["int64"], Uint8Array: ["uint8", "bool"],
};

export class Model {
  private constructor(
    readonly inputs: TensorInfo[],
    readonly outputs: TensorInfo[],
    /** The variant that runs. */
    readonly variant: string,
    /** What is off and why, in sentences; empty where everything is as good as it can be. */
    readonly report: string[],
    /** What runs it, for tools. */
    readonly engine: Engine,
  ) {}

  static async load(source: string | URL, options: LoadOptions = {}): Promise<Model> {
    const url = await locate(source);
    const manifest = await manifestAt(url);
    const have = features();
    const variant = choose(manifest, have, options.variant, url.href);
    const report = explain(manifest.variants, variant, have);
    const files = await parts(url, [variant.module, ...variant.weights], options.progress ?? (() => {}), report);
    const [code, ...weights] = await opened(manifest, variant, files, options.key, url.href);
    const module = await WebAssembly.compile(code as Uint8Array<ArrayBuffer>);
    const engine = await Engine.create(module, joined(weights), manifest.inputs, manifest.outputs);
    return new Model(manifest.inputs, manifest.outputs, variant.name, report, engine);
  }

  /** The outputs, by name; they are copies. */
  run(inputs: Record<string, Input>): Record<string, Tensor> {
    this.fill(inputs);
    this.engine.run();
    return Object.fromEntries(
      this.outputs.map((info, i) => [info.name, { dtype: info.dtype, shape: [...info.shape], data: this.engine.output(i).slice() }]),
    );
  }

  /** Each kernel's least time in milliseconds over some runs, the slowest first. */
  profile(inputs: Record<string, Input>, runs = 10): KernelTime[] {
    this.fill(inputs);
    this.engine.run();
    return this.engine.profile(runs);
  }

  private fill(inputs: Record<string, Input>): void {
    const names = this.inputs.map((info) => info.name);
    const unknown = Object.keys(inputs).filter((name) => !names.includes(name));
    if (unknown.length) throw new OarlockError(`the model has no input ${unknown.join(", ")}`, "", `its inputs: ${names.join(", ")}`);
    this.inputs.forEach((info, i) => {
      const given = inputs[info.name];
      if (given === undefined) throw new OarlockError(`there is no input ${info.name}`, "", `give ${describe(info)}`);
      put(this.engine.input(i), info, given);
    });
  }
}

function choose(manifest: Manifest, have: Features, wanted: string | undefined, where: string): Variant {
  if (wanted !== undefined) {
    const named = manifest.variants.find((variant) => variant.name === wanted);
    if (!named) throw new OarlockError(`there is no variant ${wanted}`, where, `it has: ${manifest.variants.map((v) => v.name).join(", ")}`);
    if (!fits(named, have)) throw new OarlockError(`this engine cannot run the variant ${wanted}`, where, `it needs: ${named.needs.join(", ")}`);
    return named;
  }
  const best = manifest.variants.find((variant) => fits(variant, have));
  if (!best) {
    const needs = manifest.variants.map((v) => `${v.name}: ${v.needs.join(", ")}`).join("; ");
    throw new OarlockError("this engine can run no variant of the model", where, `build one more (oarlock web build --variant plain); they need ${needs}`);
  }
  return best;
}

function describe(info: TensorInfo): string {
  return `${info.dtype} [${info.shape.join(", ")}]`;
}

function put(place: TypedArray, info: TensorInfo, given: Input): void {
  const tensor = !Array.isArray(given) && !ArrayBuffer.isView(given);
  const data = tensor ? given.data : given;
  const wrong = (what: string): OarlockError => new OarlockError(what, `input ${info.name}`, `give ${describe(info)}`);
  if (tensor && (given.shape.length !== info.shape.length || given.shape.some((d, i) => d !== info.shape[i]))) {
    throw wrong(`the shape is [${given.shape.join(", ")}]`);
  }
  if (data.length !== count(info.shape)) throw wrong(`there are ${data.length} elements, not ${count(info.shape)}`);
  if (Array.isArray(data)) {
    if (info.dtype === "int64") (place as BigInt64Array).set(data.map((v) => BigInt(v)));
    else (place as Float32Array).set(data);
    return;
  }
  const kind = data.constructor.name;
  if (!KINDS[kind]?.includes(info.dtype)) throw wrong(`the elements are a ${kind}`);
  (place as Float32Array).set(data as Float32Array);
}

/** A model on the GPU. */

import type { KernelTime } from "./engine.js";
import { type Input, put, shapesOf } from "./inputs.js";
import type { GpuPlan, Manifest, Tensor, TensorInfo, Variant } from "./types.js";
import { type Compiling, GpuEngine } from "./webgpu.js";

/** What Model is, but that what it gives is promised. */
export class GpuModel {
  /** Loops run on the GPU, and this thread is the only one here. */
  readonly threads = 1;

  private constructor(
    readonly inputs: TensorInfo[],
    readonly outputs: TensorInfo[],
    readonly variant: string,
    readonly report: string[],
    /** What runs it, for tools. */
    readonly engine: GpuEngine,
  ) {}

  /** `code`: the variant's module, `weights`: those of the plan in it. */
  static async create(
    { inputs, outputs }: Manifest,
    variant: Variant,
    code: Uint8Array,
    weights: Uint8Array,
    report: string[],
    compiling?: Compiling,
  ): Promise<GpuModel> {
    const plan = JSON.parse(new TextDecoder().decode(code)) as GpuPlan;
    return new GpuModel(inputs, outputs, variant.name, report, await GpuEngine.create(plan, weights, inputs, outputs, compiling));
  }

  /** The outputs, by name.  A run may be started before another one has ended. */
  async run(inputs: Record<string, Input>): Promise<Record<string, Tensor>> {
    this.fill(inputs);
    const results = await this.engine.run();
    const tensor = (info: TensorInfo, i: number): Tensor => ({ dtype: info.dtype, shape: info.shape.map(Number), data: results[i]! });
    return Object.fromEntries(this.outputs.map((info, i) => [info.name, tensor(info, i)]));
  }

  /** Each kernel's time in milliseconds over some runs, the slowest first: by the GPU's clock where it has one that may be read. */
  async profile(inputs: Record<string, Input>, runs = 10): Promise<KernelTime[]> {
    this.fill(inputs);
    return this.engine.profile(runs);
  }

  /** Gives the GPU's memory back. */
  close(): void {
    this.engine.close();
  }

  private fill(inputs: Record<string, Input>): void {
    shapesOf(this.inputs, inputs); // all of them are there, and fit
    this.inputs.forEach((info, i) => put(this.engine.input(i), info, inputs[info.name]!));
  }
}

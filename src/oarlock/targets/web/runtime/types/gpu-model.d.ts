/** A model on the GPU. */
import type { KernelTime } from "./engine.js";
import { type Input } from "./inputs.js";
import type { Manifest, Tensor, TensorInfo, Variant } from "./types.js";
import { type Compiling, GpuEngine } from "./webgpu.js";
/** What Model is, but that what it gives is promised. */
export declare class GpuModel {
    readonly inputs: TensorInfo[];
    readonly outputs: TensorInfo[];
    readonly variant: string;
    readonly report: string[];
    /** What runs it, for tools. */
    readonly engine: GpuEngine;
    /** Loops run on the GPU, and this thread is the only one here. */
    readonly threads = 1;
    private constructor();
    /** `code`: the variant's module, `weights`: those of the plan in it. */
    static create({ inputs, outputs }: Manifest, variant: Variant, code: Uint8Array, weights: Uint8Array, report: string[], compiling?: Compiling): Promise<GpuModel>;
    /** The outputs, by name.  A run may be started before another one has ended. */
    run(inputs: Record<string, Input>): Promise<Record<string, Tensor>>;
    /** Each kernel's time in milliseconds over some runs, the slowest first: by the GPU's clock where it has one that may be read. */
    profile(inputs: Record<string, Input>, runs?: number): Promise<KernelTime[]>;
    /** Gives the GPU's memory back. */
    close(): void;
    private fill;
}

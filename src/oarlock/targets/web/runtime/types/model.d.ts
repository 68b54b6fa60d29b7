/** A model: what it takes and gives, and runs of it. */
import { Engine, type KernelTime } from "./engine.js";
import { type Progress } from "./loader.js";
import { type Key } from "./protect.js";
import type { Tensor, TensorInfo, TypedArray } from "./types.js";
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
export declare class Model {
    readonly inputs: TensorInfo[];
    readonly outputs: TensorInfo[];
    /** The variant that runs. */
    readonly variant: string;
    /** What is off and why, in sentences; empty where everything is as good as it can be. */
    readonly report: string[];
    /** What runs it, for tools. */
    readonly engine: Engine;
    private constructor();
    static load(source: string | URL, options?: LoadOptions): Promise<Model>;
    /** The outputs, by name; they are copies. */
    run(inputs: Record<string, Input>): Record<string, Tensor>;
    /** Each kernel's least time in milliseconds over some runs, the slowest first. */
    profile(inputs: Record<string, Input>, runs?: number): KernelTime[];
    private fill;
}

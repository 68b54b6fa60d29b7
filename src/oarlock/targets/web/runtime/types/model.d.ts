/** A model: what it takes and gives, and runs of it. */
import { Engine, type KernelTime } from "./engine.js";
import { GpuModel } from "./gpu-model.js";
import { type Input } from "./inputs.js";
import { type Progress } from "./loader.js";
import { type Key } from "./protect.js";
import type { Tensor, TensorInfo } from "./types.js";
import { Machine } from "./vm.js";
import type { Compiling } from "./webgpu.js";
export type { Input } from "./inputs.js";
export interface LoadOptions {
    /** Called as files arrive. */
    progress?: Progress;
    /** Called while a GPU's shaders are compiled. */
    compiling?: Compiling;
    /** The name of a variant, in place of the best that this engine can run. */
    variant?: string;
    /** On how many threads loops run, where the engine has threads; by default as many as there are cores, at most 4. */
    threads?: number;
    /** The address of oarlock-worker.js, by default beside this file. */
    worker?: string | URL;
    /** Of a model that was built with `--protect`. */
    key?: Key;
}
/** A model that runs in this thread; see GpuModel for those on the GPU. */
export declare class Model {
    readonly inputs: TensorInfo[];
    readonly outputs: TensorInfo[];
    /** The variant that runs. */
    readonly variant: string;
    /** What is off and why, in sentences; empty where everything is as good as it can be. */
    readonly report: string[];
    /** What runs it, for tools. */
    readonly engine: Engine | Machine;
    private closed;
    private constructor();
    static load(source: string | URL, options?: LoadOptions): Promise<Model | GpuModel>;
    /** `threadless`: why no variant with threads shall be taken, nothing where one may. */
    private static make;
    /** On how many threads its loops run. */
    get threads(): number;
    /** Ends its threads; it cannot run any more. */
    close(): void;
    /** The outputs, by name; they are copies. */
    run(inputs: Record<string, Input>): Record<string, Tensor>;
    /** Each kernel's least time in milliseconds over some runs, the slowest first. */
    profile(inputs: Record<string, Input>, runs?: number): KernelTime[];
    /** Bytes of WebAssembly's memory that the model has: it never shrinks. */
    get memoryBytes(): number;
    private fill;
}

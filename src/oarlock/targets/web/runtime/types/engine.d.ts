/** Runs a plan: kernels called one by one on memory that they share. */
import type { Plan, TensorInfo, TypedArray } from "./types.js";
/** Elements of a shape. */
export declare const count: (shape: number[]) => number;
/** Bytes of a tensor. */
export declare const size: (info: TensorInfo) => number;
/** The time that one kernel took in a run. */
export interface KernelTime {
    name: string;
    calls: number;
    ms: number;
    workload?: string;
}
/** One call of a kernel: the times of the runs in milliseconds. */
export interface StepTimes {
    name: string;
    times: number[];
    schedule?: string;
    workload?: string;
    candidate?: string;
}
/** A module, ready to run. */
export declare class Engine {
    readonly plan: Plan;
    private readonly memory;
    private readonly regions;
    private readonly inputs;
    private readonly outputs;
    private failure;
    private readonly calls;
    private constructor();
    /** `weights`: the bytes that the plan's region of weights holds. */
    static create(module: WebAssembly.Module, weights: Uint8Array, inputs: TensorInfo[], outputs: TensorInfo[]): Promise<Engine>;
    /** The memory of an input, to be filled before a run; it is another array whenever memory has grown. */
    input(number: number): TypedArray;
    /** The memory of an output, until the next run. */
    output(number: number): TypedArray;
    run(): void;
    /** Each kernel's least time over some runs, the slowest first. */
    profile(runs?: number): KernelTime[];
    /** The times of each call, in the order of the calls. */
    steps(runs: number): StepTimes[];
    private view;
    private fail;
}

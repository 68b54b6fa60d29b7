/** Runs a plan on the GPU: one dispatch after another, recorded once a run. */
import { type KernelTime } from "./engine.js";
import type { GpuPlan, TensorInfo, TypedArray } from "./types.js";
/** Where a tensor lies in the plan's memory, and what it is. */
export interface GpuPlace extends TensorInfo {
    region: number;
    offset: number;
}
/** How steps were timed: by the GPU's own clock, or by this side's, each step submitted and awaited. */
export interface StepTimes {
    clock: "timestamp-query" | "awaited";
    /** Milliseconds of each step in each run. */
    steps: number[][];
    /** Milliseconds of a submission with nothing in it, where steps were awaited; 0 otherwise. */
    idle: number;
}
/** Told while shaders are compiled: so many of all. */
export type Compiling = (done: number, total: number) => void;
/** A plan, ready to run on the page's GPU. */
export declare class GpuEngine {
    readonly plan: GpuPlan;
    private readonly device;
    private readonly regions;
    private readonly spaces;
    private dispatches;
    private readonly held;
    private readonly results;
    private readonly takes;
    private readonly gives;
    private readonly spare;
    private gone;
    private constructor();
    /** `weights`: the bytes that the plan's region of weights holds. */
    static create(plan: GpuPlan, weights: Uint8Array, inputs: TensorInfo[], outputs: TensorInfo[], told?: Compiling): Promise<GpuEngine>;
    /** Where an input is put before a run. */
    input(number: number): TypedArray;
    /** An output of the last run that ended. */
    output(number: number): TypedArray;
    /** Sends the inputs as they are now, and computes; the outputs are of this run, whatever is started before it ends. */
    run(): Promise<TypedArray[]>;
    /**
     * Some steps alone, for tools: puts tensors where the plan has them, does the steps, and gives what then lies in other places.
     * What the steps read beside that is there from an earlier run.
     */
    part(steps: number[], takes: GpuPlace[], gives: GpuPlace[]): (data: TypedArray[]) => Promise<TypedArray[]>;
    private go;
    /** Each kernel's time over some runs, the slowest first: the mean where the GPU tells, else the least, with the way there and back. */
    profile(runs?: number): Promise<KernelTime[]>;
    /** Each step's time in each of some runs, for tools. */
    times(runs: number): Promise<StepTimes>;
    /** The number of the first region that holds what kernels make. */
    get regionOfBuffers(): number;
    /** Gives the GPU's memory back. */
    close(): void;
    private prepare;
    /** The part of a buffer that is an argument of a step's kernel. */
    private resource;
    /** Milliseconds of each dispatch by the GPU's own clock, which browsers make coarse, in each run. */
    private clocked;
    /** Milliseconds of each dispatch by this side's clock, with the way there and back, in each run. */
    private waited;
    /** Milliseconds of submissions that do nothing. */
    private empty;
    private alone;
    /** The error of the first kernel that the browser refuses by itself. */
    private blame;
    private refused;
    private lost;
}

/** Runs a plan on the GPU: one dispatch after another, recorded once a run. */
import { type KernelTime } from "./engine.js";
import type { GpuPlan, TensorInfo, TypedArray } from "./types.js";
/** Told while shaders are compiled: so many of all. */
export type Compiling = (done: number, total: number) => void;
/** A plan, ready to run on the page's GPU. */
export declare class GpuEngine {
    readonly plan: GpuPlan;
    private readonly device;
    private readonly regions;
    private readonly spaces;
    private readonly inputs;
    private readonly outputs;
    private dispatches;
    private readonly held;
    private readonly results;
    private readonly spare;
    private readonly starts;
    private back;
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
    /** Each kernel's time over some runs, the slowest first: the mean where the GPU tells, else the least, with the way there and back. */
    profile(runs?: number): Promise<KernelTime[]>;
    /** Gives the GPU's memory back. */
    close(): void;
    private prepare;
    /** The part of a buffer that is an argument of a step's kernel. */
    private resource;
    /** Milliseconds of each dispatch by the GPU's own clock, which browsers make coarse: the mean over the runs. */
    private clocked;
    /** Milliseconds of each dispatch by this side's clock, with the way there and back: the least of the runs. */
    private waited;
    private alone;
    /** The error of the first kernel that the browser refuses by itself. */
    private blame;
    private refused;
    private lost;
}

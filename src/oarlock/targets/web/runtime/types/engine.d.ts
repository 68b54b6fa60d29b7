/** Runs a plan: kernels called one by one on memory that they share. */
import { OarlockError } from "./errors.js";
import { Heap } from "./imports.js";
import type { Program } from "./program.js";
import { Pool, type Team } from "./threads.js";
import type { Dtype, Plan, TensorInfo, TypedArray } from "./types.js";
interface ArrayKind {
    new (length: number): TypedArray;
    new (buffer: ArrayBufferLike, offset: number, length: number): TypedArray;
    BYTES_PER_ELEMENT: number;
}
export declare const ARRAYS: Record<Dtype, ArrayKind>;
export declare const INITIAL_PAGES = 64;
export declare const MOST_PAGES = 65536;
/** Elements of a shape. */
export declare const count: (shape: number[]) => number;
/** Bytes of a tensor; in a plan all sizes are known. */
export declare const size: (info: TensorInfo) => number;
/** The time that one kernel took in a run. */
export interface KernelTime {
    name: string;
    calls: number;
    ms: number;
    workload?: string;
}
/** What a module's kernels are called by: a plan of fixed places, or a program where sizes are dynamic. */
export declare function planOf(module: WebAssembly.Module): Plan | Program;
/** What a kernel threw, as an error that says where; its stack and its work space are as they were before. */
export type Trapped = (error: unknown, where: string) => OarlockError;
/**
 * An instance of a module on new memory; `failures` is told what a kernel says is wrong.
 *
 * `team`: of a module whose loops run on several threads, which needs `bytes` of memory beside work space.
 */
export declare function start(module: WebAssembly.Module, failures: {
    tell: (what: string) => void;
}, bytes: number, team?: Team): Promise<{
    memory: WebAssembly.Memory;
    heap: Heap;
    instance: WebAssembly.Instance;
    trapped: Trapped;
    pool?: Pool;
}>;
/** A module with a plan, ready to run. */
export declare class Engine {
    readonly plan: Plan;
    private readonly memory;
    private readonly regions;
    private readonly sizes;
    private readonly inputs;
    private readonly outputs;
    private readonly trapped;
    private readonly pool;
    private failure;
    private readonly calls;
    private constructor();
    /** `weights`: the bytes that the plan's region of weights holds; `team`: of a module whose loops run on several threads. */
    static create(module: WebAssembly.Module, plan: Plan, weights: Uint8Array, inputs: TensorInfo[], outputs: TensorInfo[], team?: Team): Promise<Engine>;
    /** The memory of an input, to be filled before a run; it is another array whenever memory has grown. */
    input(number: number): TypedArray;
    /** The memory of an output, until the next run. */
    output(number: number): TypedArray;
    /** Bytes of memory. */
    get memoryBytes(): number;
    /** The shape of an output. */
    shape(number: number): number[];
    run(): void;
    /** How many threads run its loops. */
    get threads(): number;
    /** Ends its workers; it cannot run any more. */
    close(): void;
    /** Steps of a run. */
    get length(): number;
    /** Each kernel's least time over some runs, the slowest first. */
    profile(runs?: number): KernelTime[];
    /** Makes one call of the plan alone: for tools that time calls, or make some of them elsewhere. */
    call(step: number): void;
    /** The memory at a place of the plan (types.ts: Step), by default a whole region; it is another array whenever memory has grown. */
    at(region: number, offset?: number, bytes?: number): Uint8Array;
    private view;
    /** Does the plan's calls, its threads awake. */
    private steps;
    private make;
    private place;
}
export {};

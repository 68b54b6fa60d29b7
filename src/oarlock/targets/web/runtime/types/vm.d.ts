/** Runs a program: functions of kernel calls, branches and loops, over tensors that come and go. */
import { type KernelTime } from "./engine.js";
import { type Program } from "./program.js";
import type { Team } from "./threads.js";
import type { TensorInfo, TypedArray } from "./types.js";
/** How a kernel of a program is called; gives what it returns.  Kernels write nothing but their results, so it may call one again. */
export type CallWay = (kernel: number, call: () => number) => number;
/** A module with a program, ready to run. */
export declare class Machine {
    readonly program: Program;
    private readonly memory;
    private readonly exports;
    private readonly inputs;
    private readonly outputs;
    private readonly trapped;
    private readonly pool;
    private failure;
    private readonly constants;
    private readonly code;
    private readonly arena;
    private given;
    private found;
    private way;
    private constructor();
    /** `weights`: the bytes that the program's constants lie in; `team`: of a module whose loops run on several threads. */
    static create(module: WebAssembly.Module, program: Program, weights: Uint8Array, inputs: TensorInfo[], outputs: TensorInfo[], team?: Team): Promise<Machine>;
    /** Memory for an input of a shape, to be filled before a run and before another input is asked for. */
    input(number: number, shape: number[]): TypedArray;
    /** The memory of an output, until the next run. */
    output(number: number): TypedArray;
    /** Bytes of memory. */
    get memoryBytes(): number;
    /** The shape of an output, of the last run. */
    shape(number: number): number[];
    run(way?: CallWay): void;
    /** How many threads run its loops. */
    get threads(): number;
    /** Ends its workers; it cannot run any more. */
    close(): void;
    /** The least time over some runs of what each kernel takes in one run, the slowest first. */
    profile(runs?: number): KernelTime[];
    /** Bytes of tensors that live: inputs and outputs, between runs. */
    get liveBytes(): number;
    /** Gives the outputs of the last run back. */
    private forget;
    private tensor;
    private retain;
    private release;
    private value;
    private set;
    private drop;
    /** The results, retained; `dropped` of the caller's registers are let go once the function has its operands. */
    private call;
    private execute;
    private body;
    private step;
    /** Results of a call are retained already. */
    private fill;
    private truth;
    private view;
    private loop;
    private match;
    private kernel;
    private agree;
    private fail;
}

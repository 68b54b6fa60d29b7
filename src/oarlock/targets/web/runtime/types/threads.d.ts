/**
 * Parallel loops of kernels on several threads: workers that run the same module on the same memory, each with a stack of its own.
 *
 * A loop is dealt in parts.  The thread that comes to it takes them from the first on, workers from the last: so who is late only does
 * less, nobody waits for a worker that has not begun, and two threads find in their caches what they had there in the loop before.
 *
 * While a run goes on, idle workers look for the next loop for SPIN_MS, then sleep; between runs they sleep.  A page's own thread may not
 * sleep: it looks until the last part is done, which a worker has begun by then.
 */
import { Heap } from "./imports.js";
export declare const CONTROL_BYTES: number;
export declare const MOST_THREADS = 32;
/** What a worker needs to take part. */
export interface Join {
    what: "join";
    module: WebAssembly.Module;
    memory: WebAssembly.Memory;
    control: number;
    stack: number;
}
/** Who runs a module's loops: so many threads, whose workers run `script`. */
export interface Team {
    threads: number;
    script: string | URL;
}
/** A thread pool cannot be had; `message` says why. */
export declare class NoThreads extends Error {
}
/** The heap of a memory that several threads take from. */
export declare class SharedHeap extends Heap {
    private readonly words;
    constructor(memory: WebAssembly.Memory, control: number);
    protected get top(): number;
    protected move(from: number, to: number): boolean;
    protected get todo(): string;
    protected get size(): number;
}
/** One thread's part in a pool. */
declare class Member {
    protected readonly words: Int32Array;
    private readonly table;
    private readonly group;
    private readonly bodies;
    private said;
    constructor(words: Int32Array, table: WebAssembly.Table, group: number);
    tell(what: string): void;
    /** Does parts until none is left that nobody has begun; how many. */
    protected take(first: boolean): number;
    /** A part that nobody has begun, −1 where there is none. */
    private claim;
    /** Does a claimed part; what is wrong with it is left to the caller. */
    private perform;
    /** After a trap. */
    protected unwind(): void;
    private body;
    private fail;
}
/** What a worker does that was told to join, and what it says of it. */
export declare function join(message: Join, port: {
    postMessage(message: unknown): void;
    close(): void;
}): Promise<void>;
/** The thread that runs the plan, and its workers. */
export declare class Pool extends Member {
    private readonly workers;
    private readonly failed;
    private generation;
    private readonly maySleep;
    private constructor();
    /** `threads` − 1 workers of `script`; `failed` is told what a part of a loop says is wrong.  Raises NoThreads. */
    static start({ threads, script }: Team, module: WebAssembly.Module, instance: WebAssembly.Instance, heap: Heap, control: number, failed: (what: string) => void): Promise<Pool>;
    get threads(): number;
    /** A run goes on until `rest`: workers look for loops. */
    wake(): void;
    rest(): void;
    /** TVMBackendParallelLaunch: 0, or −1 where a part failed. */
    launch(body: number, data: number): number;
    end(): void;
    private finish;
}
/**
 * Memory to share, of `initial` pages, `bytes` for a model and some for work space; all that it may ever be is reserved at once.
 * Raises NoThreads.
 */
export declare function sharedMemory(initial: number, bytes: number, threads: number): WebAssembly.Memory;
/** How many threads this machine can run. */
export declare function cores(): Promise<number>;
export {};

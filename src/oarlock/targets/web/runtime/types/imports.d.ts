/** What kernels may import: C's mathematics, work space, and ways to say what is wrong. */
/** Memory above what is taken already; it grows as needed. */
export declare class Heap {
    readonly memory: WebAssembly.Memory;
    private taken;
    private readonly free;
    private readonly sizes;
    constructor(memory: WebAssembly.Memory, taken: number);
    /** The start of `bytes` bytes that nobody else gets. */
    take(bytes: number): number;
    /** Work space of a kernel: the smallest of those given back that is large enough, else more memory. */
    lend(bytes: number): number;
    back(start: number): void;
    /** Takes back all work space: of a kernel that ended midway. */
    reclaim(): void;
    /** The work space that was given back and ends where memory is free, made larger; −1 where none does. */
    private extended;
    /** Lets memory grow to `end` bytes. */
    private reach;
    protected get todo(): string;
    protected get top(): number;
    /** Whether the top was still `from`, and is `to` now. */
    protected move(_from: number, to: number): boolean;
    protected get size(): number;
}
/** What instantiating a module takes, on `memory`; `heap` is asked for once kernels run; `fail` is told what a kernel says is wrong. */
export declare function environment(memory: WebAssembly.Memory, heap: () => Heap, fail: (what: string) => void): WebAssembly.ModuleImports;

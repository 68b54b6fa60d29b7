/** What kernels may import: C's mathematics, work space, and ways to say what is wrong. */
/** The error function, to about one unit in the last place of a float32: a continued fraction's tail, or a power series. */
export declare function erf(x: number): number;
/** To the nearest whole number, ties to the even one. */
export declare function rint(x: number): number;
/** Memory above what is taken already; it grows as needed. */
export declare class Heap {
    readonly memory: WebAssembly.Memory;
    private top;
    private readonly free;
    private readonly sizes;
    constructor(memory: WebAssembly.Memory, base: number);
    /** The start of `bytes` bytes that nobody else gets. */
    take(bytes: number): number;
    /** Work space of a kernel: given back ones are taken first. */
    lend(bytes: number): number;
    back(start: number): void;
}
/** What instantiating a module takes, on `memory`; `heap` is asked for once kernels run; `fail` is told what a kernel says is wrong. */
export declare function environment(memory: WebAssembly.Memory, heap: () => Heap, fail: (what: string) => void): WebAssembly.ModuleImports;

/** Memory of tensors that come and go: blocks by their first byte, given back as soon as nobody reads them. */
/** A piece of memory that `users` tensors lie in. */
export interface Block {
    start: number;
    bytes: number;
    users: number;
}
/**
 * Gives out the smallest free piece that is large enough; neighbours that are free become one piece.  So a loop whose tensors grow
 * from turn to turn, or a model that runs at one size and then at another, needs little more than what lives at one time.
 */
export declare class Arena {
    private readonly heap;
    private free;
    private all;
    /** Bytes that are taken. */
    used: number;
    constructor(heap: {
        take(bytes: number): number;
    });
    take(wanted: number): Block;
    give({ start, bytes }: Block): void;
    /** All is free again, whoever had it. */
    reset(): void;
    private fitting;
    /** More from the heap: where that begins right after the last free piece, only what is missing. */
    private grow;
    private insert;
}

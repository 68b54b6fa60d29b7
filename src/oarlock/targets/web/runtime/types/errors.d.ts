/** An error that its reader can act on: what is wrong, where, and what to do. */
export declare class OarlockError extends Error {
    readonly what: string;
    readonly where: string;
    readonly todo: string;
    readonly name = "OarlockError";
    constructor(what: string, where?: string, todo?: string);
}

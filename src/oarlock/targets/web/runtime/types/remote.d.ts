/** The page's side of a model in a worker. */
import type { KernelTime } from "./engine.js";
import type { Input, LoadOptions } from "./model.js";
import type { Tensor, TensorInfo } from "./types.js";
/** A model whose runs leave the page responsive. */
export declare class RemoteModel {
    private readonly worker;
    inputs: TensorInfo[];
    outputs: TensorInfo[];
    variant: string;
    threads: number;
    report: string[];
    private readonly waiting;
    private next;
    private ended;
    private constructor();
    static load(source: string | URL, script: string | URL, options?: LoadOptions): Promise<RemoteModel>;
    run(inputs: Record<string, Input>): Promise<Record<string, Tensor>>;
    profile(inputs: Record<string, Input>, runs?: number): Promise<KernelTime[]>;
    /** Ends the worker; what was not answered fails. */
    close(): void;
    private ask;
    private hear;
    private end;
}

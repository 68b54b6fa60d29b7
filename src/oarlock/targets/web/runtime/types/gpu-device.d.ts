/** The page's (or worker's) one GPU: found once, shared by all models, and looked for again when it was lost. */
import type { GpuDevice } from "./gpu-types.js";
import type { Variant } from "./types.js";
/** What a GPU offers; `off` says in plain words why there is none. */
export interface GpuFacts {
    off: string;
    /** Who made it, as far as the browser tells. */
    name: string;
    features: string[];
    limits: Record<string, number>;
}
/** Why there can be no GPU here, told without looking for one; "" where there may be one. */
export declare function noGpu(): string;
/** What the GPU here has; it is looked for once. */
export declare function gpuFacts(): Promise<GpuFacts>;
/** What a variant needs that a GPU does not have, in sentences. */
export declare function lacking(variant: Variant, facts: GpuFacts): string[];
/** The device, with as much of each limit as there is. */
export declare function gpuDevice(): Promise<GpuDevice>;

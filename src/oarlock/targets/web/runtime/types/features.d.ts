/** What this engine has, and what that means for a model, in plain words. */
import { type GpuFacts } from "./gpu-device.js";
import type { Variant } from "./types.js";
export interface Features {
    /** Vectors of 128 bits. */
    simd: boolean;
    /** Vectors whose multiply-add may be fused. */
    relaxedSimd: boolean;
    /** Shared memory between workers: in a browser only on a page that is cross-origin isolated. */
    threads: boolean;
    crossOriginIsolated: boolean;
    /** Whether there may be a GPU; `gpu` says what it is, once it was looked for. */
    webgpu: boolean;
    gpu?: GpuFacts;
}
/** Looks at the engine once. */
export declare function features(): Features;
/** The same, with the GPU where choosing among these variants asks for it: one is wanted by its name, or nothing else runs. */
export declare function featuresFor(variants: Variant[], wanted?: string): Promise<Features>;
/** Whether an engine can run a variant. */
export declare function fits(variant: Variant, have: Features): boolean;
/** Why an engine cannot run a variant, in sentences.  `threadless`: why there are no threads. */
export declare function reasons(variant: Variant, have: Features, threadless?: string): string[];
/** Why there are no threads. */
export declare function withoutThreads(have: Features): string;
/** Why better variants were passed over, in sentences; nothing where the first fits.  `threadless`: why there are no threads. */
export declare function explain(variants: Variant[], taken: Variant, have: Features, threadless?: string): string[];

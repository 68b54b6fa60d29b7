/** What this engine has, and what that means for a model, in plain words. */

import { type GpuFacts, gpuFacts, lacking, noGpu } from "./gpu-device.js";
import type { Need, Variant } from "./types.js";

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

const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const FUNCTION = [1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0]; // () -> v128
// i32.const 0, i8x16.splat; and f32x4.relaxed_madd of three such
const SIMD = [...HEADER, ...FUNCTION, 10, 8, 1, 6, 0, 0x41, 0, 0xfd, 0x0f, 0x0b];
const RELAXED = [
  ...HEADER, ...FUNCTION, 10, 19, 1, 17, 0,
  0x41, 0, 0xfd, 0x0f, 0x41, 0, 0xfd, 0x0f, 0x41, 0, 0xfd, 0x0f, 0xfd, 0x85, 0x02, 0x0b,
];
// a memory that is shared, and i32.atomic.load
const SHARED = [
  ...HEADER, 1, 5, 1, 0x60, 0, 1, 0x7f, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 10, 1, 8, 0, 0x41, 0, 0xfe, 0x10, 2, 0, 0x0b,
];

let known: Features | undefined;

/** Looks at the engine once. */
export function features(): Features {
  known ??= {
    simd: WebAssembly.validate(new Uint8Array(SIMD)),
    relaxedSimd: WebAssembly.validate(new Uint8Array(RELAXED)),
    threads: typeof SharedArrayBuffer !== "undefined" && WebAssembly.validate(new Uint8Array(SHARED)),
    crossOriginIsolated: (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated ?? false,
    webgpu: noGpu() === "",
  };
  return known;
}

/** The same, with the GPU where choosing among these variants asks for it: one is wanted by its name, or nothing else runs. */
export async function featuresFor(variants: Variant[], wanted?: string): Promise<Features> {
  const have = features();
  const onGpu = variants.filter((variant) => variant.needs.includes("webgpu"));
  const others = variants.filter((variant) => !onGpu.includes(variant));
  const asked = wanted === undefined ? !others.some((variant) => fits(variant, have)) : onGpu.some((v) => v.name === wanted);
  if (!onGpu.length || !asked) return have;
  const gpu = await gpuFacts();
  return { ...have, gpu, webgpu: gpu.off === "" };
}

const HAS: Record<Need, (f: Features) => boolean> = {
  simd: (f) => f.simd, "relaxed-simd": (f) => f.relaxedSimd, threads: (f) => f.threads, webgpu: (f) => f.webgpu,
  "shader-f16": (f) => f.gpu?.features.includes("shader-f16") ?? true, // until the GPU was looked for
};
const WORDS: Record<Exclude<Need, "threads">, string> = {
  webgpu: "there is no GPU that this page may use",
  "shader-f16": "the GPU has no arithmetic on 16 bits (shader-f16)",
  simd: "this engine has no vectors (WebAssembly SIMD): Chrome 91, Firefox 89, Safari 16.4 and newer have it",
  "relaxed-simd": "this engine has no fused multiply-add (WebAssembly relaxed SIMD): Chrome 114 and newer have it",
};

const has = (need: Need, have: Features): boolean => HAS[need]?.(have) ?? false; // a later runtime may know more

/** Whether an engine can run a variant. */
export function fits(variant: Variant, have: Features): boolean {
  return reasons(variant, have).length === 0;
}

/** Why an engine cannot run a variant, in sentences.  `threadless`: why there are no threads. */
export function reasons(variant: Variant, have: Features, threadless = withoutThreads(have)): string[] {
  const onGpu = variant.needs.includes("webgpu");
  if (onGpu && have.gpu) return lacking(variant, have.gpu);
  if (onGpu && !have.webgpu) return [noGpu() || WORDS.webgpu];
  const why = (need: Need): string =>
    need === "threads" ? threadless : (WORDS[need] ?? `this runtime does not know what ${need} is`);
  return variant.needs.filter((need) => !has(need, have)).map(why);
}

/** Why there are no threads. */
export function withoutThreads(have: Features): string {
  if (have.crossOriginIsolated) return "this engine has no shared memory";
  return (
    "the page is not cross-origin isolated; send these two headers: " +
    "Cross-Origin-Opener-Policy: same-origin, Cross-Origin-Embedder-Policy: require-corp"
  );
}

/** Why better variants were passed over, in sentences; nothing where the first fits.  `threadless`: why there are no threads. */
export function explain(variants: Variant[], taken: Variant, have: Features, threadless = withoutThreads(have)): string[] {
  const lines: string[] = [];
  for (const variant of variants) {
    if (variant === taken) break;
    const name = variant.name.replace(/-threads$/, ""); // once for both
    for (const why of reasons(variant, have, threadless)) {
      const line = why === threadless ? `threads off: ${threadless}` : `${name} is off: ${why}`;
      if (!lines.includes(line)) lines.push(line);
    }
  }
  return lines;
}

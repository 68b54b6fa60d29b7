/** The page's (or worker's) one GPU: found once, shared by all models, and looked for again when it was lost. */

import { OarlockError } from "./errors.js";
import type { Gpu, GpuAdapter, GpuDevice } from "./gpu-types.js";
import type { Variant } from "./types.js";

/** What a GPU offers; `off` says in plain words why there is none. */
export interface GpuFacts {
  off: string;
  /** Who made it, as far as the browser tells. */
  name: string;
  features: string[];
  limits: Record<string, number>;
}

/** The limits that models may need more of than WebGPU's least. */
const LIMITS: Record<string, number> = {
  maxStorageBuffersPerShaderStage: 8, maxBufferSize: 268435456, maxStorageBufferBindingSize: 134217728,
};
/** The features that are asked for where they are. */
const FEATURES = ["shader-f16", "timestamp-query"];

let adapter: Promise<GpuAdapter | string> | undefined;
let device: Promise<GpuDevice> | undefined;

const gpu = (): Gpu | undefined => (globalThis.navigator as unknown as { gpu?: Gpu } | undefined)?.gpu;

/** Why there can be no GPU here, told without looking for one; "" where there may be one. */
export function noGpu(): string {
  if (gpu()) return "";
  if (typeof navigator === "undefined" || !("userAgent" in navigator) || navigator.userAgent.startsWith("Node.js")) {
    return "this is no browser: WebGPU is not there";
  }
  if (!(globalThis as { isSecureContext?: boolean }).isSecureContext) return "the page is not secure: WebGPU takes https, or localhost";
  return "this browser has no WebGPU: Chrome 113, Edge 113, Safari 26 and Firefox 141 (on Windows) have it";
}

async function find(): Promise<GpuAdapter | string> {
  const off = noGpu();
  if (off) return off;
  try {
    const found = await gpu()!.requestAdapter({ powerPreference: "high-performance" });
    return found ?? "no adapter: the browser has WebGPU, but found no GPU that it can use";
  } catch (error) {
    return `no adapter: ${(error as Error).message}`;
  }
}

/** What the GPU here has; it is looked for once. */
export async function gpuFacts(): Promise<GpuFacts> {
  const found = await (adapter ??= find());
  if (typeof found === "string") return { off: found, name: "", features: [], limits: {} };
  const limits = Object.fromEntries(Object.keys(LIMITS).map((name) => [name, found.limits[name]!]));
  const { vendor = "", architecture = "", description = "" } = found.info ?? {};
  return { off: "", name: description || [vendor, architecture].filter(Boolean).join(" "), features: [...found.features], limits };
}

/** What a variant needs that a GPU does not have, in sentences. */
export function lacking(variant: Variant, facts: GpuFacts): string[] {
  if (facts.off) return [facts.off];
  const lines: string[] = [];
  if (variant.needs.includes("shader-f16") && !facts.features.includes("shader-f16")) {
    lines.push("the GPU has no arithmetic on 16 bits (shader-f16)");
  }
  for (const [name, needed] of Object.entries(variant.limits ?? {})) {
    const has = facts.limits[name] ?? 0;
    if (has < needed) lines.push(`the GPU's limit ${name} is ${has}, the model needs ${needed}`);
  }
  return lines;
}

/** The device, with as much of each limit as there is. */
export function gpuDevice(): Promise<GpuDevice> {
  device ??= open().catch((error: unknown) => {
    device = undefined;
    throw error;
  });
  return device;
}

async function open(): Promise<GpuDevice> {
  const found = await (adapter ??= find());
  if (typeof found === "string") throw new OarlockError(`WebGPU is off: ${found}`, "", "load another variant");
  // an adapter gives one device: the next one is another adapter's
  adapter = undefined;
  const limits = Object.fromEntries(Object.entries(LIMITS).map(([name, least]) => [name, Math.max(least, found.limits[name] ?? 0)]));
  let made: GpuDevice;
  try {
    made = await found.requestDevice({ requiredFeatures: FEATURES.filter((name) => found.features.has(name)), requiredLimits: limits });
  } catch (error) {
    const todo = "close other pages, or load another variant";
    throw new OarlockError(`the GPU gives no device: ${(error as Error).message}`, "GPUAdapter.requestDevice", todo);
  }
  void made.lost.then(() => (device = undefined));
  return made;
}

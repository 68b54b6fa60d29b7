/** Kernels alone: what a search tries, each as a module of a few kB, beside the kernel as it was. */

import { start } from "./engine.js";
import { OarlockError } from "./errors.js";
import { calls, quiet } from "./measure.js";
import type { Pool, Team } from "./threads.js";

const TURN_MS = 3;
const TOLERANCE = 1e-3; // of a result's scale: other orders of summation, but no other kernel

/** An argument of a kernel: numbers near 1, of 0 and 1 where they are whole. */
export interface Argument {
  dtype: string;
  count: number;
}

const BYTES: Record<string, number> = {
  float64: 8, int64: 8, uint64: 8, float32: 4, int32: 4, uint32: 4, float16: 2, bfloat16: 2, int16: 2, uint16: 2, int8: 1, uint8: 1, bool: 1,
};

/** A kernel with memory of its own. */
export class Alone {
  private constructor(
    private readonly call: () => void,
    private readonly memory: WebAssembly.Memory,
    private readonly places: number[],
    private readonly args: Argument[],
    private readonly pool: Pool | undefined,
  ) {}

  /** `team`: of a kernel whose loops run on several threads. */
  static async create(module: WebAssembly.Module, args: Argument[], team?: Team): Promise<Alone> {
    let failure = "";
    const sizes = args.map(({ dtype, count }) => count * (BYTES[dtype] ?? 8));
    const room = sizes.reduce((sum, bytes) => sum + bytes + 64, 0);
    const { memory, heap, instance, pool } = await start(module, { tell: (what) => (failure = what) }, room, team);
    const places = sizes.map((bytes) => heap.take(bytes));
    const kernel = instance.exports["k0"] as (...places: number[]) => number;
    const call = (): void => {
      if (kernel(...places) !== 0) throw new OarlockError(`the kernel failed: ${failure || "it did not say why"}`);
    };
    const alone = new Alone(call, memory, places, args, pool);
    alone.fill();
    return alone;
  }

  /** Ends its workers; it cannot run any more. */
  close(): void {
    this.pool?.end();
  }

  /** The same numbers whenever it is called. */
  fill(): void {
    let seed = 1;
    const next = (): number => (seed = (seed * 48271) % 2147483647) / 2147483647;
    this.args.forEach(({ dtype, count }, i) => {
      const view = this.view(i);
      if (dtype === "float32" || dtype === "float64") for (let k = 0; k < count; k++) (view as Float32Array)[k] = 0.5 + next();
      else if (dtype.endsWith("int64")) for (let k = 0; k < count; k++) (view as BigInt64Array)[k] = BigInt(Math.floor(2 * next()));
      else if (BYTES[dtype] !== 2 || dtype.includes("int")) for (let k = 0; k < count; k++) (view as Int32Array)[k] = Math.floor(2 * next());
      else (view as Uint16Array).fill(dtype === "float16" ? 0x3c00 : 0x3f80); // 1
    });
  }

  run(): void {
    this.call();
  }

  /** The mean time of a few calls in milliseconds. */
  ms(): number {
    this.pool?.wake();
    const n = calls(this.call, TURN_MS);
    const start = performance.now();
    for (let i = 0; i < n; i++) this.call();
    return (performance.now() - start) / n;
  }

  /** What differs from another kernel's numbers after a call of each; nothing where none does. */
  differs(other: Alone): string {
    for (const kernel of [this, other]) {
      kernel.fill();
      kernel.run();
    }
    for (let i = 0; i < this.args.length; i++) {
      const { dtype } = this.args[i]!;
      if (BYTES[dtype] === 2 && !dtype.includes("int")) continue; // JavaScript does not read them
      const [mine, theirs] = [this.view(i), other.view(i)];
      let scale = 1e-30;
      for (const value of theirs) scale = Math.max(scale, Math.abs(Number(value)));
      for (let k = 0; k < mine.length; k++) {
        const [a, b] = [Number(mine[k]), Number(theirs[k])];
        if (!(Math.abs(a - b) <= TOLERANCE * scale || a === b || (Number.isNaN(a) && Number.isNaN(b)))) return `${a} is not ${b} in operand ${i}`;
      }
    }
    return "";
  }

  private view(i: number): Float32Array | Float64Array | Int32Array | Int16Array | Uint16Array | Int8Array | Uint8Array | BigInt64Array {
    const { dtype, count } = this.args[i]!;
    const [buffer, at] = [this.memory.buffer, this.places[i]!];
    if (dtype === "float32") return new Float32Array(buffer, at, count);
    if (dtype === "float64") return new Float64Array(buffer, at, count);
    if (dtype.endsWith("int64")) return new BigInt64Array(buffer, at, count);
    if (BYTES[dtype] === 4) return new Int32Array(buffer, at, count);
    if (dtype === "int16") return new Int16Array(buffer, at, count);
    if (BYTES[dtype] === 2) return new Uint16Array(buffer, at, count);
    return dtype === "int8" ? new Int8Array(buffer, at, count) : new Uint8Array(buffer, at, count);
  }
}

/** A kernel's time over another's, of so many turns: what else the machine does slows down both of a turn. */
export function ratio(kernel: Alone, base: Alone, turns: number): number {
  const ratios = Array.from({ length: turns }, () => kernel.ms() / base.ms()).sort((a, b) => a - b);
  return ratios[ratios.length >> 1]!;
}

/** The least of some times of a kernel, in milliseconds. */
export const least = (kernel: Alone, turns: number): number => quiet(Array.from({ length: turns }, () => kernel.ms()));

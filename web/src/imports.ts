/** What kernels may import: C's mathematics, work space, and ways to say what is wrong. */

import { OarlockError } from "./errors.js";

/** The error function, to about one unit in the last place of a float32: a continued fraction's tail, or a power series. */
export function erf(x: number): number {
  if (Number.isNaN(x)) return NaN;
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 200; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * sum;
  }
  let tail = 0;
  for (let n = 60; n > 0; n--) tail = n / 2 / (a + tail);
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + tail)));
}

/** To the nearest whole number, ties to the even one. */
export function rint(x: number): number {
  if (!Number.isFinite(x) || Math.abs(x) >= 2 ** 52) return x;
  const low = Math.floor(x);
  const rest = x - low;
  const whole = rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
  return whole === 0 ? (x < 0 || Object.is(x, -0) ? -0 : 0) : whole;
}

const bits = new DataView(new ArrayBuffer(8));

function nextafter(x: number, y: number): number {
  if (Number.isNaN(x) || Number.isNaN(y)) return NaN;
  if (x === y) return y;
  if (x === 0) return Math.sign(y) * Number.MIN_VALUE;
  bits.setFloat64(0, x);
  bits.setBigInt64(0, bits.getBigInt64(0) + (y > x === x > 0 ? 1n : -1n));
  return bits.getFloat64(0);
}

function nextafterf(x: number, y: number): number {
  if (Number.isNaN(x) || Number.isNaN(y)) return NaN;
  if (x === y) return y;
  if (x === 0) return Math.sign(y) * 2 ** -149;
  bits.setFloat32(0, x);
  bits.setInt32(0, bits.getInt32(0) + (y > x === x > 0 ? 1 : -1));
  return bits.getFloat32(0);
}

const numbers = (...x: number[]): number[] => x.filter((v) => !Number.isNaN(v));
const negative = (y: number): boolean => y < 0 || Object.is(y, -0);

const MATHS: Record<string, (...x: number[]) => number> = {
  acos: Math.acos, acosh: Math.acosh, asin: Math.asin, asinh: Math.asinh, atan: Math.atan, atanh: Math.atanh, cbrt: Math.cbrt,
  ceil: Math.ceil, cos: Math.cos, cosh: Math.cosh, exp: Math.exp, expm1: Math.expm1, fabs: Math.abs, floor: Math.floor, log: Math.log,
  log10: Math.log10, log1p: Math.log1p, log2: Math.log2, sin: Math.sin, sinh: Math.sinh, sqrt: Math.sqrt, tan: Math.tan, tanh: Math.tanh,
  trunc: Math.trunc, atan2: Math.atan2, hypot: Math.hypot,
  exp2: (x) => 2 ** x!,
  exp10: (x) => 10 ** x!,
  erf: (x) => erf(x!),
  rint: (x) => rint(x!),
  nearbyint: (x) => rint(x!),
  round: (x) => (Math.abs(x!) >= 2 ** 52 ? x! : Math.trunc(x!) + (Math.abs(x! - Math.trunc(x!)) >= 0.5 ? Math.sign(x!) : 0)),
  copysign: (x, y) => (negative(y!) ? -Math.abs(x!) : Math.abs(x!)),
  fmax: (...x) => (numbers(...x).length ? Math.max(...numbers(...x)) : NaN),
  fmin: (...x) => (numbers(...x).length ? Math.min(...numbers(...x)) : NaN),
  fmod: (x, y) => x! % y!,
  // C's pow is 1 for a base of 1, whatever the exponent, and for −1 to an infinite one
  pow: (x, y) => (x === 1 || (x === -1 && !Number.isFinite(y!) && !Number.isNaN(y!)) ? 1 : x! ** y!),
};

/** Memory above what is taken already; it grows as needed. */
export class Heap {
  private readonly free: number[] = []; // starts of work spaces
  private readonly sizes = new Map<number, number>();

  constructor(
    readonly memory: WebAssembly.Memory,
    private taken: number,
  ) {}

  /** The start of `bytes` bytes that nobody else gets. */
  take(bytes: number): number {
    for (;;) {
      const top = this.top;
      const start = Math.ceil(top / 64) * 64;
      this.reach(start + bytes);
      if (this.move(top, start + bytes)) return start;
    }
  }

  /** Work space of a kernel: the smallest of those given back that is large enough, else more memory. */
  lend(bytes: number): number {
    let found = -1;
    this.free.forEach((start, i) => {
      const size = this.sizes.get(start)!;
      if (size >= bytes && (found < 0 || size < this.sizes.get(this.free[found]!)!)) found = i;
    });
    if (found < 0) found = this.extended(bytes);
    if (found >= 0) return this.free.splice(found, 1)[0]!;
    const start = this.take(bytes);
    this.sizes.set(start, bytes);
    return start;
  }

  back(start: number): void {
    if (this.sizes.has(start)) this.free.push(start);
  }

  /** The work space that was given back and ends where memory is free, made larger; −1 where none does. */
  private extended(bytes: number): number {
    const top = this.top;
    const last = this.free.findIndex((start) => start + this.sizes.get(start)! === top);
    if (last < 0) return -1;
    const start = this.free[last]!;
    this.reach(start + bytes);
    if (!this.move(top, start + bytes)) return -1;
    this.sizes.set(start, bytes);
    return last;
  }

  /** Lets memory grow to `end` bytes. */
  private reach(end: number): void {
    const more = Math.ceil((end - this.size) / 65536);
    if (more <= 0) return;
    try {
      this.memory.grow(more);
    } catch {
      throw new OarlockError(`there is no memory for ${Math.ceil(more / 16)} MB more`, "WebAssembly.Memory.grow", this.todo);
    }
  }

  protected get todo(): string {
    return "";
  }

  protected get top(): number {
    return this.taken;
  }

  /** Whether the top was still `from`, and is `to` now. */
  protected move(_from: number, to: number): boolean {
    this.taken = to;
    return true;
  }

  protected get size(): number {
    return this.memory.buffer.byteLength;
  }
}

/** What instantiating a module takes, on `memory`; `heap` is asked for once kernels run; `fail` is told what a kernel says is wrong. */
export function environment(memory: WebAssembly.Memory, heap: () => Heap, fail: (what: string) => void): WebAssembly.ModuleImports {
  // pointers come as signed numbers
  const text = (at: number): string => {
    const bytes = new Uint8Array(memory.buffer);
    return new TextDecoder().decode(bytes.slice(at >>> 0, bytes.indexOf(0, at >>> 0)));
  };
  const env: WebAssembly.ModuleImports = {
    memory,
    TVMBackendAllocWorkspace: (_type: number, _id: number, bytes: bigint | number) => heap().lend(Number(bytes)),
    TVMBackendFreeWorkspace: (_type: number, _id: number, start: number) => (heap().back(start >>> 0), 0),
    TVMFFIEnvModRegisterSystemLibSymbol: () => 0,
    TVMFFIErrorSetRaisedFromCStr: (_kind: number, what: number) => fail(text(what)),
    TVMFFIErrorSetRaisedFromCStrParts: (_kind: number, parts: number, count: number) => {
      const view = new DataView(memory.buffer);
      fail(Array.from({ length: count }, (_, i) => text(view.getUint32((parts >>> 0) + 4 * i, true))).join(""));
    },
    nextafter,
    nextafterf,
  };
  for (const [name, f] of Object.entries(MATHS)) {
    env[name] = f;
    env[`${name}f`] = f; // the result of a function that returns f32 is rounded on the way in
  }
  return env;
}

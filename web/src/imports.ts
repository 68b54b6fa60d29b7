/** What kernels may import: C's mathematics, work space, and ways to say what is wrong. */

import { OarlockError } from "./errors.js";
import { MATHS, nextafter, nextafterf } from "./maths.js";

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

  /** Takes back all work space: of a kernel that ended midway. */
  reclaim(): void {
    this.free.splice(0, this.free.length, ...this.sizes.keys());
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

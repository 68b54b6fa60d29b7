/** The memory of an RPC session and the modules that run on it. */

import { MOST_PAGES } from "./engine.js";
import { OarlockError } from "./errors.js";
import { environment, Heap } from "./imports.js";
import { Arena, type Block } from "./memory.js";
import { bytesOf, type Tensor, type Value } from "./rpc-protocol.js";

// What a module's own data and stack may take (RPC_BYTES of oarlock/targets/web/module.py).  Modules share the session's memory and
// are all linked to begin at 0: the one that runs has its data there, arrays lie above.
const LOW_BYTES = 64 << 20;
const SYMBOL = "__tvm_ffi_"; // what the names of functions that take packed arguments begin with
const POINTED = "__TVM"; // … and of pointers to functions of the runtime, which who loads a module fills in
const TODO = "build and link it with oarlock.targets.web.rpc";
const ARGUMENT = 16; // bytes of a TVMFFIAny
const TENSOR = 40; // … of a DLTensor, with pointers of 32 bits
const Any = { none: 0, int: 1, bool: 2, float: 3, pointer: 4, dtype: 5, device: 6, tensor: 7 } as const;

/** A module that was loaded. */
export interface Loaded {
  module: WebAssembly.Module;
  functions: Set<string>;
}

interface Active {
  loaded: Loaded;
  exports: WebAssembly.Exports;
}

/** A call that is ready: what it reads lies in memory. */
export interface Call {
  run(): void;
  result(): Value;
}

export class Machine {
  private readonly memory = new WebAssembly.Memory({ initial: LOW_BYTES / 65536, maximum: MOST_PAGES });
  private readonly heap = new Heap(this.memory, LOW_BYTES);
  private readonly arena = new Arena(this.heap);
  private readonly blocks = new Map<number, Block>();
  private active: Active | undefined;
  private failure = "";
  private scratch = { start: 0, bytes: 0 };
  private dirty = 0; // how far up modules have written their data so far
  private team = 0; // where the struct lies that a parallel loop's body gets

  // ---- arrays -------------------------------------------------------------------------------------------------------

  alloc(bytes: number): number {
    const block = this.arena.take(bytes);
    this.blocks.set(block.start, block);
    return block.start;
  }

  free(start: number): void {
    const block = this.blocks.get(start);
    if (!block) return;
    this.blocks.delete(start);
    this.arena.give(block);
  }

  /** `count` bytes of an array, all of them where it is not said; another array whenever memory has grown. */
  bytes(tensor: Tensor, count = bytesOf(tensor)): Uint8Array {
    const block = this.blocks.get(tensor.data);
    if (!block) throw new OarlockError("an array is not of this session, or was freed");
    if (!(count >= 0) || tensor.offset + count > block.bytes)
      throw new OarlockError(`${count} bytes from ${tensor.offset} on are more than the array of ${block.bytes} bytes has`);
    return new Uint8Array(this.memory.buffer, tensor.data + tensor.offset, count);
  }

  // ---- modules ------------------------------------------------------------------------------------------------------

  async load(bytes: Uint8Array): Promise<Loaded> {
    const [a, s, m] = [bytes[1], bytes[2], bytes[3]];
    if (bytes[0] !== 0 || String.fromCharCode(a!, s!, m!) !== "asm") throw new OarlockError("the file is no WebAssembly module", "", TODO);
    let module: WebAssembly.Module;
    try {
      module = await WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>);
    } catch (error) {
      throw new OarlockError(`this engine cannot run the module: ${(error as Error).message}`, "", "build for what the browser has (mattr)");
    }
    const known = this.environment();
    const foreign = WebAssembly.Module.imports(module).filter((i) => i.module !== "env" || !(i.name in known)).map((i) => i.name);
    if (foreign.length) {
      const few = `${foreign.slice(0, 4).join(", ")}${foreign.length > 4 ? ` and ${foreign.length - 4} more` : ""}`;
      throw new OarlockError(`the module wants functions that this page does not have: ${few}`, "", `${TODO}; TVM's runtime must not be linked`);
    }
    const exports = WebAssembly.Module.exports(module);
    const named = (start: string, kind: string): string[] =>
      exports.filter((e) => e.kind === kind && e.name.startsWith(start)).map((e) => e.name);
    const functions = new Set(named(SYMBOL, "function").map((name) => name.slice(SYMBOL.length)));
    if (!functions.size) throw new OarlockError("the module has no functions that take packed arguments", "", TODO);
    const unknown = named(POINTED, "global").filter((name) => !(name.slice(2) in known));
    if (unknown.length) throw new OarlockError(`kernels call what this page does not have: ${unknown.join(", ")}`, "", TODO);
    const loaded = { module, functions };
    this.activate(loaded);
    return loaded;
  }

  /** A call of a module's function; what `args` name must not be freed before it ran. */
  prepare(loaded: Loaded, name: string, args: Value[]): Call {
    const at = this.place(args);
    const result = at + args.length * ARGUMENT;
    const run = (): void => {
      const call = this.activate(loaded)[SYMBOL + name] as (self: number, args: number, count: number, result: number) => number;
      this.failure = "";
      let status: number;
      try {
        status = call(0, at, args.length, result);
      } catch (error) {
        this.active = undefined; // its stack and data are in whatever state it left them
        this.heap.reclaim();
        if (error instanceof OarlockError) throw error;
        throw new OarlockError(`the kernel failed: ${(error as Error)?.message ?? error}`, name);
      }
      if (status === 0) return;
      this.heap.reclaim();
      throw new OarlockError(`the kernel failed: ${this.failure || "it did not say why"}`, name);
    };
    return { run, result: () => this.read(result) };
  }

  /** Reads and writes so much memory that little else stays in the processor's caches. */
  flush(bytes: number): void {
    const half = Math.ceil(bytes / 2);
    if (!half) return;
    const start = this.alloc(2 * half);
    const all = new Uint8Array(this.memory.buffer, start, 2 * half);
    all.copyWithin(0, half);
    this.free(start);
  }

  // ---- within -------------------------------------------------------------------------------------------------------

  private environment(): WebAssembly.ModuleImports {
    const env = environment(this.memory, () => this.heap, (what) => (this.failure = what));
    // a loop's body runs once, as the one task that there is
    env["TVMBackendParallelLaunch"] = (body: number, data: number) => {
      const table = this.active!.exports["__indirect_function_table"] as WebAssembly.Table;
      this.team ||= this.heap.take(8); // {void* sync_handle; int32_t num_task}
      new DataView(this.memory.buffer).setInt32(this.team + 4, 1, true);
      return (table.get(body >>> 0) as (task: number, team: number, data: number) => number)(0, this.team, data);
    };
    env["TVMBackendParallelBarrier"] = () => 0;
    return env;
  }

  /** The exports of a module whose data lie in memory: they are put there anew when another one ran last. */
  private activate(loaded: Loaded): WebAssembly.Exports {
    if (this.active?.loaded === loaded) return this.active.exports;
    this.active = undefined;
    const env = this.environment();
    new Uint8Array(this.memory.buffer, 0, this.dirty).fill(0);
    let exports: WebAssembly.Exports;
    try {
      exports = new WebAssembly.Instance(loaded.module, { env }).exports;
    } catch (error) {
      throw new OarlockError(`the module does not fit this page: ${(error as Error).message}`, "", TODO);
    }
    const base = Number((exports["__heap_base"] as WebAssembly.Global | undefined)?.value ?? Infinity);
    if (base > LOW_BYTES) throw new OarlockError("the module's own data are too large", "", "pass large constants as arguments");
    this.dirty = Math.max(this.dirty, base);
    this.point(exports, env);
    this.active = { loaded, exports };
    return exports;
  }

  /** Fills in the module's pointers to functions of the runtime.  A table takes no function of JavaScript: they go through a module. */
  private point(exports: WebAssembly.Exports, env: WebAssembly.ModuleImports): void {
    const names = Object.keys(exports).filter((name) => name.startsWith(POINTED));
    if (!names.length) return;
    const table = exports["__indirect_function_table"] as WebAssembly.Table | undefined;
    const through = new WebAssembly.Instance(new WebAssembly.Module(THROUGH as Uint8Array<ArrayBuffer>), { env }).exports;
    const view = new DataView(this.memory.buffer);
    for (const name of names) {
      const wanted = through[name.slice(2)];
      if (!table || !wanted) throw new OarlockError(`kernels call what this page does not have: ${name}`, "", TODO);
      const index = table.grow(1);
      table.set(index, wanted);
      view.setUint32(Number((exports[name] as WebAssembly.Global).value), index, true);
    }
  }

  /** Arguments in memory, room for a result after them; where. */
  private place(args: Value[]): number {
    let shapes = ARGUMENT * (args.length + 1);
    let bytes = shapes;
    for (const arg of args) if (arg !== null && typeof arg === "object" && "tensor" in arg) bytes += TENSOR + 8 * arg.tensor.shape.length;
    if (bytes > this.scratch.bytes) this.scratch = { start: this.heap.take(2 * bytes), bytes: 2 * bytes };
    const { start } = this.scratch;
    new Uint8Array(this.memory.buffer, start, bytes).fill(0);
    const view = new DataView(this.memory.buffer, start, bytes);
    args.forEach((arg, i) => {
      const at = ARGUMENT * i;
      const type = (index: number): void => view.setInt32(at, index, true);
      if (arg === null) type(Any.none);
      else if (typeof arg === "bigint" || typeof arg === "boolean") {
        type(typeof arg === "bigint" ? Any.int : Any.bool);
        view.setBigInt64(at + 8, BigInt(arg), true);
      } else if (typeof arg === "number") {
        type(Any.float);
        view.setFloat64(at + 8, arg, true);
      } else if (typeof arg === "object" && "tensor" in arg) {
        this.bytes(arg.tensor); // it must be all there
        type(Any.tensor);
        view.setUint32(at + 8, start + shapes, true);
        this.describe(view, shapes, arg.tensor);
        shapes += TENSOR + 8 * arg.tensor.shape.length;
      } else throw new OarlockError(`kernels take arrays and numbers; argument ${i} is neither`);
    });
    return start;
  }

  /** A DLTensor, its shape after it; no strides: it is compact. */
  private describe(view: DataView, at: number, { data, device, dtype, shape, offset }: Tensor): void {
    view.setUint32(at, data, true);
    view.setInt32(at + 4, device.type, true);
    view.setInt32(at + 8, device.id, true);
    view.setInt32(at + 12, shape.length, true);
    view.setUint8(at + 16, dtype.code);
    view.setUint8(at + 17, dtype.bits);
    view.setUint16(at + 18, dtype.lanes, true);
    view.setUint32(at + 20, view.byteOffset + at + TENSOR, true);
    view.setBigUint64(at + 32, BigInt(offset), true);
    shape.forEach((dim, i) => view.setBigInt64(at + TENSOR + 8 * i, BigInt(dim), true));
  }

  private read(at: number): Value {
    const view = new DataView(this.memory.buffer, at, ARGUMENT);
    const type = view.getInt32(0, true);
    if (type === Any.none) return null;
    if (type === Any.int) return view.getBigInt64(8, true);
    if (type === Any.bool) return view.getBigInt64(8, true) !== 0n;
    if (type === Any.float) return view.getFloat64(8, true);
    throw new OarlockError(`the kernel gave a value of a type that does not travel (type index ${type})`);
  }
}

/** A module that exports what it imports. */
const THROUGH = ((): Uint8Array => {
  const [i32, i64] = [0x7f, 0x7e];
  const types = [[i32, i32, i64, i32, i32], [i32, i32, i32], [i32, i32]];
  const functions: [string, number][] = [
    ["TVMBackendAllocWorkspace", 0], ["TVMBackendFreeWorkspace", 1], ["TVMBackendParallelLaunch", 1], ["TVMBackendParallelBarrier", 2],
  ];
  // all lengths here are below 128, but for those of sections
  const number = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...number(n >> 7)]);
  const text = (s: string): number[] => [s.length, ...Array.from(s, (c) => c.charCodeAt(0))];
  const section = (kind: number, count: number, body: number[]): number[] => [kind, ...number(body.length + 1), count, ...body];
  return new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, types.length, types.flatMap((params) => [0x60, params.length, ...params, 1, i32])),
    ...section(2, functions.length, functions.flatMap(([name, type]) => [...text("env"), ...text(name), 0, type])),
    ...section(7, functions.length, functions.flatMap(([name], i) => [...text(name), 0, i])),
  ]);
})();

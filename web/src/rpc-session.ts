/** A session of TVM's RPC: answers packets, one by one. */

import { OarlockError } from "./errors.js";
import { stretch } from "./measure.js";
import { fill } from "./rpc-random.js";
import { type Call, type Loaded, Machine } from "./rpc-machine.js";
import {
  answered, bytesOf, Code, type Device, exception, Reader, returned, type Tensor, Type, type Value, VERSION, Writer,
} from "./rpc-protocol.js";

const CPU = 1; // the one device
const CACHES_BYTES = 64 << 20; // more than most processors keep
const GOLDEN = 1.618;
const EXIST = 0; // of the attributes of a device

type Result = Value | Callable | Module;
type Args = Value[];

/** A function that a client may call. */
class Callable {
  constructor(
    readonly call: (args: Args) => Result | Promise<Result>,
    /** Where it can be called often: a call with arguments that are in place. */
    readonly prepare?: (args: Args) => Call,
  ) {}
}

/** A module, with those that were imported into it. */
class Module {
  readonly imports: Module[] = [];

  constructor(readonly loaded: Loaded) {}

  find(name: string, deep: boolean): Module | undefined {
    if (this.loaded.functions.has(name)) return this;
    if (!deep) return undefined;
    for (const other of this.imports) {
      const found = other.find(name, true);
      if (found) return found;
    }
    return undefined;
  }
}

export class Session {
  private readonly machine = new Machine();
  private readonly objects = new Map<number, Callable | Module>();
  private next = 1;
  private readonly files = new Map<string, Uint8Array>();
  private system: Module | undefined;
  private started = false;

  /** The answer to a packet (without its length); none when the client ends the session. */
  async answer(packet: Uint8Array): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      const reader = new Reader(packet);
      const code = reader.i32();
      if (code === Code.shutdown) return undefined;
      if (code === Code.initServer) return await this.start(reader);
      if (!this.started) throw new OarlockError("the session has not begun");
      if (code === Code.callFunc) return await this.call(reader);
      if (code === Code.copyToRemote || code === Code.copyFromRemote) return this.copy(code, reader);
      return answered(this.request(code, reader.values()));
    } catch (error) {
      return exception(error instanceof Error ? error.message : String(error));
    }
  }

  // ---- packets ------------------------------------------------------------------------------------------------------

  private async start(reader: Reader): Promise<Uint8Array<ArrayBuffer>> {
    const version = reader.text();
    if (version !== VERSION) throw new OarlockError(`the client speaks version ${version} of TVM's RPC, this page ${VERSION}`);
    if (this.started) throw new OarlockError("the session has begun already");
    const [constructor, module] = reader.values();
    if (constructor !== undefined && constructor !== "rpc.WasmSession" && constructor !== "rpc.LocalSession") {
      throw new OarlockError(`this page has no session ${String(constructor)}`, "", "ask for rpc.WasmSession with the bytes of a module, or for none");
    }
    if (constructor === "rpc.WasmSession") {
      if (!(module instanceof Uint8Array)) throw new OarlockError("rpc.WasmSession takes the bytes of a module");
      this.system = new Module(await this.machine.load(module));
    }
    this.started = true;
    return answered(null);
  }

  private async call(reader: Reader): Promise<Uint8Array<ArrayBuffer>> {
    const handle = reader.u64();
    const callee = this.object(handle, Callable);
    return returned(this.out(await callee.call(reader.values())));
  }

  private copy(code: number, reader: Reader): Uint8Array<ArrayBuffer> {
    const tensor = reader.tensor();
    onCpu(tensor.device);
    const count = reader.u64();
    if (code === Code.copyFromRemote) return new Writer(Code.copyAck).data(this.machine.bytes(tensor, count)).packet();
    this.machine.bytes(tensor, count).set(reader.data(count));
    return answered(null);
  }

  private request(code: number, args: Args): Value {
    const device = (): void => onCpu((args[0] as { device: Device }).device);
    switch (code) {
      case Code.getGlobalFunc: {
        const found = this.globals[args[0] as string];
        return found ? this.out(found) : { pointer: 0 };
      }
      case Code.freeHandle:
        this.objects.delete(pointer(args[0]));
        return null;
      case Code.devGetAttr:
        if (args[1] === BigInt(EXIST)) return BigInt((args[0] as { device: Device }).device.type === CPU);
        device();
        return null;
      case Code.devAllocData:
        device();
        return { pointer: this.machine.alloc(Number(args[1])) };
      case Code.devAllocDataWithScope: {
        const tensor = array(args[0]);
        if (args[1] !== null && args[1] !== "global") throw new OarlockError(`there is no memory ${String(args[1])} here`);
        return { pointer: this.machine.alloc(bytesOf(tensor)) };
      }
      case Code.devFreeData:
        device();
        this.machine.free(pointer(args[1]));
        return null;
      case Code.copyAmongRemote: {
        const [from, to] = [array(args[0]), array(args[1])];
        const count = Math.min(bytesOf(from), bytesOf(to));
        const source = this.machine.bytes(from, count);
        this.machine.bytes(to, count).set(source);
        return null;
      }
      case Code.devSetDevice: // all that runs here has ended when its call does: there is nothing to wait for
      case Code.devStreamSync:
      case Code.devFreeStream:
      case Code.devSetStream:
        device();
        return null;
      case Code.devCreateStream:
      case Code.devGetCurrentStream:
        device();
        return { pointer: 0 };
    }
    throw new OarlockError(`this page does not know the request ${code}`);
  }

  // ---- objects ------------------------------------------------------------------------------------------------------

  private out(result: Result): Value {
    if (!(result instanceof Callable) && !(result instanceof Module)) return result;
    this.objects.set(this.next, result);
    return { handle: this.next++, type: result instanceof Callable ? Type.function : Type.module };
  }

  private object<T extends Callable | Module>(handle: number, kind: new (...args: never[]) => T): T {
    const found = this.objects.get(handle);
    if (!(found instanceof kind)) throw new OarlockError("the session has no such function or module");
    return found;
  }

  private module(value: Value | undefined): Module {
    if (value === null || typeof value !== "object" || !("handle" in value)) throw new OarlockError("a module is wanted here");
    return this.object(value.handle, Module);
  }

  private function(module: Module, name: string, deep: boolean): Callable | null {
    const owner = module.find(name, deep);
    if (!owner) return null;
    const prepare = (args: Args): Call => this.machine.prepare(owner.loaded, name, args);
    const call = (args: Args): Value => {
      const ready = prepare(args);
      ready.run();
      return ready.result();
    };
    return new Callable(call, prepare);
  }

  // ---- functions that clients ask for by name -----------------------------------------------------------------------

  private readonly globals: Record<string, Callable> = Object.assign(Object.create(null), {
    "tvm.rpc.server.upload": new Callable(([name, data]) => {
      if (!(data instanceof Uint8Array)) throw new OarlockError("upload takes a name and bytes");
      this.files.set(path(name), data.slice());
      return null;
    }),
    "tvm.rpc.server.download": new Callable(([name]) => this.file(name)),
    "tvm.rpc.server.remove": new Callable(([name]) => (this.files.delete(path(name)), null)),
    "tvm.rpc.server.listdir": new Callable(([folder]) => {
      const start = path(folder).replace(/\/?$/, "/").replace(/^\.?\//, "");
      return [...this.files.keys()].filter((name) => name.startsWith(start)).map((name) => name.slice(start.length)).join(",");
    }),
    "tvm.rpc.server.load_module": new Callable(async ([name]) => new Module(await this.machine.load(this.file(name)))),
    "tvm.rpc.server.ImportModule": new Callable(([parent, child]) => (this.module(parent).imports.push(this.module(child)), null)),
    "tvm.rpc.server.ModuleGetFunction": new Callable(([module, name, deep]) => this.function(this.module(module), String(name), deep === true)),
    "ffi.SystemLib": new Callable(() => this.lib()),
    "runtime.SystemLib": new Callable(() => this.lib()),
    "runtime.RPCTimeEvaluator": new Callable((args) => this.evaluator(args)),
    "tvm.contrib.random.random_fill": new Callable(([tensor]) => this.random(tensor)),
    "tvm.contrib.random.random_fill_for_measure": new Callable(([tensor]) => this.random(tensor)),
    "cache_flush_cpu_non_first_arg": new Callable(() => (this.machine.flush(CACHES_BYTES), null)),
  });

  private file(name: Value | undefined): Uint8Array {
    const found = this.files.get(path(name));
    if (!found) throw new OarlockError(`there is no file ${String(name)}`, "", "upload it first");
    return found;
  }

  private lib(): Module {
    if (this.system) return this.system;
    throw new OarlockError("the session began without a module", "", 'connect with session_constructor_args=["rpc.WasmSession", module], or load one');
  }

  private random(value: Value | undefined): null {
    const tensor = array(value);
    fill(this.machine.bytes(tensor), tensor.dtype);
    return null;
  }

  /** What times a function as TVM's evaluator does: a call to warm up, then `repeat` times the mean of `number` calls in seconds. */
  private evaluator([owner, name, deviceType, , ...numbers]: Args): Callable {
    const [first, repeat, leastMs, zeros, cooldownMs, every, flush] = numbers.map(Number) as [number, number, number, number, number, number, number];
    const before = String(numbers[7] ?? "");
    if (Number(deviceType) !== CPU) throw new OarlockError("this page has the device cpu alone");
    const timed = owner === null ? this.globals[String(name)] : this.function(this.module(owner), String(name), true);
    if (!timed) throw new OarlockError(`there is no function ${String(name)}`);
    const prepared = before ? this.globals[before] : undefined;
    if (before && !prepared) throw new OarlockError(`there is no function ${before}`);
    return new Callable(async (args) => {
      const call = timed.prepare?.(args);
      const once = call ? () => call.run() : async () => void (await timed.call(args));
      await once();
      const times = new Float64Array(repeat);
      let number = Math.max(1, first);
      for (let i = 0; i < repeat; i++) {
        await prepared?.call(args);
        let ms = 0;
        let unseen = 0;
        // the clock is coarse: what it cannot tell is timed as if a longer stretch were asked for
        const least = Math.max(leastMs, stretch());
        do {
          if (ms > 0) number = Math.ceil(Math.max(least / (ms / number) + 1, number * GOLDEN));
          this.machine.flush(flush);
          const begin = performance.now();
          if (call) for (let n = 0; n < number; n++) call.run();
          else for (let n = 0; n < number; n++) await once();
          ms = performance.now() - begin;
          if (ms === 0) {
            unseen++;
            number *= 2;
          }
        } while (ms < least && unseen < Math.max(zeros, 1));
        times[i] = ms / 1e3 / number;
        if (cooldownMs > 0 && i % Math.max(1, every) === 0) await new Promise((done) => setTimeout(done, cooldownMs));
      }
      return new Uint8Array(times.buffer);
    });
  }
}

const path = (name: Value | undefined): string => {
  if (typeof name !== "string") throw new OarlockError("the name of a file is wanted here");
  return name;
};

const pointer = (value: Value | undefined): number =>
  value !== null && typeof value === "object" && "pointer" in value ? value.pointer : 0;

function array(value: Value | undefined): Tensor {
  if (value === null || typeof value !== "object" || !("tensor" in value)) throw new OarlockError("an array is wanted here");
  onCpu(value.tensor.device);
  return value.tensor;
}

function onCpu(device: Device): void {
  if (device.type !== CPU) throw new OarlockError(`this page has the device cpu alone, not ${device.type}`, "", "use remote.cpu()");
}

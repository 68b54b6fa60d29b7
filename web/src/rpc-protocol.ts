/** TVM's RPC protocol (version 0.8.0), as a server reads and writes it: numbers are little-endian, a packet begins with its length. */

import { OarlockError } from "./errors.js";

export const MAGIC = 0xff271; // what a handshake begins with; the two after it are a proxy's refusals
export const DUPLICATE = MAGIC + 1;
export const MISMATCH = MAGIC + 2;
export const VERSION = "0.8.0";
const MOST_BYTES = 2 ** 32; // of a packet: more is no packet

export const Code = {
  shutdown: 1, initServer: 2, callFunc: 3, return: 4, exception: 5, copyFromRemote: 6, copyToRemote: 7, copyAck: 8, getGlobalFunc: 9,
  freeHandle: 10, devSetDevice: 11, devGetAttr: 12, devAllocData: 13, devFreeData: 14, devStreamSync: 15, copyAmongRemote: 16,
  devAllocDataWithScope: 17, devCreateStream: 18, devFreeStream: 19, devSetStream: 20, devGetCurrentStream: 21,
} as const;

/** Type indices of tvm-ffi. */
export const Type = {
  none: 0, int: 1, bool: 2, float: 3, pointer: 4, dtype: 5, device: 6, tensor: 7, rawStr: 8, byteArray: 9, smallStr: 11, smallBytes: 12,
  object: 64, str: 65, bytes: 66, function: 68, module: 73, rpcObject: 128 - 13,
} as const;

export interface Device {
  type: number;
  id: number;
}

export interface DataType {
  code: number;
  bits: number;
  lanes: number;
}

/** An array of the session's memory: `data` is where it begins, `offset` bytes before its first element. */
export interface Tensor {
  data: number;
  device: Device;
  dtype: DataType;
  shape: number[];
  offset: number;
}

/** A value as it travels.  Whole numbers are bigints and others are numbers, so that each comes back as what it was. */
export type Value =
  | null | bigint | boolean | number | string | Uint8Array
  | { pointer: number } | { dtype: DataType } | { device: Device } | { tensor: Tensor }
  | { handle: number; type: number }; // of a function, a module or another object here

const UTF8 = new TextEncoder();

/** Bytes of a tensor's elements. */
export const bytesOf = ({ dtype, shape }: Tensor): number =>
  shape.reduce((a, b) => a * b, 1) * Math.ceil((dtype.bits * dtype.lanes) / 8);

export class Reader {
  private at = 0;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  i32(): number {
    return this.view.getInt32(this.skip(4), true);
  }

  i64(): bigint {
    return this.view.getBigInt64(this.skip(8), true);
  }

  /** A whole number of 64 bits that a number holds exactly. */
  u64(): number {
    const value = Number(this.view.getBigUint64(this.skip(8), true));
    if (!Number.isSafeInteger(value)) throw new OarlockError(`a packet has the number ${value}, which is none of this page's`);
    return value;
  }

  data(count: number): Uint8Array {
    const start = this.skip(count);
    return this.bytes.subarray(start, start + count);
  }

  text(): string {
    return new TextDecoder().decode(this.data(this.u64()));
  }

  device(): Device {
    return { type: this.i32(), id: this.i32() };
  }

  dtype(): DataType {
    const at = this.skip(4);
    return { code: this.view.getUint8(at), bits: this.view.getUint8(at + 1), lanes: this.view.getUint16(at + 2, true) };
  }

  tensor(): Tensor {
    const data = this.u64();
    const device = this.device();
    const ndim = this.i32();
    const dtype = this.dtype();
    const shape = Array.from({ length: ndim }, () => this.u64());
    return { data, device, dtype, shape, offset: this.u64() };
  }

  values(): Value[] {
    return Array.from({ length: this.i32() }, () => this.value());
  }

  private value(): Value {
    const type = this.i32();
    switch (type) {
      case Type.none: return null;
      case Type.int: return this.i64();
      case Type.bool: return this.i64() !== 0n;
      case Type.float: return this.view.getFloat64(this.skip(8), true);
      case Type.pointer: return { pointer: this.u64() };
      case Type.device: return { device: this.device() };
      case Type.tensor: return { tensor: this.tensor() };
      case Type.rawStr: return this.text();
      case Type.byteArray: return this.data(this.u64());
      case Type.function:
      case Type.module: return { handle: this.u64(), type };
      case Type.dtype: {
        const dtype = this.dtype();
        this.skip(4);
        return { dtype };
      }
    }
    const inner = this.i32(); // strings, bytes and objects say what they are once more
    if (inner === Type.str) return this.text();
    if (inner === Type.bytes) return this.data(this.u64());
    if (inner === Type.rpcObject) return { handle: this.u64(), type: Type.object };
    throw new OarlockError(`an argument is of a type that does not travel (type index ${type})`);
  }

  private skip(count: number): number {
    const at = this.at;
    if (count < 0 || at + count > this.bytes.length) throw new OarlockError("a packet ends too early");
    this.at += count;
    return at;
  }
}

/** Puts a packet together. */
export class Writer {
  private parts: Uint8Array[] = [];

  constructor(code?: number) {
    if (code !== undefined) this.i32(code);
  }

  i32(value: number): this {
    return this.number(4, (view) => view.setInt32(0, value, true));
  }

  i64(value: bigint | number): this {
    return this.number(8, (view) => view.setBigInt64(0, BigInt(value), true));
  }

  data(bytes: Uint8Array): this {
    this.parts.push(bytes);
    return this;
  }

  text(value: string): this {
    const bytes = UTF8.encode(value);
    return this.i64(bytes.length).data(bytes);
  }

  tensor({ data, device, dtype, shape, offset }: Tensor): this {
    this.i64(data).i32(device.type).i32(device.id).i32(shape.length).dtype(dtype);
    for (const dim of shape) this.i64(dim);
    return this.i64(offset);
  }

  values(values: Value[]): this {
    this.i32(values.length);
    for (const value of values) this.value(value);
    return this;
  }

  value(value: Value): this {
    if (value === null) return this.i32(Type.none);
    if (typeof value === "bigint") return this.i32(Type.int).i64(value);
    if (typeof value === "boolean") return this.i32(Type.bool).i64(Number(value));
    if (typeof value === "number") return this.i32(Type.float).number(8, (view) => view.setFloat64(0, value, true));
    if (typeof value === "string") return this.i32(Type.rawStr).text(value);
    if (value instanceof Uint8Array) return this.i32(Type.byteArray).i64(value.length).data(value);
    if ("pointer" in value) return this.i32(Type.pointer).i64(value.pointer);
    if ("dtype" in value) return this.i32(Type.dtype).dtype(value.dtype).i32(0);
    if ("device" in value) return this.i32(Type.device).i32(value.device.type).i32(value.device.id);
    if ("tensor" in value) return this.i32(Type.tensor).tensor(value.tensor);
    return this.i32(Type.pointer).i64(value.handle);
  }

  /** The packet, its length before it. */
  packet(): Uint8Array<ArrayBuffer> {
    const length = this.parts.reduce((sum, part) => sum + part.length, 0);
    const packet = new Uint8Array(8 + length);
    new DataView(packet.buffer).setBigUint64(0, BigInt(length), true);
    let at = 8;
    for (const part of this.parts) {
      packet.set(part, at);
      at += part.length;
    }
    return packet;
  }

  private dtype({ code, bits, lanes }: DataType): this {
    return this.data(new Uint8Array([code, bits, lanes & 255, lanes >> 8]));
  }

  private number(bytes: number, set: (view: DataView) => void): this {
    const part = new Uint8Array(bytes);
    set(new DataView(part.buffer));
    return this.data(part);
  }
}

/** What a function gave, as calls answer: its type, then the value. */
export function returned(value: Value): Uint8Array<ArrayBuffer> {
  return new Writer(Code.return).values([BigInt(typeOf(value)), value]).packet();
}

/** What the system's own requests answer. */
export const answered = (value: Value): Uint8Array<ArrayBuffer> => new Writer(Code.return).values([value]).packet();

export const exception = (what: string): Uint8Array<ArrayBuffer> => new Writer(Code.exception).values([what]).packet();

function typeOf(value: Value): number {
  if (value === null) return Type.none;
  if (typeof value === "bigint") return Type.int;
  if (typeof value === "boolean") return Type.bool;
  if (typeof value === "number") return Type.float;
  if (typeof value === "string") return Type.str;
  if (value instanceof Uint8Array) return Type.bytes;
  if ("pointer" in value) return Type.pointer;
  if ("dtype" in value) return Type.dtype;
  if ("device" in value) return Type.device;
  if ("tensor" in value) return Type.tensor;
  return value.type;
}

/** Bytes as they come, in pieces of any size, given out in pieces of the size that is asked for. */
export class Incoming {
  private readonly pieces: Uint8Array[] = [];
  private have = 0;

  add(piece: Uint8Array): void {
    this.pieces.push(piece);
    this.have += piece.length;
  }

  /** So many bytes, or nothing while there are fewer. */
  take(count: number): Uint8Array<ArrayBuffer> | undefined {
    if (this.have < count) return undefined;
    const taken = new Uint8Array(count);
    for (let at = 0; at < count; ) {
      const piece = this.pieces[0]!;
      const part = piece.subarray(0, count - at);
      taken.set(part, at);
      at += part.length;
      if (part.length === piece.length) this.pieces.shift();
      else this.pieces[0] = piece.subarray(part.length);
    }
    this.have -= count;
    return taken;
  }
}

/** The stream of a connection to a proxy: its greeting, then packets. */
export class Stream {
  private readonly incoming = new Incoming();
  private code: number | undefined;
  private keyLength: number | undefined;
  private packetLength: number | undefined;
  /** What the other side called itself; known after the greeting. */
  peer: string | undefined;

  /** What a server says first. */
  static hello(key: string): Uint8Array<ArrayBuffer> {
    const name = UTF8.encode(`server:${key}`);
    const packet = new Writer().i32(MAGIC).i32(name.length).data(name).packet();
    return packet.slice(8);
  }

  /** Packets, without their lengths, that are complete with these bytes; before, `peer` may become known.  Throws what a proxy refuses. */
  add(bytes: Uint8Array): Uint8Array<ArrayBuffer>[] {
    this.incoming.add(bytes);
    const packets: Uint8Array<ArrayBuffer>[] = [];
    while (this.peer !== undefined || this.greet()) {
      if (this.packetLength === undefined) {
        const head = this.incoming.take(8);
        if (!head) break;
        this.packetLength = new Reader(head).u64();
        if (this.packetLength > MOST_BYTES) throw new OarlockError(`a packet of ${this.packetLength} bytes is too large`);
      }
      const packet = this.incoming.take(this.packetLength);
      if (!packet) break;
      this.packetLength = undefined;
      if (packet.length) packets.push(packet);
    }
    return packets;
  }

  private greet(): boolean {
    if (this.code === undefined) {
      const head = this.incoming.take(4);
      if (!head) return false;
      this.code = new Reader(head).i32();
      if (this.code === DUPLICATE) throw new Refused("another page serves this key already", true);
      if (this.code === MISMATCH) throw new Refused("no client came in the time that the proxy waits", false);
      if (this.code !== MAGIC) throw new Refused("what answered is no TVM RPC proxy", true);
    }
    if (this.keyLength === undefined) {
      const head = this.incoming.take(4);
      if (!head) return false;
      this.keyLength = new Reader(head).i32();
    }
    const key = this.incoming.take(this.keyLength);
    if (!key) return false;
    this.peer = new TextDecoder().decode(key);
    return true;
  }
}

/** A proxy does not take this server; `wait`: nor will it, if asked again at once. */
export class Refused extends OarlockError {
  constructor(what: string, readonly wait: boolean) {
    super(what);
  }
}

/** The seconds that a client wants its session to last at most, from what it calls itself ("client:wasm:0.5 -timeout=10"); 0: for ever. */
export function timeoutOf(peer: string): number {
  const found = /\s-timeout=([\d.]+)/.exec(peer);
  return found ? Number(found[1]) : 0;
}

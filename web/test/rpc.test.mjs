import assert from "node:assert/strict";
import { test } from "node:test";
import { source } from "./helpers.mjs";

const { exception, Reader, returned, Stream, timeoutOf, Writer } = await source("rpc-protocol");
const { Session } = await source("rpc-session");
const { fill } = await source("rpc-random");

const bytes = (hex) => new Uint8Array(Buffer.from(hex.replace(/\s/g, ""), "hex"));
const hex = (array) => Buffer.from(array).toString("hex");
const i32 = (n) => hex(new Uint8Array(new Int32Array([n]).buffer));
const i64 = (n) => hex(new Uint8Array(new BigInt64Array([BigInt(n)]).buffer));

// what TVM 0.27's client sent to a server that wrote it down
const INIT = "020000000500000000000000302e382e300200000041000000410000000f000000000000007270632e5761736d53657373696f6e0c00000042000000040000000000000000" +
  "61736d";
const CALL = "030000002a000000000000000c0000000100000007000000000000000300000000000000000004c0020000000100000000000000000000000800000004000000000000007465" +
  "787408000000170000000000000061206c6f6e6765722074657874207468616e20666974730c00000042000000020000000000000078790600000001000000000000000700000000" +
  "10000000000000010000000000000002000000022001000200000000000000030000000000000000000000000000000500000002100100000000000c000000420000000300000000" +
  "00000001020342000000420000000a0000000000000030313233343536373839";
const ALLOC = "11000000020000000700000000000000000000000100000000000000020000000220010002000000000000000300000000000000000000000000000000000000";
const SYNC = "0f00000002000000060000000100000000000000040000000000000000000000";
const GET = "090000000100000008000000010000000000000066";

test("what TVM's client sends is read", () => {
  const init = new Reader(bytes(INIT));
  assert.equal(init.i32(), 2);
  assert.equal(init.text(), "0.8.0");
  assert.deepEqual(init.values(), ["rpc.WasmSession", bytes("0061736d")]);
  const call = new Reader(bytes(CALL));
  assert.equal(call.i32(), 3);
  assert.equal(call.u64(), 42);
  assert.deepEqual(call.values(), [
    7n, -2.5, true, null, "text", "a longer text than fits", bytes("7879"), { device: { type: 1, id: 0 } },
    { tensor: { data: 4096, device: { type: 1, id: 0 }, dtype: { code: 2, bits: 32, lanes: 1 }, shape: [2, 3], offset: 0 } },
    { dtype: { code: 2, bits: 16, lanes: 1 } }, bytes("010203"), bytes("30313233343536373839"),
  ]);
  for (let end = 0; end < bytes(CALL).length; end++) {
    const part = new Reader(bytes(CALL).subarray(0, end));
    assert.throws(() => (part.i32(), part.u64(), part.values()), /ends too early/);
  }
  assert.throws(() => new Reader(bytes(i32(1) + i32(72) + i32(72))).values(), /does not travel \(type index 72\)/);
});

test("what the page sends, by rpc_reference.h", () => {
  const packet = (body) => i64(body.length / 2) + body;
  assert.equal(hex(returned(5n)), packet(i32(4) + i32(2) + i32(1) + i64(1) + i32(1) + i64(5)));
  assert.equal(hex(returned(null)), packet(i32(4) + i32(2) + i32(1) + i64(0) + i32(0)));
  assert.equal(hex(returned({ handle: 9, type: 68 })), packet(i32(4) + i32(2) + i32(1) + i64(68) + i32(4) + i64(9)));
  assert.equal(hex(returned(bytes("0102"))), packet(i32(4) + i32(2) + i32(1) + i64(66) + i32(9) + i64(2) + "0102"));
  assert.equal(hex(returned("é")), packet(i32(4) + i32(2) + i32(1) + i64(65) + i32(8) + i64(2) + "c3a9"));
  assert.equal(hex(exception("no")), packet(i32(5) + i32(1) + i32(8) + i64(2) + "6e6f"));
  const values = [1n, -1n, true, 0.1, null, "text", bytes("00ff"), { pointer: 7 }, { device: { type: 15, id: 2 } }];
  assert.deepEqual(new Reader(new Writer().values(values).packet().subarray(8)).values(), values);
});

test("a connection to a proxy, in pieces of any size", () => {
  assert.equal(hex(Stream.hello("wasm")), "71f20f00" + i32(11) + Buffer.from("server:wasm").toString("hex"));
  const key = Buffer.from("client:wasm:0.25 -timeout=2.5").toString("hex");
  const whole = bytes("71f20f00" + i32(key.length / 2) + key + i64(GET.length / 2) + GET + i64(0) + i64(SYNC.length / 2) + SYNC);
  for (const size of [1, 3, 7, 64, whole.length]) {
    const stream = new Stream();
    const packets = [];
    for (let at = 0; at < whole.length; at += size) packets.push(...stream.add(whole.subarray(at, at + size)));
    assert.equal(stream.peer, "client:wasm:0.25 -timeout=2.5");
    assert.deepEqual(packets.map(hex), [GET, SYNC]);
  }
  assert.equal(timeoutOf("client:wasm:0.25 -timeout=2.5"), 2.5);
  assert.equal(timeoutOf("client:wasm"), 0);
  for (const [code, what, wait] of [["72f20f00", /another page/, true], ["73f20f00", /no client came/, false], ["48545450", /no TVM RPC proxy/, true]]) {
    assert.throws(() => new Stream().add(bytes(code)), (error) => what.test(error.message) && error.wait === wait);
  }
  const greedy = bytes("71f20f00" + i32(0) + "00000000ffffff00");
  assert.throws(() => new Stream().add(greedy), /too large|none of this page's/);
});

/** __tvm_ffi_main(self, args, count, result): doubles the first number of its one array, and gives 9; with no argument it fails with words. */
function kernels() {
  const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >> 7)]);
  const sized = (kind, body) => [kind, ...leb(body.length), ...body];
  const named = (text) => [text.length, ...Buffer.from(text)];
  const [int, get] = [0x7f, (local) => [0x20, local]];
  const refuse = [...get(2), 0x45, 0x04, 0x40, 0x41, 16, 0x41, 32, 0x10, 0, 0x41, 0x7f, 0x0f, 0x0b]; // if (!count) { …; return -1 }
  const data = [...get(1), 0x28, 2, 8, 0x28, 2, 0]; // ((DLTensor*)args[0].v_ptr)->data
  const double = [...data, ...data, 0x2a, 2, 0, ...data, 0x2a, 2, 0, 0x92, 0x38, 2, 0];
  const nine = [...get(3), 0x41, 1, 0x36, 2, 0, ...get(3), 0x42, 9, 0x37, 3, 8];
  const code = [0, ...refuse, ...double, ...nine, 0x41, 0, 0x0b];
  const words = Buffer.from("ValueError\0     nothing to double\0");
  return new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...sized(1, [2, 0x60, 4, int, int, int, int, 1, int, 0x60, 2, int, int, 0]),
    ...sized(2, [2, ...named("env"), ...named("memory"), 2, 0, 2, ...named("env"), ...named("TVMFFIErrorSetRaisedFromCStr"), 0, 1]),
    ...sized(3, [1, 0]),
    ...sized(6, [1, int, 0, 0x41, 0x80, 0x08, 0x0b]),
    ...sized(7, [2, ...named("__tvm_ffi_main"), 0, 1, ...named("__heap_base"), 3, 0]),
    ...sized(10, [1, ...leb(code.length), ...code]),
    ...sized(11, [1, 0, 0x41, 16, 0x0b, ...leb(words.length), ...words]),
  ]);
}

/** A client: what a request answers, without the packet's head. */
function client(session) {
  const ask = async (writer) => {
    const reader = new Reader((await session.answer(writer.packet().subarray(8))).subarray(8));
    const code = reader.i32();
    if (code === 8) return reader.data(4);
    const values = reader.values();
    if (code === 5) throw new Error(values[0]);
    return values;
  };
  const call = async (handle, ...args) => (await ask(new Writer(3).i64(handle).values(args)))[1];
  const find = async (name) => (await ask(new Writer(9).values([name])))[0].pointer;
  return { ask, call, find };
}

test("a session: memory, a module, calls, errors, objects that are freed", async () => {
  const session = new Session();
  const { ask, call, find } = client(session);
  await assert.rejects(find("ffi.SystemLib"), /has not begun/);
  await assert.rejects(ask(new Writer(2).text("0.7.0").values([])), /version 0\.7\.0 .* 0\.8\.0/);
  await assert.rejects(ask(new Writer(2).text("0.8.0").values(["rpc.PopenSession"])), /no session rpc\.PopenSession/);
  await ask(new Writer(2).text("0.8.0").values(["rpc.WasmSession", kernels()]));
  await assert.rejects(ask(new Writer(2).text("0.8.0").values([])), /begun already/);
  const [{ pointer: data }] = await ask({ packet: () => bytes(i64(0) + ALLOC) });
  const tensor = { data, device: { type: 1, id: 0 }, dtype: { code: 2, bits: 32, lanes: 1 }, shape: [2, 3], offset: 0 };
  const two = new Uint8Array(new Float32Array([1.5, 2]).buffer);
  await ask(new Writer(7).tensor(tensor).i64(8).data(two));
  const handle = async (name) => (await call(await find(name))).pointer;
  const lib = { handle: await handle("ffi.SystemLib"), type: 73 };
  // a module goes as its type and handle
  const get = async (name) => {
    const writer = new Writer(3).i64(await find("tvm.rpc.server.ModuleGetFunction")).i32(3).i32(73).i64(lib.handle);
    return (await ask(writer.value(name).value(true)))[1];
  };
  const { pointer: main } = await get("main");
  assert.equal(await get("other"), null);
  assert.equal(await call(main, { tensor }), 9n);
  const first = await ask(new Writer(6).tensor(tensor).i64(4));
  assert.equal(new Float32Array(first.slice().buffer)[0], 3);
  await assert.rejects(call(main), /the kernel failed: nothing to double\s+where: main/);
  assert.equal(await call(main, { tensor }), 9n);
  await assert.rejects(call(main, { tensor: { ...tensor, data: data + 64 } }), /not of this session/);
  await assert.rejects(call(main, { tensor: { ...tensor, shape: [1000] } }), /4000 bytes from 0 on are more than/);
  await assert.rejects(ask(new Writer(7).tensor({ ...tensor, offset: 60 }).i64(8).data(two)), /8 bytes from 60 on/);
  await assert.rejects(ask(new Writer(6).tensor({ ...tensor, device: { type: 2, id: 0 } }).i64(4)), /cpu alone/);
  await ask(new Writer(10).values([{ pointer: main }]));
  await assert.rejects(call(main, { tensor }), /no such function/);
  await ask(new Writer(15).values([{ device: { type: 1, id: 0 } }, { pointer: data }]));
  await ask({ packet: () => bytes(i64(0) + SYNC) });
  assert.equal(await find("f"), 0);
  assert.equal(await find("toString"), 0);
  assert.equal(await session.answer(bytes(i32(1))), undefined);
  await assert.rejects(ask(new Writer(99).values([])), /does not know the request 99/);
});

test("random numbers are from 1 to 10, of every type", () => {
  const filled = (dtype, View, read = Number) => {
    const array = new View(1000);
    fill(new Uint8Array(array.buffer), dtype);
    const values = Array.from(array, read);
    assert.ok(values.every((value) => value >= 1 && value < 10), `${JSON.stringify(dtype)}: ${values.slice(0, 5)}`);
    assert.ok(new Set(values).size > 8);
  };
  const type = (code, bits) => ({ code, bits, lanes: 1 });
  for (const [code, bits, View] of [[2, 32, Float32Array], [2, 64, Float64Array], [0, 8, Int8Array], [1, 8, Uint8Array], [0, 16, Int16Array],
    [0, 32, Int32Array], [0, 64, BigInt64Array]]) filled(type(code, bits), View);
  filled(type(2, 16), Uint16Array, (half) => 2 ** ((half >> 10) - 15) * (1 + (half & 1023) / 1024));
  filled(type(4, 16), Uint16Array, (half) => new Float32Array(new Uint32Array([half << 16]).buffer)[0]);
  assert.throws(() => fill(new Uint8Array(8), type(0, 4)), /4 bits/);
});

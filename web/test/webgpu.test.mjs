import assert from "node:assert/strict";
import { test } from "node:test";
import { folder, source } from "./helpers.mjs";

const { load, OarlockError } = await source("index");
const { toWords, fromWords } = await source("gpu-words");
const { explain, features, fits } = await source("features");
const { lacking } = await source("gpu-device");

const refuses = (promise, words) => assert.rejects(promise, (error) => error.name === "OarlockError" && words.test(error.message));

/** A GPU that does what the tests say: `does` has what may go wrong; it copies buffers, and computes nothing. */
function gpu(does = {}) {
  const scopes = [];
  const fault = (message) => scopes.length && (scopes.at(-1).found ??= { message });
  let lose;
  const lost = new Promise((done) => (lose = done));
  const device = {
    features: new Set(), lost, log: [],
    queue: {
      writeBuffer: (buffer, at, data) => new Uint8Array(buffer.bytes).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at),
      submit: (commands) => commands.flat().forEach((run) => run()),
      onSubmittedWorkDone: async () => {},
    },
    createBuffer({ size }) {
      if (does.memory && size > does.memory) fault("no room");
      return {
        size, bytes: new ArrayBuffer(size), destroy: () => device.log.push("destroy"), unmap() {},
        mapAsync: async () => {
          if (does.lose) {
            lose({ reason: "unknown", message: "the driver was reset" });
            throw new Error("the map was refused");
          }
        },
        getMappedRange() { return this.bytes; },
      };
    },
    createShaderModule: ({ code }) => ({ code, getCompilationInfo: async () => ({ messages: [{ type: "error", lineNum: 3, message: "unresolved call" }] }) }),
    createBindGroupLayout: () => ({}), createPipelineLayout: () => ({}), createBindGroup: (group) => group,
    createComputePipelineAsync: async ({ compute, label }) => {
      if (compute.module.code.includes("wrong")) throw new Error("it does not compile");
      return { label };
    },
    createCommandEncoder() {
      const runs = [];
      return {
        beginComputePass: () => ({
          setPipeline() {}, end() {},
          setBindGroup: (_, group) => does.refuse === group.label && fault("a binding is too small"),
          dispatchWorkgroups: (...grid) => device.log.push(grid),
        }),
        copyBufferToBuffer: (from, at, to, start, bytes) => runs.push(() => new Uint8Array(to.bytes).set(new Uint8Array(from.bytes, at, bytes), start)),
        finish: () => runs,
      };
    },
    pushErrorScope: () => scopes.push({}), popErrorScope: async () => scopes.pop().found ?? null,
  };
  const limits = { maxStorageBuffersPerShaderStage: 8, maxBufferSize: 1 << 28, maxStorageBufferBindingSize: 1 << 27 };
  const adapter = { features: new Set(), limits, info: { vendor: "nobody" }, requestDevice: async () => device };
  return { device, lose, requestAdapter: async () => (does.none ? null : adapter) };
}

const shader = (code = "") => ({ code, access: "rw" });
const PLAN = {
  version: 1, weights: 4, buffers: [16], spaces: [], shaders: [shader("one"), shader("two")],
  kernels: [{ name: "add", bytes: [4, 4], launches: [[0, [0, 1], [2, 1, 1]]] }, { name: "double", bytes: [4, 4], launches: [[1, [0, 1], [3, 1, 1]]] }],
  steps: [{ on: "webgpu", kernel: 0, places: [1, 0, 3, 0] }, { on: "webgpu", kernel: 1, places: [3, 0, 2, 0] }],
};

/** What loading a model gives on such a GPU; each has modules of its own, for the runtime remembers its GPU. */
async function loaded(does, plan = PLAN, change = () => {}) {
  const found = gpu(does);
  Object.defineProperty(globalThis, "navigator", { value: { gpu: found }, configurable: true });
  const { load: fresh } = await source("index");
  const { writeFileSync } = await import("node:fs");
  const { createHash } = await import("node:crypto");
  const at = folder((manifest) => {
    const [plain] = manifest.variants;
    const bytes = Buffer.from(JSON.stringify(plan));
    const module = { file: "plan.json", bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    const variant = { ...plain, name: "webgpu", needs: ["webgpu"], limits: {}, module };
    manifest.variants.push(variant);
    change(variant, manifest);
    manifest.files = bytes;
  });
  writeFileSync(`${at}/plan.json`, JSON.stringify(plan));
  return { model: fresh(at, { variant: "webgpu" }), automatic: () => fresh(at), ...found };
}

test("words and elements", () => {
  const info = (dtype) => ({ name: "x", dtype, shape: [3] });
  assert.deepEqual([...toWords(BigInt64Array.of(-5n, 2n ** 31n - 1n, -(2n ** 31n)), info("int64"))], [-5, 2 ** 31 - 1, -(2 ** 31)]);
  assert.throws(() => toWords(BigInt64Array.of(2n ** 31n), info("int64")), /2147483648 does not fit[\s\S]*input x/);
  assert.deepEqual([...toWords(Uint8Array.of(0, 1, 7), info("bool"))], [0, 1, 1]);
  assert.deepEqual([...toWords(Int8Array.of(-1, 0, 5), info("int8"))], [-1, 0, 5]);
  assert.throws(() => toWords(new Float64Array(3), info("float64")), /no float64/);
  const words = Int32Array.of(-1, 0, 200);
  assert.deepEqual(fromWords(words, info("int64")), BigInt64Array.of(-1n, 0n, 200n));
  assert.deepEqual(fromWords(words, info("uint8")), Uint8Array.of(255, 0, 200));
  const floats = Float32Array.of(1.5, -2, 3);
  const read = fromWords(new Int32Array(floats.buffer), info("float32"));
  assert.deepEqual(read, floats);
  assert.notEqual(read.buffer, floats.buffer, "a copy");
});

test("what a GPU lacks, in words", () => {
  const variant = { name: "webgpu", needs: ["webgpu", "shader-f16"], limits: { maxBufferSize: 500, maxStorageBuffersPerShaderStage: 10 } };
  const has = { off: "", name: "", features: ["shader-f16"], limits: { maxBufferSize: 500, maxStorageBuffersPerShaderStage: 10 } };
  assert.deepEqual(lacking(variant, has), []);
  assert.deepEqual(lacking(variant, { ...has, limits: { ...has.limits, maxBufferSize: 400 } }), ["the GPU's limit maxBufferSize is 400, the model needs 500"]);
  assert.match(lacking(variant, { ...has, features: [] }).join(), /shader-f16/);
  assert.deepEqual(lacking(variant, { ...has, off: "no adapter" }), ["no adapter"]);
  const have = { ...features(), webgpu: true, gpu: { ...has, off: "no adapter: none" } };
  assert.equal(fits(variant, have), false);
  assert.deepEqual(explain([variant, { name: "plain", needs: [] }], { name: "plain" }, have), ["webgpu is off: no adapter: none", ]);
});

test("in Node there is none", async () => {
  const at = folder((m) => m.variants.push({ ...m.variants[0], name: "webgpu", needs: ["webgpu"] }));
  await refuses(load(at, { variant: "webgpu" }), /cannot run the variant webgpu: this is no browser/);
  assert.equal((await load(at)).variant, "plain");
  const alone = folder((m) => (m.variants = [{ ...m.variants[0], name: "webgpu", needs: ["webgpu"] }]));
  await refuses(load(alone), /can run no variant/);
  assert.ok(OarlockError);
});

test("it is taken when asked for, or alone", async () => {
  const { model, automatic, device } = await loaded({});
  const made = await model;
  assert.deepEqual([made.variant, made.report], ["webgpu", []]);
  const { y } = await made.run({ x: [1] });
  assert.deepEqual([y.dtype, y.shape, y.data.length], ["float32", [1], 1]);
  assert.deepEqual(device.log.slice(-2), [[2, 1, 1], [3, 1, 1]], "both kernels, in order");
  assert.equal((await automatic()).variant, "plain");
  await refuses(made.run({}), /no input x/);
  const times = await made.profile({ x: [1] }, 2);
  assert.deepEqual(times.map((t) => [t.name, t.calls]).sort(), [["add", 1], ["double", 1]]);
  made.close();
  await refuses(made.run({ x: [1] }), /the model was closed/);
  const { automatic: alone } = await loaded({}, PLAN, (variant, manifest) => (manifest.variants = [variant]));
  assert.equal((await alone()).variant, "webgpu");
});

test("failures say what, and which kernel", async () => {
  await refuses((await loaded({ none: true })).model, /cannot run the variant webgpu: no adapter/);
  await refuses((await loaded({}, PLAN, (variant) => (variant.limits = { maxBufferSize: 2 ** 30 }))).model, /limit maxBufferSize is 268435456, the model needs 1073741824/);
  await refuses((await loaded({ memory: 100 }, { ...PLAN, buffers: [1e6] })).model, /no memory for the model, 1\.0 MB: no room/);
  await refuses((await loaded({}, { ...PLAN, shaders: [shader("one"), shader("wrong")] })).model, /line 3: unresolved call[\s\S]*where: double/);
  await refuses((await loaded({}, { ...PLAN, version: 7 })).model, /plan for WebGPU of version 7/);
  await refuses((await loaded({}, { ...PLAN, weights: 8 })).model, /4 bytes of weights, not 8/);
  const refusing = await (await loaded({ refuse: "double" })).model;
  await refuses(refusing.run({ x: [1] }), /refuses what the model asks of the GPU: a binding is too small[\s\S]*double, step 1 of 2/);
});

test("a GPU that is gone", async () => {
  const { model, lose } = await loaded({ lose: true });
  await refuses((await model).run({ x: [1] }), /the GPU is gone: the driver was reset[\s\S]*load the model again/);
  await refuses((await model).run({ x: [1] }), /the GPU is gone/);
  assert.ok(lose);
});

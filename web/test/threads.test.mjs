import assert from "node:assert/strict";
import { test } from "node:test";
import { folder, source } from "./helpers.mjs";

const { CONTROL_BYTES, cores, SharedHeap, sharedMemory } = await source("threads");
const { explain, features } = await source("features");
const { load } = await source("index");

const VARIANTS = [
  { name: "relaxed-simd-threads", needs: ["simd", "relaxed-simd", "threads"] }, { name: "simd128-threads", needs: ["simd", "threads"] },
  { name: "relaxed-simd", needs: ["simd", "relaxed-simd"] }, { name: "simd128", needs: ["simd"] }, { name: "plain", needs: [] },
];
const ALL = { simd: true, relaxedSimd: true, threads: true, crossOriginIsolated: true, webgpu: false };
const HEADERS =
  "threads off: the page is not cross-origin isolated; send these two headers: " +
  "Cross-Origin-Opener-Policy: same-origin, Cross-Origin-Embedder-Policy: require-corp";

test("why there are no threads, once", () => {
  assert.deepEqual(explain(VARIANTS, VARIANTS[0], ALL), []);
  assert.deepEqual(explain(VARIANTS, VARIANTS[2], { ...ALL, threads: false, crossOriginIsolated: false }), [HEADERS]);
  assert.deepEqual(explain(VARIANTS, VARIANTS[2], { ...ALL, threads: false }), ["threads off: this engine has no shared memory"]);
  assert.deepEqual(explain(VARIANTS, VARIANTS[2], { ...ALL, threads: false }, "one was asked for"), ["threads off: one was asked for"]);
  const neither = explain(VARIANTS, VARIANTS[3], { ...ALL, relaxedSimd: false, threads: false, crossOriginIsolated: false });
  assert.equal(neither.length, 2, neither.join());
  assert.match(neither.join(), /relaxed-simd is off: .*threads off: the page is not/);
});

test("Node has threads, and says on how many cores", async () => {
  assert.equal(features().threads, true);
  assert.ok((await cores()) >= 1);
});

test("two heaps take from one memory, and it grows for both", () => {
  const memory = sharedMemory(1, 0, 1);
  const [one, two] = [new SharedHeap(memory, 65000 - (65000 % 64)), new SharedHeap(memory, 65000 - (65000 % 64))];
  const places = [];
  for (let i = 0; i < 20; i++) for (const heap of [one, two]) places.push([heap.take(30000 + i), 30000 + i]);
  places.sort((a, b) => a[0] - b[0]);
  assert.ok(places[0][0] >= 64960 + CONTROL_BYTES);
  for (let i = 1; i < places.length; i++) assert.ok(places[i][0] >= places[i - 1][0] + places[i - 1][1], "places do not overlap");
  const [last] = places.at(-1);
  new Uint8Array(memory.buffer)[last + 29999] = 1;
  const lent = one.lend(1000);
  assert.notEqual(two.lend(1000), lent);
  one.back(lent);
  assert.equal(one.lend(900), lent, "a smaller work space has room in a larger one");
});

test("a memory that is full says so", () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
  assert.throws(() => new SharedHeap(memory, 0).take(200000), /no memory for \d+ MB more[\s\S]*threads: 1/);
});

test("shared memory is as large as the plan needs and some, or none", () => {
  const most = (memory) => {
    let pages = memory.buffer.byteLength / 65536;
    for (let step = 1 << 14; step >= 1; step >>= 1) {
      try {
        memory.grow(step);
        pages += step;
      } catch {
        continue;
      }
    }
    return pages;
  };
  assert.equal(most(sharedMemory(1, 9 * 65536 - CONTROL_BYTES, 2)), 10 + 16 + 4096);
  assert.throws(() => sharedMemory(70000, 10, 1), /cannot reserve \d+ MB of shared memory/);
});

test("threads where the model was built without them", async () => {
  const model = await load(folder(), { threads: 2 });
  assert.deepEqual([model.threads, model.report], [1, ["threads off: the model was built without them"]]);
  model.close();
  assert.throws(() => model.run({ x: [1] }), /was closed/);
  await assert.rejects(load(folder(), { threads: 1.5 }), /whole number from 1 to 32/);
});

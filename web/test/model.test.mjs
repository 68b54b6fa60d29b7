import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { folder, PLAN, source } from "./helpers.mjs";

const { load, OarlockError } = await source("index");

const refuses = (promise, words) => assert.rejects(promise, (error) => error instanceof OarlockError && words.test(error.message));

test("a model runs", async () => {
  const seen = [];
  const model = await load(folder(), { progress: (loaded, total) => seen.push([loaded, total]) });
  assert.deepEqual([model.variant, model.report, model.inputs[0].name], ["plain", [], "x"]);
  for (const x of [1, 7]) assert.deepEqual(model.run({ x: [x] }), { y: { dtype: "float32", shape: [1], data: new Float32Array([2 * x + 1]) } });
  assert.deepEqual(model.run({ x: { dtype: "float32", shape: [1], data: new Float32Array([3]) } }).y.data[0], 7);
  assert.equal(seen.at(-1)[0], seen.at(-1)[1]);
  const first = model.run({ x: [1] }).y.data;
  model.run({ x: [2] });
  assert.equal(first[0], 3, "a result is a copy");
});

test("a profile tells kernels by name", async () => {
  const times = (await load(folder())).profile({ x: [1] }, 3);
  assert.deepEqual(times.map((k) => [k.name, k.calls, k.workload]).sort(), [["add", 1, undefined], ["double", 1, "twice"]]);
  assert.ok(times.every((k) => k.ms >= 0 && k.ms < 1000) && times[0].ms >= times[1].ms);
});

test("a kernel that fails says why and where, and the model can go on", async () => {
  const model = await load(folder());
  assert.throws(() => model.run({ x: [-3] }), /below nothing[\s\S]*double, step 1 of 2/);
  assert.equal(model.run({ x: [1] }).y.data[0], 3);
});

test("a kernel that traps is an error that says where", async () => {
  const kernels = [...PLAN.kernels, { export: "k2", name: "broken" }];
  const model = await load(folder(() => {}, { ...PLAN, kernels, steps: [PLAN.steps[0], [2, [2, 0, 0, 0, 1, 0]]] }));
  assert.throws(() => model.run({ x: [1] }), (error) => error.name === "OarlockError" && /a kernel failed: unreachable[\s\S]*broken, step 1 of 2/.test(error.message));
});

test("wrong inputs", async () => {
  const model = await load(folder());
  assert.throws(() => model.run({}), /no input x[\s\S]*float32 \[1\]/);
  assert.throws(() => model.run({ x: [1], z: [1] }), /no input z/);
  assert.throws(() => model.run({ x: [1, 2] }), /2 elements, not 1/);
  assert.throws(() => model.run({ x: new Float64Array(1) }), /Float64Array/);
  assert.throws(() => model.run({ x: { dtype: "float32", shape: [1, 1], data: new Float32Array(1) } }), /shape is \[1, 1\]/);
});

test("damaged models", async () => {
  await refuses(load(folder((m) => (m.format = "other"))), /no model for the web/);
  await refuses(load(folder((m) => (m.version = 2))), /format 2/);
  await refuses(load(folder((m) => (m.variants[0].weights[0].bytes = 5))), /4 bytes, not 5/);
  const changed = folder();
  writeFileSync(join(changed, "w.bin"), new Uint8Array([1, 2, 3, 4]));
  await refuses(load(changed), /damaged, or was changed/);
  const broken = folder();
  writeFileSync(join(broken, "model.json"), "{");
  await refuses(load(broken), /no JSON/);
  await refuses(load(join(broken, "nowhere")), /cannot be read/);
  await refuses(load(folder(() => {}, { ...PLAN, version: 9 })), /plan of version 9/);
  await refuses(load(folder(() => {}, { ...PLAN, weights: 8 })), /4 bytes of weights, not 8/);
});

test("the best variant that runs is taken, and what is off is told", async () => {
  const better = (m) => m.variants.unshift({ ...m.variants[0], name: "best", needs: ["none has this"] });
  const model = await load(folder(better));
  assert.deepEqual([model.variant, model.report], ["plain", ["best is off: this runtime does not know what none has this is"]]);
  await refuses(load(folder((m) => (m.variants[0].needs = ["none has this"]))), /can run no variant/);
  await refuses(load(folder(), { variant: "other" }), /no variant other[\s\S]*plain/);
  assert.equal((await load(folder(), { variant: "plain" })).variant, "plain");
});

test("over http", async (t) => {
  const at = folder();
  const server = createServer(async (request, response) => {
    try {
      response.end(await readFile(join(at, request.url)));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => server.close());
  const base = `http://127.0.0.1:${server.address().port}`;
  assert.equal((await load(`${base}/`)).run({ x: [1] }).y.data[0], 3);
  assert.equal((await load(`${base}/model.json`)).variant, "plain");
  await refuses(load(`${base}/nowhere/`), /404/);
});

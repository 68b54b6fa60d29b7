/** Run built models on the GPU in headless Chromium: `node webgpu.mjs [--no-gpu | --once] FOLDER NAME…`.
 *
 * Sites are FOLDER/NAME.site, inputs FOLDER/NAME.INPUT.bin, answers JSON.
 * With --once a model runs once, in the page.
 * The GPU is SwiftShader, a program: right numbers, and times that say nothing of any GPU.
 */

import { open, serve, within } from "../../web/browser.mjs";

export const SWIFTSHADER = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader"];
const off = process.argv[2] === "--no-gpu";
const once = process.argv[2] === "--once";
const [folder, ...names] = process.argv.slice(off || once ? 3 : 2);
within(5);
const server = await serve({ "/": folder });
const browser = await open(off ? [] : SWIFTSHADER);
const { page, errors } = browser;

/** In the page: a model's answers in it and in a worker, what its shaders' compilation says, and how it fails. */
async function tried([name, once]) {
  const site = `/${name}.site/`;
  const { load, loadInWorker, gpuFacts } = await import(`${site}oarlock.js`);
  const said = (error) => `${error.name}: ${error.message}`;
  const number = (value) => (Number.isFinite(Number(value)) ? Number(value) : String(value));
  const plain = (outputs) => Object.values(outputs).map(({ dtype, shape, data }) => ({ dtype, shape, data: Array.from(data, number) }));
  const facts = await gpuFacts();
  if (facts.off) {
    const model = await load(site);
    const named = await load(site, { variant: "webgpu" }).then(() => "", said);
    const worker = await loadInWorker(site, { variant: "webgpu" }).then(() => "", said);
    return { off: facts.off, variant: model.variant, report: model.report, named, worker };
  }
  const kinds = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array };
  const compiled = [];
  const model = await load(site, { variant: "webgpu", compiling: (done, total) => compiled.push([done, total]) });
  const given = {};
  for (const { name: key, dtype } of model.inputs) given[key] = new kinds[dtype](await (await fetch(`/${name}.${key}.bin`)).arrayBuffer());
  const out = { variant: model.variant, report: model.report, compiled: compiled.at(-1), first: compiled[0] };
  out.outputs = plain(await model.run(given));
  const manifest = await (await fetch(`${site}model.json`)).json();
  const variant = manifest.variants.find((v) => v.name === "webgpu");
  const plan = await (await fetch(site + variant.module.file)).json();
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const infos = await Promise.all(plan.shaders.map(({ code }) => device.createShaderModule({ code }).getCompilationInfo()));
  out.messages = infos.flatMap(({ messages }) => messages).map((message) => `${message.type}: ${message.message}`);
  device.destroy();
  if (once) return out;
  // two at once, of which the first is of other inputs
  const other = Object.fromEntries(Object.entries(given).map(([key, data]) => [key, data.slice().fill(data[0])]));
  const [, second] = await Promise.all([model.run(other), model.run(given)]);
  out.again = plain(second);
  out.times = await model.profile(given, 2);
  out.refused = await model.run({}).then(() => "", said);
  model.close();
  out.closed = await model.run(given).then(() => "", said);
  const worker = await loadInWorker(site, { variant: "webgpu" });
  out.worker = plain(await worker.run(given));
  worker.close();
  return out;
}

try {
  const found = {};
  await page.goto(`${server.address}/${names[0]}.site/model.json`);
  for (const name of names) {
    const start = performance.now();
    found[name] = await page.evaluate(tried, [name, once]).catch((error) => ({ error: String(error) }));
    if (process.env.OARLOCK_VERBOSE) console.error(name, Math.round(performance.now() - start), "ms");
  }
  console.log(JSON.stringify({ found, errors }));
} finally {
  await browser.end();
  server.end();
}

/** Threads in headless Chromium: `node threads_browser.mjs SITE LOOPS INPUTS`; what they give, as JSON. */

import { readdirSync, readFileSync } from "node:fs";
import { open, serve, within } from "../../web/browser.mjs";

const [site, loops, inputs] = process.argv.slice(2);
within(2);
const folders = { "/site/": site, "/loops/": loops, "/inputs/": inputs, "/tests/": new URL(".", import.meta.url).pathname };
const browser = await open();
const { page, errors } = browser;
const servers = [await serve(folders), await serve(folders, { isolated: false })];

/** Threads of workers in all processes that this one began, those of workers of workers too, as Linux shows them. */
function workerThreads() {
  const read = (path) => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return ""; // it ended meanwhile
    }
  };
  const numbers = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const parents = Object.fromEntries(numbers.map((p) => [p, read(`/proc/${p}/stat`).split(") ").at(-1).split(" ")[1]]));
  const ours = (p) => p === String(process.pid) || (p in parents && p !== parents[p] && ours(parents[p]));
  const tasks = (p) => (read(`/proc/${p}/stat`) ? readdirSync(`/proc/${p}/task`).map((t) => read(`/proc/${p}/task/${t}/comm`)) : []);
  return numbers.filter(ours).flatMap(tasks).filter((name) => name.startsWith("DedicatedWorker")).length;
}

/** In a page: what the model gives in a worker. */
async function inWorker() {
  const { loadInWorker } = await import("/site/oarlock.js");
  const x = new Float32Array(await (await fetch("/inputs/x.bin")).arrayBuffer());
  const model = await loadInWorker("/site/");
  const two = await loadInWorker("/site/", { threads: 2 });
  const outputs = [];
  for (const m of [model, two]) outputs.push(Array.from(Object.values(await m.run({ x }))[0].data));
  let other = 0;
  for (let i = 0; i < 100; i++) {
    for (const [n, m] of [model, two].entries()) other += Object.values(await m.run({ x }))[0].data.some((v, k) => v !== outputs[n][k]);
  }
  const { variant, threads, report } = model;
  const kernels = (await model.profile({ x }, 2)).length;
  const found = { variant, threads, report, outputs, other, two: two.threads, kernels, cores: navigator.hardwareConcurrency };
  model.close();
  two.close();
  return found;
}

try {
  await page.goto(`${servers[0].address}/site/model.json`);
  const found = { isolated: await page.evaluate(inWorker) };
  found.page = await page.evaluate(async () => {
    const { load } = await import("/site/oarlock.js");
    const { loops, network } = await import("/tests/threads.mjs");
    const x = new Float32Array(await (await fetch("/inputs/x.bin")).arrayBuffer());
    return { network: await network(load, "/site/", x, ["relaxed-simd-threads", "simd128-threads"]), loops: await loops(load, "/loops/") };
  });
  for (let i = 0; i < 100 && page.workers().length; i++) await new Promise((done) => setTimeout(done, 20));
  found.left = page.workers().length;
  await page.evaluate(async () => {
    const { loadInWorker } = await import("/site/oarlock.js");
    window.model = await loadInWorker("/site/", { threads: 3 });
  });
  found.nested = workerThreads();
  await page.evaluate(() => window.model.close());
  for (let i = 0; i < 100 && workerThreads(); i++) await new Promise((done) => setTimeout(done, 20));
  found.nestedLeft = workerThreads();
  found.refused = await page.evaluate(async () => {
    const { load } = await import("/site/oarlock.js");
    const model = await load("/site/", { worker: "/nowhere.js", threads: 2 });
    return { variant: model.variant, report: model.report };
  });
  found.errors = errors.filter((error) => !error.includes("404"));
  await page.goto(`${servers[1].address}/site/model.json`);
  found.open = await page.evaluate(inWorker);
  console.log(JSON.stringify(found));
} finally {
  await browser.end();
  for (const server of servers) server.end();
}

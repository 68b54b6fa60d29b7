/** Runs a job (profiler/tab.py) in a tab: loads engines, lets them take turns, and sends home what they took and gave. */

import { MAKES } from "./combined.js";
import { Host } from "./host.js";

const here = new URL(".", location.href);

async function say(message) {
  await fetch(new URL("say", here), { method: "POST", body: JSON.stringify(message) });
}

async function tell(text) {
  document.querySelector("#state").textContent = text;
  await say({ progress: text });
}

/** The same calls as a Host has, answered by one in a worker: away from the page's own thread, where threads may wait. */
class RemoteHost {
  constructor() {
    this.waiting = new Map();
    this.worker = new Worker(new URL("worker.js", here), { type: "module" });
    this.worker.onmessage = ({ data: { id, result, error } }) => {
      const { done, failed } = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) done(result);
      else failed(new Error(error));
    };
    this.worker.onerror = (event) => {
      const error = new Error(event.message || "the worker failed");
      for (const { failed } of this.waiting.values()) failed(error);
      this.waiting.clear();
    };
    const ask = (what) => (...given) => new Promise((done, failed) => {
      const id = `${performance.now()} ${Math.random()}`;
      this.waiting.set(id, { done, failed });
      this.worker.postMessage({ id, what, given });
    });
    for (const what of ["load", "turn", "outputs", "steps", "trace", "close"]) this[what] = ask(what);
  }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length % 2 ? sorted[(sorted.length - 1) / 2] : (sorted[sorted.length / 2 - 1] + sorted[sorted.length / 2]) / 2;
}

async function bytesOf(file) {
  const response = await fetch(new URL(file, here));
  if (!response.ok) throw new Error(`${file}: the server answered ${response.status}`);
  return response.arrayBuffer();
}

/** How far outputs are from those expected: the largest difference by the largest value, over all outputs in their order. */
function difference(outputs, expected) {
  let worst = outputs.length === expected.length ? 0 : Infinity;
  outputs.forEach(({ data }, i) => {
    const right = expected[i] ?? [];
    if (data.length !== right.length) worst = Infinity;
    let [most, scale] = [0, 1e-30];
    for (let j = 0; j < right.length; j++) {
      const gap = Math.abs(Number(data[j]) - Number(right[j]));
      most = gap <= most ? most : Number.isNaN(gap) ? Infinity : gap;
      scale = Math.max(scale, Math.abs(Number(right[j])));
    }
    worst = Math.max(worst, most / scale);
  });
  return worst;
}

async function run(job) {
  const inputs = {};
  for (const [name, { dtype, shape, file }] of Object.entries(job.inputs)) inputs[name] = { dtype, shape, data: new MAKES[dtype](await bytesOf(file)) };
  const expected = job.expected && await Promise.all(job.expected.map(async ({ dtype, file }) => new MAKES[dtype](await bytesOf(file))));
  const hosts = { page: new Host(), worker: new RemoteHost() };
  const [results, failed, alive] = [{}, {}, []];
  for (const spec of job.engines) {
    const host = hosts[spec.where ?? "worker"];
    await tell(`loading ${spec.name}`);
    try {
      const facts = await host.load(spec.name, spec, inputs, here.href);
      results[spec.name] = { ...facts, rounds: [], host };
      alive.push(spec.name);
    } catch (error) {
      failed[spec.name] = String(error?.message ?? error);
    }
  }
  for (const name of alive) {
    const result = results[name];
    const outputs = await result.host.outputs(name);
    result.outputs = outputs.map(({ name: of, dtype, shape }) => ({ name: of, dtype, shape }));
    if (expected) result.difference = difference(outputs, expected);
    result.values = outputs;
    if (!job.rounds) continue;
    // engines compile to fast code while they run: a module of many megabytes takes a while to get there
    let quick = Infinity;
    for (const start = performance.now(); performance.now() - start < (job.warm_ms ?? 2000); ) {
      quick = Math.min(quick, ...(await result.host.turn(name, 3)));
    }
    result.slow = quick > 500; // a call of seconds is measured a few times only: what came before it matters little
    result.calls = Math.max(job.least_calls ?? 3, Math.min(200, Math.round(job.block_ms / Math.max(quick, 0.01))));
  }
  for (const name of alive) { // beside the first engine: what a user of it would see change
    const first = results[alive[0]].values.map(({ data }) => data);
    if (name !== alive[0]) results[name].difference_to_first = difference(results[name].values, first);
  }
  for (let round = 0; round < job.rounds; round++) {
    if (round % 4 === 0) await tell(`round ${round + 1} of ${job.rounds}`);
    const order = [...alive.slice(round % alive.length), ...alive.slice(0, round % alive.length)];
    for (const name of order) { // after a call that does not count: the caches hold what the others left
      const result = results[name];
      if (result.slow && round >= 3) continue;
      const times = await result.host.turn(name, result.calls + (result.slow ? 0 : 1));
      result.rounds.push(result.slow ? times : times.slice(1));
    }
  }
  if (job.steps) {
    for (const name of alive) results[name].steps = await results[name].host.steps(name, results[name].slow ? Math.min(job.steps, 3) : job.steps);
  }
  for (const name of job.trace ?? []) {
    if (alive.includes(name)) results[name].trace = await results[name].host.trace(name);
  }
  for (const name of alive) {
    const result = results[name];
    if (job.rounds) result.median_ms = median(result.rounds.flat());
    await result.host.close(name);
    delete result.host;
    delete result.values;
  }
  return { engines: results, failed, browser: navigator.userAgent, isolated: crossOriginIsolated, cores: navigator.hardwareConcurrency };
}

try {
  const job = await (await fetch(new URL("job.json", here))).json();
  await say({ done: await run(job) });
  document.querySelector("#state").textContent = "done: this tab may be closed";
} catch (error) {
  await say({ failed: String(error?.stack ?? error) });
}

/** Threads, as the tests want to know them; runs in Node and in a page. */

const equal = (a, b) => a.length === b.length && a.every((v, i) => Object.is(v, b[i]));

/** A model's output for `x`, and how many of `times` runs gave another one. */
function repeated(model, x, times) {
  const first = Object.values(model.run({ x }))[0].data;
  let other = 0;
  for (let i = 1; i < times; i++) other += !equal(Object.values(model.run({ x }))[0].data, first);
  return { y: Array.from(first), other, threads: model.threads, variant: model.variant, report: model.report };
}

/** Paddle's network in the variants, on 2 and on 3 threads; all models are there at once, and two of them take turns. */
export async function network(load, site, x, variants) {
  const out = {};
  for (const variant of variants) {
    const [two, three] = [await load(site, { variant, threads: 2 }), await load(site, { variant, threads: 3 })];
    out[variant] = [repeated(two, x, 200), repeated(three, x, 200)];
    for (let i = 0; i < 20; i++) for (const model of [two, three]) if (!equal(repeated(model, x, 1).y, out[variant][0].y)) throw new Error("turns");
    two.close();
    three.close();
  }
  return out;
}

const message = (act) => {
  try {
    act();
    return "";
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
};

/** The loops of threads_site.py: right, then failing at the first, at the last and at all iterations, right again, and after the end. */
export async function loops(load, site) {
  const model = await load(site, { threads: 3 });
  const size = model.inputs[0].shape[0];
  const x = (change) => Array.from({ length: size }, (_, i) => change(i) ?? i % 7);
  const run = (change) => message(() => model.run({ x: x(change) }));
  const right = () => Array.from(model.run({ x: x(() => undefined) }).y.data);
  const before = right();
  const changes = {
    first: (i) => (i === 0 ? -1 : undefined), last: (i) => (i === size - 1 ? -1 : undefined), all: () => -1,
    trap: (i) => (i === size - 1 ? 2000 : undefined), traps: () => 2000,
  };
  const said = { first: new Set(), last: new Set(), all: new Set(), trap: new Set(), traps: new Set() };
  for (let i = 0; i < 40; i++) {
    for (const [name, change] of Object.entries(changes)) said[name].add(run(change)); // in any thread
    if (!equal(right(), before)) throw new Error("a run after one that failed gave another result");
  }
  const { threads } = model;
  model.close();
  const words = Object.fromEntries(Object.entries(said).map(([name, all]) => [name, [...all]]));
  return { y: before, threads, ...words, closed: message(right) };
}

if (typeof process !== "undefined" && process.argv[2]) {
  const { readdirSync, readFileSync } = await import("node:fs");
  const { pathToFileURL } = await import("node:url");
  const [site, loopsSite, inputs] = process.argv.slice(2);
  const { load } = await import(pathToFileURL(`${site}/oarlock.js`));
  const file = readFileSync(`${inputs}/x.bin`);
  const x = new Float32Array(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
  const living = () => readdirSync("/proc/self/task").length;
  const alone = await load(site, { threads: 1 });
  alone.run({ x });
  const before = living();
  const kept = await load(site, { variant: "simd128-threads", threads: 3 });
  const more = living() - before;
  kept.close();
  for (let i = 0; i < 200 && living() > before; i++) await new Promise((done) => setTimeout(done, 10));
  const left = living() - before;
  const result = { network: await network(load, site, x, ["simd128-threads"]), loops: await loops(load, loopsSite), more, left };
  const refused = await load(site, { worker: "/nowhere.mjs", threads: 2 });
  result.refused = { variant: refused.variant, report: refused.report };
  const failure = (options) => load(site, options).then(() => "", (error) => error.message);
  result.named = await failure({ variant: "simd128-threads", worker: "/nowhere.mjs", threads: 2 });
  result.none = await failure({ threads: 0 });
  result.alone = { report: alone.report, variant: alone.variant };
  (await load(site, { variant: "simd128-threads", threads: 2 })).run({ x }); // never closed: the process ends all the same
  console.log(JSON.stringify(result));
}

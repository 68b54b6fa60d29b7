/** One thread and two, in turns: `node threads.mjs node|chromium SITE…`; per site and way, each round's median in ms, as JSON. */

const ROUNDS = 9;
const ROUND_MS = 400; // of each way

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

/** In Node, or in a worker of a page. */
async function measure(load, site) {
  const have = await load(site, { threads: 2 });
  const family = have.variant.replace(/-threads$/, "");
  have.close();
  const ways = {
    [family]: await load(site, { variant: family }),
    [`${family}-threads, 1 thread`]: await load(site, { variant: `${family}-threads`, threads: 1 }),
    [`${family}-threads, 2 threads`]: await load(site, { variant: `${family}-threads`, threads: 2 }),
  };
  let seed = 1;
  const next = () => (2 * (seed = (seed * 48271) % 2147483647)) / 2147483647 - 1;
  const inputs = Object.fromEntries(
    Object.values(ways)[0].inputs.map((info) => [info.name, Float32Array.from({ length: info.shape.reduce((a, b) => a * b, 1) }, next)]),
  );
  const times = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, model] of Object.entries(ways)) {
      model.run(inputs);
      const taken = [];
      for (const end = performance.now() + ROUND_MS; performance.now() < end; ) {
        const start = performance.now();
        model.run(inputs);
        taken.push(performance.now() - start);
      }
      if (round) times[name].push(median(taken)); // the first warms up
    }
  }
  for (const model of Object.values(ways)) model.close();
  return times;
}

async function inNode(sites) {
  const { pathToFileURL } = await import("node:url");
  const found = {};
  for (const site of sites) found[site] = await measure((await import(pathToFileURL(`${site}/oarlock.js`))).load, site);
  return found;
}

async function inChromium(sites) {
  const { open, serve } = await import("../../web/browser.mjs");
  const folders = Object.fromEntries(sites.map((site, i) => [`/${i}/`, site]));
  const server = await serve({ ...folders, "/here/": new URL(".", import.meta.url).pathname });
  const browser = await open();
  const found = {};
  try {
    await browser.page.goto(`${server.address}/0/model.json`);
    for (const [i, site] of sites.entries()) {
      found[site] = await browser.page.evaluate(async (place) => {
        const worker = new Worker("/here/threads.mjs", { type: "module" });
        const answer = await new Promise((done, fail) => {
          worker.onmessage = (event) => done(event.data);
          worker.onerror = (event) => fail(new Error(event.message));
          worker.postMessage(place);
        });
        worker.terminate();
        if (answer.error) throw new Error(answer.error);
        return answer;
      }, `${server.address}/${i}/`);
    }
  } finally {
    await browser.end();
    server.end();
  }
  return found;
}

if (typeof process === "undefined") {
  addEventListener("message", async ({ data: site }) => {
    try {
      postMessage(await measure((await import(`${site}oarlock.js`)).load, site));
    } catch (error) {
      postMessage({ error: String(error) });
    }
  });
} else {
  const [where, ...sites] = process.argv.slice(2);
  console.log(JSON.stringify(await (where === "node" ? inNode : inChromium)(sites)));
}

/** Run a built model in headless Chromium: `node browser.mjs SITE INPUTS [PICTURE]`; what each variant gives, and what the page says, as JSON. */

import { open, serve, within } from "../../web/browser.mjs";

const [site, inputs, picture] = process.argv.slice(2);
within(2);
const server = await serve({ "/site/": site, "/inputs/": inputs });
const browser = await open();
const { page, errors } = browser;
try {
  await page.goto(`${server.address}/site/index.html`);
  await page.waitForSelector("#run:not([disabled])", { timeout: 60000 });
  await page.click("#run");
  await page.waitForFunction(() => document.querySelectorAll("#kernels tr").length > 0, undefined, { timeout: 60000 });
  if (picture) await page.screenshot({ path: picture, fullPage: true });
  const shown = { state: await page.textContent("#state"), result: await page.textContent("#result"), report: await page.textContent("#report") };
  const variants = await page.evaluate(async () => {
    const { load, loadInWorker } = await import("/site/oarlock.js");
    const bytes = async (name) => (await fetch(`/inputs/${name}.bin`)).arrayBuffer();
    const given = { image: new Float32Array(await bytes("image")), words: new BigInt64Array(await bytes("words")) };
    const plain = (outputs) => Object.values(outputs).map(({ dtype, shape, data }) => ({ dtype, shape, data: Array.from(data, Number) }));
    const out = {};
    for (const variant of ["plain", "simd128", "relaxed-simd"]) out[variant] = plain((await load("/site/", { variant })).run(given));
    const worker = await loadInWorker("/site/");
    out.worker = plain(await worker.run(given));
    out.refused = await worker.run({}).then(() => "", (error) => `${error.name}: ${error.message}`);
    worker.close();
    out.closed = await worker.run(given).then(() => "", (error) => error.message);
    out.kept = (await (await caches.open("oarlock-1")).keys()).length;
    return out;
  });
  console.log(JSON.stringify({ shown, variants, errors }));
} finally {
  await browser.end();
  server.end();
}

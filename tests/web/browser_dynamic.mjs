/** Run a model of an open width in headless Chromium, as `node browser_dynamic.mjs SITE FOLDER` (sets.json): results, and what the page says. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { open, serve, within } from "../../web/browser.mjs";

const [site, folder] = process.argv.slice(2);
within(2);
const server = await serve({ "/site/": site, "/inputs/": folder });
const browser = await open();
const { page, errors } = browser;
try {
  await page.goto(`${server.address}/site/index.html`);
  await page.waitForSelector("#run:not([disabled])", { timeout: 60000 });
  const asked = await page.locator("#sizes input").count();
  await page.locator("#sizes input").first().fill("24");
  await page.click("#run");
  await page.waitForFunction(() => document.querySelectorAll("#kernels tr").length > 0, undefined, { timeout: 60000 });
  const [shown, kernels] = [await page.textContent("#result"), await page.locator("#kernels tr").count()];
  const sets = JSON.parse(readFileSync(join(folder, "sets.json"), "utf8"));
  const { results, refused } = await page.evaluate(async (sets) => {
    const { loadInWorker } = await import("/site/oarlock.js");
    const model = await loadInWorker("/site/");
    const results = [];
    for (const set of sets) {
      const inputs = {};
      for (const [name, { dtype, shape, file }] of Object.entries(set)) {
        inputs[name] = { dtype, shape, data: new Float32Array(await (await fetch(`/inputs/${file}`)).arrayBuffer()) };
      }
      const outputs = Object.entries(await model.run(inputs)).map(([name, { dtype, shape, data }]) => {
        return [name, { dtype, shape, data: btoa(String.fromCharCode(...new Uint8Array(data.buffer, data.byteOffset, data.byteLength))) }];
      });
      results.push({ outputs: Object.fromEntries(outputs) });
    }
    const wrong = { x: { dtype: "float32", shape: [1, 4, 16, 8], data: new Float32Array(512) } };
    return { results, refused: await model.run(wrong).then(() => "", (error) => error.message) };
  }, sets);
  console.log(JSON.stringify({ asked, shown, kernels, results, refused, errors }));
} finally {
  await browser.end();
  server.end();
}

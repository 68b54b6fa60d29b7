/** A protected model in headless Chromium, served with its keys: `node protected_page.mjs ADDRESS KEY-NAME`; as JSON. */

import { open, within } from "../../web/browser.mjs";

const [address, name, elsewhere] = process.argv.slice(2);
within(2);
const browser = await open();
const { page, errors } = browser;
try {
  await page.goto(address);
  await page.waitForSelector("#run:not([disabled])", { timeout: 60_000 });
  await page.click("#run");
  await page.waitForFunction(() => document.querySelectorAll("#kernels tr").length > 0, undefined, { timeout: 60_000 });
  const shown = await page.textContent("#result");
  const seen = await page.evaluate(async (name) => {
    const { load, loadInWorker } = await import("/oarlock.js");
    const token = async (key) => (await fetch(`/oarlock/tokens/${key}`, { method: "POST" })).text();
    const fetched = await fetch(`/oarlock/keys/${name}`, { method: "POST", headers: { authorization: `Bearer ${await token(name)}` } });
    const bytes = new Uint8Array(await fetched.arrayBuffer());
    const key = await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["decrypt"]);
    const inputs = (model) => Object.fromEntries(model.inputs.map((i) => [i.name, { ...i, data: Array(i.shape.reduce((a, b) => a * b, 1)).fill(1) }]));
    const sums = async (model) => Object.values(await model.run(inputs(model))).map((t) => Array.from(t.data, Number).reduce((a, b) => a + b));
    return {
      kept: fetched.headers.get("cache-control"),
      here: await sums(await load("/", { key: { url: "/oarlock/keys/", token } })),
      worker: await sums(await loadInWorker("/", { key })),
      exported: await crypto.subtle.exportKey("raw", key).then(() => "exported", (error) => error.name),
      none: await loadInWorker("/").then(() => "it ran", (error) => error.message),
    };
  }, name);
  const before = [...errors];
  // a page of another origin gets neither token nor key
  await page.goto(elsewhere);
  const refused = await page.evaluate(async ([address, name]) => {
    const post = (path) => fetch(`${address}oarlock/${path}/${name}`, { method: "POST" }).then((r) => r.status, (error) => error.name);
    return { token: await post("tokens"), key: await post("keys") };
  }, [address, name]);
  console.log(JSON.stringify({ shown, seen, refused, errors: before }));
} finally {
  await browser.end();
}

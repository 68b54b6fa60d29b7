/** Read pictures in the page: `node ocr_page.mjs ADDRESS [SCREENSHOTS]`; what it shows, as JSON. */

import { open, within } from "../../web/browser.mjs";

const [address, screenshots] = process.argv.slice(2);
within(4);
const browser = await open();
const { page, errors } = browser;
const shown = async () => ({
  lines: await page.$$eval("#lines .what", (items) => items.map((item) => item.textContent)),
  boxes: await page.$$eval("#stage polygon", (shapes) => shapes.map((shape) => shape.getAttribute("points").split(" ").map((p) => p.split(",").map(Number)))),
  state: await page.textContent("#state"),
  error: (await page.isVisible("#error")) ? await page.textContent("#error") : "",
  times: await page.textContent("#legend"),
});
const finished = (turn) => page.waitForFunction((turn) => document.body.dataset.done === String(turn), turn, { timeout: 200_000 });
const picture = async (name) => screenshots && page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
try {
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(`${address}ocr/`);
  const isolated = await page.evaluate(() => crossOriginIsolated);
  await page.waitForFunction(() => document.getElementById("state").textContent === "Ready.", undefined, { timeout: 60_000 });
  await picture("ready");
  await page.click("#demo");
  await finished(1);
  const demo = await shown();
  await picture("desktop");
  await page.setViewportSize({ width: 390, height: 844 });
  await picture("phone");
  // the page's title on its head, and something that is no picture
  const turned = await page.evaluate(async () => {
    const bitmap = await createImageBitmap(await (await fetch("page.png")).blob());
    const canvas = new OffscreenCanvas(bitmap.width, 44);
    const context = canvas.getContext("2d");
    context.rotate(Math.PI);
    context.drawImage(bitmap, -bitmap.width, -44);
    return Array.from(new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer()));
  });
  await page.setInputFiles("#file", { name: "turned.png", mimeType: "image/png", buffer: Buffer.from(turned) });
  await finished(2);
  const over = await shown();
  await page.setInputFiles("#file", { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("no picture") });
  await page.waitForFunction(() => !document.getElementById("error").hidden);
  const refused = await shown();
  console.log(JSON.stringify({ isolated, demo, over, refused, errors }));
} finally {
  await browser.end();
}

/** Find faces in the page: `node face_page.mjs ADDRESS [SCREENSHOTS]`; what it shows for its picture and for a camera, as JSON. */

import { open, within } from "../../web/browser.mjs";

const [address, screenshots] = process.argv.slice(2);
within(2);
const browser = await open(["--use-fake-device-for-media-stream"]);
const { page, errors } = browser;
const picture = async (name) => screenshots && page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
const error = async () => ((await page.isVisible("#error")) ? page.textContent("#error") : "");
try {
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(`${address}face/`);
  await page.waitForFunction(() => document.getElementById("state").textContent === "Ready.", undefined, { timeout: 60_000 });
  await page.click("#demo");
  await page.waitForFunction(() => document.body.dataset.done === "1");
  const boxes = await page.$$eval("#stage rect", (all) => all.map((r) => [...["x", "y", "width", "height"].map((n) => Number(r.getAttribute(n))), Number(r.dataset.score)]));
  const points = await page.$$eval("#stage circle", (all) => all.map((c) => ["cx", "cy"].map((n) => Number(c.getAttribute(n)))));
  const demo = { boxes, points, state: await page.textContent("#state"), error: await error() };
  await picture("face-desktop");
  await page.setViewportSize({ width: 390, height: 844 });
  await picture("face-phone");
  await page.click("#camera");
  await page.waitForFunction(() => !document.getElementById("error").hidden);
  const refused = await error();
  await page.context().grantPermissions(["camera"]);
  await page.click("#camera");
  await page.waitForFunction(() => Number(document.body.dataset.frames) >= 5);
  const camera = { numbers: await page.textContent("#numbers"), error: await error(), button: await page.textContent("#camera") };
  await page.click("#camera");
  const stopped = { state: await page.textContent("#state"), button: await page.textContent("#camera") };
  console.log(JSON.stringify({ demo, refused, camera, stopped, errors }));
} finally {
  await browser.end();
}

/** Open a report's page in headless Chromium: `node page_pictures.mjs PAGE.html [PICTURE WIDTH light|dark [CALL]]…`; what it shows, as JSON.

CALL: the call that is picked first, by its number. */

import { pathToFileURL } from "node:url";
import { open, within } from "../web/browser.mjs";

const [path, ...rest] = process.argv.slice(2);
within(4);
const browser = await open();
const { page, errors } = browser;
const count = (selector) => page.locator(selector).count();
try {
  await page.setViewportSize({ width: 1400, height: 950 });
  await page.goto(pathToFileURL(path).href);
  await page.waitForSelector("body[data-ready]", { timeout: 60_000 });
  await page.waitForTimeout(300); // charts are painted when they know their width
  const shown = {
    title: await page.title(),
    nodes: await count("#graph .node[data-call]"),
    rows: await count(".row[data-kernel]"),
    dots: await count("#roofline circle"),
    calls: await count("#s-layers tbody tr"),
    sections: await page.$$eval("section h2", (titles) => titles.map((title) => title.textContent)),
  };
  // one thing is picked in each part of the page: what the whole page then marks
  const marks = () =>
    page.evaluate(() => {
      const all = (selector, read) => [...document.querySelectorAll(selector)].map(read);
      return {
        nodes: all(".node.on", (e) => Number(e.dataset.call)),
        layers: all("#s-layers tr.on", (e) => Number(e.dataset.call)),
        rows: all(".row.on", (e) => e.dataset.kernel),
        dots: all("#roofline circle.on", (e) => e.dataset.kernel),
        blocks: all("#strips .gives", (e) => Number(e.dataset.tensor)),
        title: document.querySelector("aside h2")?.textContent ?? "",
      };
    });
  const ways = { node: "#graph .node[data-call]", row: ".row[data-kernel]", dot: "#roofline circle", block: "#strips .block", layer: "#s-layers tbody tr" };
  shown.picked = {};
  for (const [way, selector] of Object.entries(ways)) {
    if (!(await count(selector))) continue;
    await page.keyboard.press("Escape");
    if (way === "node") await page.locator(selector).first().click({ position: { x: 60, y: 20 } });
    else await page.locator(selector).first().dispatchEvent("click", { bubbles: true });
    shown.picked[way] = await marks();
  }
  if (await count("input[type=search]")) {
    await page.fill("input[type=search]", "conv2d");
    shown.found = await count("#graph .node.hit");
    await page.fill("input[type=search]", "");
  }
  await page.reload(); // picking has opened lists
  await page.waitForSelector("body[data-ready]", { timeout: 60_000 });
  for (let i = 0; i < rest.length; ) {
    const [picture, width, scheme] = rest.slice(i, i + 3);
    i += 3;
    const call = /^\d+$/.test(rest[i] ?? "") ? rest[i++] : "";
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width: Number(width), height: 950 });
    await page.keyboard.press("Escape");
    if (call) await page.locator(`#s-layers tr[data-call="${call}"]`).first().evaluate((row) => row.click());
    await page.evaluate(() => scrollTo(0, 0));
    await page.waitForTimeout(400);
    await page.screenshot({ path: picture, fullPage: true });
  }
  console.log(JSON.stringify({ ...shown, errors }));
} finally {
  await browser.end();
}

/** A page of a folder in headless Chromium: for tests, and to look at. */

import { spawnSync } from "node:child_process";
import { createServer } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const KINDS = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json", ".wasm": "application/wasm" };
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

const search = fileURLToPath(new URL("../src/oarlock/targets/web/chromium.py", import.meta.url));

/** The path of a Chromium, as chromium.py finds it; undefined where there is none. */
export const executable = process.env.CHROMIUM || spawnSync("python3", [search], { encoding: "utf8" }).stdout?.trim() || undefined;

/** Serve `folders` (prefix → folder) on loopback, with the headers of a page that is cross-origin isolated, or without; returns its address and an end. */
export async function serve(folders, { isolated = true } = {}) {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
    const prefix = Object.keys(folders).find((p) => path.startsWith(p));
    const file = prefix && join(folders[prefix], path.slice(prefix.length) || "index.html");
    try {
      const content = await readFile(file);
      response.writeHead(200, {
        "content-type": KINDS[extname(file)] ?? "application/octet-stream",
        ...(isolated ? { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" } : {}),
      });
      response.end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { address: `http://127.0.0.1:${server.address().port}`, end: () => server.close() };
}

/** Ends this process, with words, where it is not done after some minutes. */
export function within(minutes) {
  const end = () => {
    console.error(`the browser did not answer within ${minutes} minutes`);
    process.exit(2);
  };
  setTimeout(end, 60_000 * minutes).unref();
}

/** A new browser with one page; errors of the page are put into `errors`.  `flags`: more of Chromium's. */
export async function open(flags = []) {
  const profile = mkdtempSync(join(tmpdir(), "oarlock-chromium-"));
  const context = await chromium.launchPersistentContext(profile, { executablePath: executable, headless: true, args: [...FLAGS, ...flags] });
  const page = context.pages()[0] ?? (await context.newPage());
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  return {
    page,
    errors,
    end: async () => {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

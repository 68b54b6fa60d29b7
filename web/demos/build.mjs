/** Bundles the demo pages into a folder (`node demos/build.mjs build/web-demo`), beside the runtime as the package has it. */

import { cpSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = process.argv[2] && resolve(process.argv[2]);
if (!out) {
  console.error("usage: node demos/build.mjs FOLDER");
  process.exit(2);
}
const runtime = join(here, "../../src/oarlock/targets/web/runtime");
const apart = { name: "apart", setup: (b) => b.onResolve({ filter: /^oarlock$/ }, () => ({ path: "../runtime/oarlock.js", external: true })) };

mkdirSync(join(out, "runtime"), { recursive: true });
for (const name of readdirSync(runtime).filter((file) => file.endsWith(".js"))) cpSync(join(runtime, name), join(out, "runtime", name));
cpSync(join(here, "index.html"), join(out, "index.html"));
cpSync(join(here, "style.css"), join(out, "style.css"));
const pages = readdirSync(here).filter((name) => existsSync(join(here, name, "main.ts")));
for (const page of pages) {
  mkdirSync(join(out, page), { recursive: true });
  cpSync(join(here, page, "index.html"), join(out, page, "index.html"));
  await build({
    entryPoints: [join(here, page, "main.ts")], outfile: join(out, page, "main.js"), bundle: true, format: "esm", target: "es2022",
    minify: true, legalComments: "none", plugins: [apart],
  });
}
console.log(`${pages.length} pages in ${out}`);

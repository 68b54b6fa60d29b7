/**
 * Bundles the runtime and puts it where the Python package has it; `node build.mjs --check` says whether it is there already, and
 * `--package` puts it into dist, which is what `npm pack` takes.
 */

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, cpSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const runtime = join(here, "../src/oarlock/targets/web/runtime");
const made = mkdtempSync(join(tmpdir(), "oarlock-web-"));

for (const [from, to] of [["index", "oarlock"], ["worker", "oarlock-worker"]]) {
  await build({
    entryPoints: [join(here, `src/${from}.ts`)], outfile: join(made, `${to}.js`), bundle: true, format: "esm", target: "es2022",
    platform: "neutral", external: ["node:*"], minify: true, legalComments: "none",
  });
}
execFileSync(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "-p", here, "--emitDeclarationOnly", "--outDir", join(made, "types")], {
  stdio: "inherit",
});
cpSync(join(here, "index.html"), join(made, "index.html"));

const files = (folder) => (existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : [])
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
  .sort();

if (process.argv.includes("--check")) {
  const [mine, theirs] = [files(made), files(runtime)];
  const other = mine.filter((name) => !theirs.includes(name) || !readFileSync(join(made, name)).equals(readFileSync(join(runtime, name))));
  const more = theirs.filter((name) => !mine.includes(name));
  rmSync(made, { recursive: true });
  if (other.length + more.length) {
    console.error(`src/oarlock/targets/web/runtime is not what web/src makes: ${[...other, ...more].join(", ")}; run \`make web\``);
    process.exit(1);
  }
} else if (process.argv.includes("--package")) {
  const dist = join(here, "dist");
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  for (const name of readdirSync(made).filter((name) => name !== "index.html")) cpSync(join(made, name), join(dist, name), { recursive: true });
  cpSync(join(here, "../LICENSE"), join(dist, "LICENSE"));
  rmSync(made, { recursive: true });
} else {
  rmSync(runtime, { recursive: true, force: true });
  mkdirSync(runtime); // not copied: a temporary folder is its owner's alone
  for (const name of readdirSync(made)) cpSync(join(made, name), join(runtime, name), { recursive: true });
  rmSync(made, { recursive: true });
  console.log(`${files(runtime).length} files in src/oarlock/targets/web/runtime`);
}

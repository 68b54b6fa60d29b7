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
const target = join(here, "../src/oarlock/targets/web");
const temporary = mkdtempSync(join(tmpdir(), "oarlock-web-"));

const bundle = (from, to) =>
  build({
    entryPoints: [join(here, `src/${from}.ts`)], outfile: `${to}.js`, bundle: true, format: "esm", target: "es2022",
    platform: "neutral", external: ["node:*"], minify: true, legalComments: "none",
  });

// what goes into every site
const made = join(temporary, "runtime");
for (const [from, to] of [["index", "oarlock"], ["worker", "oarlock-worker"]]) await bundle(from, join(made, to));
const RPC = ["", "-machine", "-protocol", "-random", "-session", "-worker"].map((part) => `rpc${part}.d.ts`);
execFileSync(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "-p", here, "--emitDeclarationOnly", "--outDir", join(made, "types")], {
  stdio: "inherit",
});
for (const name of ["tuner.d.ts", "tuner-chart.d.ts", "tuner-worker.d.ts", "tuning.d.ts", "measure.d.ts", "alone.d.ts", ...RPC]) rmSync(join(made, "types", name), { force: true });
cpSync(join(here, "index.html"), join(made, "index.html"));

// the page of `oarlock web tune`
const tuner = join(temporary, "tuner");
for (const name of ["tuner", "tuner-worker"]) await bundle(name, join(tuner, name));
cpSync(join(here, "tune.html"), join(tuner, "tune.html"));

// the page of `oarlock web rpc`
const rpc = join(temporary, "rpc_page");
for (const name of ["rpc", "rpc-worker"]) await bundle(name, join(rpc, name));
cpSync(join(here, "rpc.html"), join(rpc, "rpc.html"));

const files = (folder) => (existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : [])
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
  .sort();

if (process.argv.includes("--check")) {
  const stale = [];
  for (const folder of readdirSync(temporary)) {
    const [from, to] = [join(temporary, folder), join(target, folder)];
    const [mine, theirs] = [files(from), files(to)];
    const other = mine.filter((name) => !theirs.includes(name) || !readFileSync(join(from, name)).equals(readFileSync(join(to, name))));
    stale.push(...[...other, ...theirs.filter((name) => !mine.includes(name))].map((name) => `${folder}/${name}`));
  }
  rmSync(temporary, { recursive: true });
  if (stale.length) {
    console.error(`src/oarlock/targets/web is not what web/src makes: ${stale.join(", ")}; run \`make web\``);
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
  for (const folder of readdirSync(temporary)) {
    const [from, to] = [join(temporary, folder), join(target, folder)];
    rmSync(to, { recursive: true, force: true });
    mkdirSync(to); // not copied: a temporary folder is its owner's alone
    for (const name of readdirSync(from)) cpSync(join(from, name), join(to, name), { recursive: true });
    console.log(`${files(to).length} files in src/oarlock/targets/web/${folder}`);
  }
  rmSync(temporary, { recursive: true });
}

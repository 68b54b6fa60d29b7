/** What the demo page does around its networks: `node ocr_steps.mjs FOLDER` takes case.json and its files there, and gives JSON. */

import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "../../web/node_modules/esbuild/lib/main.js";

const out = mkdtempSync(join(tmpdir(), "oarlock-steps-"));
const source = async (name) => {
  const outfile = join(out, `${name.replace("/", "-")}.mjs`);
  await build({ entryPoints: [fileURLToPath(new URL(`../../web/demos/${name}.ts`, import.meta.url))], outfile, bundle: true, format: "esm", external: ["oarlock"] });
  return import(pathToFileURL(outfile));
};
const [{ boxesIn, rowsOf }, { cutOut }, { decoded, lineTensor }] = await Promise.all(["ocr/lines", "common/picture", "ocr/text"].map(source));

const [folder] = process.argv.slice(2);
const { map, picture, box, scores } = JSON.parse(readFileSync(join(folder, "case.json")));
const floats = (name) => new Float32Array(Uint8Array.from(readFileSync(join(folder, name))).buffer);
const boxes = rowsOf(boxesIn(floats("map.bin"), map[1], map[0])).flat();
const cut = cutOut({ width: picture[1], height: picture[0], data: new Uint8Array(readFileSync(join(folder, "picture.bin"))) }, box);
const line = lineTensor(cut, 48, 320);
const text = decoded({ dtype: "float32", shape: scores, data: floats("scores.bin") }, ["a", "b", "c"]);
console.log(JSON.stringify({ boxes, cut: { width: cut.width, height: cut.height, data: Array.from(cut.data) }, line: Array.from(line.data), text }));

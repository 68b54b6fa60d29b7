/** Run a site whose model takes and gives complex tensors, in Node: `node complex.mjs SITE INPUT`; its output as JSON. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [site, input] = process.argv.slice(2);
const { load } = await import(pathToFileURL(`${site}/oarlock.js`));
const model = await load(site, { variant: "simd128" });
const file = readFileSync(input);
const data = new Float32Array(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
const { dtype, shape } = model.inputs[0];
const [output] = Object.values(model.run({ x: data }));
console.log(JSON.stringify({ input: { dtype, shape }, dtype: output.dtype, shape: output.shape, data: Array.from(output.data) }));

/** Run a built model in Node: `node run.mjs SITE VARIANT INPUTS`; the outputs as JSON. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [site, variant, folder] = process.argv.slice(2);
const { load } = await import(pathToFileURL(`${site}/oarlock.js`));
const model = await load(site, { variant });
const whole = (name, Kind) => {
  const file = readFileSync(`${folder}/${name}.bin`);
  return new Kind(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
};
const inputs = { image: whole("image", Float32Array), words: whole("words", BigInt64Array) };
model.run(inputs);
const outputs = Object.values(model.run(inputs)); // the second time: nothing is left from the first
console.log(JSON.stringify(outputs.map(({ dtype, shape, data }) => ({ dtype, shape, data: Array.from(data, Number) }))));

/**
 * Runs a built model in Node: `node run.mjs SITE VARIANT FOLDER [KEY]`, KEY: the file with the 32 bytes that open a protected model.
 *
 * FOLDER/sets.json: a list of runs, each {input: {dtype, shape, file}} with the file's elements as they lie in memory.  Prints, as JSON,
 * for each run {outputs: {name: {dtype, shape, data in base64}}} or {error}, and how many bytes of memory there were after it.
 */

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [site, variant, folder, keyFile] = process.argv.slice(2);
const { load } = await import(pathToFileURL(resolve(site, "oarlock.js")));
const KINDS = {
  float32: Float32Array, float64: Float64Array, int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, bool: Uint8Array,
};
const elements = ({ dtype, file }) => {
  const content = readFileSync(join(folder, file));
  return new KINDS[dtype](content.buffer.slice(content.byteOffset, content.byteOffset + content.byteLength));
};
const options = { ...(variant ? { variant } : {}), ...(keyFile ? { key: readFileSync(keyFile) } : {}) };
const model = await load(site, options);
const results = JSON.parse(readFileSync(join(folder, "sets.json"), "utf8")).map((set) => {
  const inputs = Object.fromEntries(Object.entries(set).map(([name, t]) => [name, { dtype: t.dtype, shape: t.shape, data: elements(t) }]));
  let result;
  try {
    const outputs = Object.entries(model.run(inputs)).map(([name, { dtype, shape, data }]) => {
      return [name, { dtype, shape, data: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64") }];
    });
    result = { outputs: Object.fromEntries(outputs) };
  } catch (error) {
    result = { error: `${error.name}: ${error.message}` };
  }
  return { ...result, memory: model.memoryBytes };
});
console.log(JSON.stringify(results));

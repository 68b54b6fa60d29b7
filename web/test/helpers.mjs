/** The runtime's sources as modules, and a model made by hand. */

import { createHash } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

export async function source(name) {
  const outfile = join(mkdtempSync(join(tmpdir(), "oarlock-test-")), `${name}.mjs`);
  const entry = fileURLToPath(new URL(`../src/${name}.ts`, import.meta.url));
  await build({ entryPoints: [entry], outfile, bundle: true, format: "esm", platform: "neutral", external: ["node:*"] });
  return import(pathToFileURL(outfile));
}

const leb = (n) => {
  const out = [];
  for (; n >= 128; n >>>= 7) out.push((n & 127) | 128);
  return [...out, n];
};
const sized = (kind, bytes) => [kind, ...leb(bytes.length), ...bytes];
const named = (text) => [...leb(text.length), ...Buffer.from(text)];

/** y[0] = 2 · (x[0] + w[0]), in two kernels; the second fails, with words, where the sum is below 0, and a third traps. */
export function module(plan) {
  const i32 = 0x7f;
  const types = [2, 0x60, 3, i32, i32, i32, 1, i32, 0x60, 2, i32, i32, 0];
  const imports = [2, ...named("env"), ...named("memory"), 2, 0, 2, ...named("env"), ...named("TVMFFIErrorSetRaisedFromCStr"), 0, 1];
  const functions = [3, 0, 0, 0];
  const base = [1, i32, 0, 0x41, ...[0x80, 0x08], 0x0b]; // __heap_base = 1024
  const exports = [4, ...named("k0"), 0, 1, ...named("k1"), 0, 2, ...named("k2"), 0, 3, ...named("__heap_base"), 3, 0];
  const load = (local) => [0x20, local, 0x2a, 2, 0];
  const add = [0, 0x20, 2, ...load(0), ...load(1), 0x92, 0x38, 2, 0, 0x41, 0, 0x0b]; // k0(x, w, sum)
  const refuse = [...load(0), 0x43, 0, 0, 0, 0, 0x5d, 0x04, 0x40, 0x41, 16, 0x41, 32, 0x10, 0, 0x41, 0x7f, 0x0f, 0x0b];
  const double = [0, ...refuse, 0x20, 2, ...load(0), ...load(1), 0x92, 0x38, 2, 0, 0x41, 0, 0x0b]; // k1(sum, sum, y)
  const trap = [0, 0x00, 0x0b]; // k2(…): unreachable
  const code = [3, ...leb(add.length), ...add, ...leb(double.length), ...double, ...leb(trap.length), ...trap];
  const words = Buffer.from("ValueError\0     below nothing\0");
  const data = [1, 0, 0x41, 16, 0x0b, ...leb(words.length), ...words];
  const sections = [sized(1, types), sized(2, imports), sized(3, functions), sized(6, base), sized(7, exports), sized(10, code), sized(11, data)];
  const custom = sized(0, [...named("oarlock.plan"), ...Buffer.from(JSON.stringify(plan))]);
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections.flat(), ...custom]);
}

export const PLAN = {
  version: 1, arena: 64, weights: 4,
  kernels: [{ export: "k0", name: "add" }, { export: "k1", name: "double", workload: "twice" }],
  steps: [[0, [2, 0, 0, 0, 1, 0]], [1, [1, 0, 1, 0, 3, 0]]],
};

/** A folder with the model; `change` may spoil the manifest. */
export function folder(change = () => {}, plan = PLAN) {
  const at = mkdtempSync(join(tmpdir(), "oarlock-model-"));
  const part = (file, bytes) => {
    writeFileSync(join(at, file), bytes);
    return { file, bytes: bytes.byteLength, sha256: createHash("sha256").update(bytes).digest("hex") };
  };
  const weights = [part("w.bin", new Uint8Array(new Float32Array([0.5]).buffer))];
  const variant = { name: "plain", needs: [], module: part("m.wasm", module(plan)), weights };
  const tensor = (name) => ({ name, dtype: "float32", shape: [1] });
  const manifest = { format: "oarlock web", version: 1, oarlock: "0", inputs: [tensor("x")], outputs: [tensor("y")], variants: [variant] };
  change(manifest);
  writeFileSync(join(at, "model.json"), JSON.stringify(manifest));
  return at;
}

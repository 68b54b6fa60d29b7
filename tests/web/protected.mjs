/** A protected model in Node: `node protected.mjs SITE INPUTS KEY ENDPOINT TOKENS`; outputs and refusals, as JSON. */

import { cpSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [site, folder, keyFile, url, tokens, other] = process.argv.slice(2);
const { load } = await import(pathToFileURL(`${site}/oarlock.js`));
const secret = Uint8Array.from(Buffer.from(JSON.parse(readFileSync(keyFile)).key, "hex"));
const { good, expired, forged } = JSON.parse(tokens);
const whole = (name, Kind) => new Kind(Uint8Array.from(readFileSync(`${folder}/${name}.bin`)).buffer);
const inputs = { image: whole("image", Float32Array), words: whole("words", BigInt64Array) };
const run = async (source, key) => {
  const model = await load(source, { variant: "simd128", key });
  const plain = Object.values(model.run(inputs)).map(({ dtype, shape, data }) => ({ dtype, shape, data: Array.from(data, Number) }));
  return { plain, kernels: model.profile(inputs, 1).map((kernel) => kernel.name) };
};
const refusal = (promise) => promise.then(() => "it ran", (error) => `${error.name}: ${error.message}`);

/** A copy of the site with changed files; the manifest's own sums are made right, as one who changes files would. */
function changed(change) {
  const at = mkdtempSync(join(tmpdir(), "oarlock-changed-"));
  cpSync(site, at, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(at, "model.json")));
  const files = manifest.variants.flatMap((v) => [v.module, ...v.weights]);
  change(manifest, at);
  for (const part of files) {
    const bytes = readFileSync(join(at, part.file));
    [part.bytes, part.sha256] = [bytes.length, createHash("sha256").update(bytes).digest("hex")];
  }
  writeFileSync(join(at, "model.json"), JSON.stringify(manifest));
  return at;
}
const simd = (manifest) => manifest.variants.find((v) => v.name === "simd128");
const endpoint = (token) => ({ url, token: () => token });

console.log(JSON.stringify({
  raw: await run(site, secret),
  crypto: await run(site, await crypto.subtle.importKey("raw", secret, "AES-GCM", false, ["decrypt"])),
  endpoint: await run(site, endpoint(good)),
  refused: {
    none: await refusal(run(site)),
    wrong: await refusal(run(site, new Uint8Array(32))),
    wrongCrypto: await refusal(crypto.subtle.importKey("raw", new Uint8Array(32), "AES-GCM", false, ["decrypt"]).then((key) => run(site, key))),
    bit: await refusal(run(changed((m, at) => {
      const name = join(at, simd(m).weights[0].file);
      const bytes = readFileSync(name);
      bytes[bytes.length >> 1] ^= 1;
      writeFileSync(name, bytes);
    }), secret)),
    swapped: await refusal(run(changed((m) => simd(m).weights.reverse()), secret)),
    lost: await refusal(run(changed((m) => simd(m).weights.pop()), secret)),
    otherModel: await refusal(run(changed((m, at) => {
      const theirs = JSON.parse(readFileSync(join(other, "model.json")));
      cpSync(join(other, simd(theirs).weights[0].file), join(at, simd(m).weights[0].file));
    }), secret)),
    shape: await refusal(run(changed((m) => (m.inputs[0].shape = [1, 3, 26, 30])), secret)),
    noToken: await refusal(run(site, url)),
    expired: await refusal(run(site, endpoint(expired))),
    forged: await refusal(run(site, endpoint(forged))),
    relative: await refusal(run(site, { url: "keys/", token: () => good })),
  },
  relative: await run(new URL("../..", url), { url: "oarlock/keys/", token: () => good }),
  written: readdirSync(site),
}));

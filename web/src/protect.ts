/** Opens models that `oarlock web build --protect` wrote; oarlock/targets/web/protect.py has the format. */

import { OarlockError } from "./errors.js";
import { cryptography, locate, manifestAt } from "./loader.js";
import type { Manifest, Variant } from "./types.js";

/** Where a key is given out, and what says that this page may have it. */
export interface KeyEndpoint {
  /** The key's own name is appended: https://shop.example/oarlock/keys/ */
  url: string | URL;
  /** Asked for a short-lived token each time that a key is fetched; gets the key's name. */
  token?: (key: string) => string | Promise<string>;
}

/** A key of AES-256-GCM: one of the browser's, 32 bytes, or where it is given out. */
export type Key = CryptoKey | Uint8Array | ArrayBuffer | string | URL | KeyEndpoint;

const NONCE = 12;
const VERSION = 1;

/** Contents of a variant's module and weights: as they are, or decrypted. */
export async function opened(
  manifest: Manifest, variant: Variant, files: Uint8Array[], key: Key | undefined, where: string,
): Promise<Uint8Array[]> {
  const held = await keyOf(manifest, key, where);
  if (!held) return files;
  const { build, plans } = manifest.protection!;
  // the text that protect.py hashes: what the manifest says of the model is authenticated with each file
  const facts = JSON.stringify({ build, plans, inputs: manifest.inputs, outputs: manifest.outputs });
  const model = hex(await sha256(new TextEncoder().encode(facts)));
  if (typeof DecompressionStream === "undefined") {
    const todo = "Firefox 113, Safari 16.4, Chrome 80 and newer have it";
    throw new OarlockError("this browser cannot open protected models: it has no DecompressionStream", where, todo);
  }
  const cipher = await subtle();
  const roles = [`module ${variant.name}`, ...variant.weights.map((_, i) => `weights ${i} of ${variant.weights.length}`)];
  return Promise.all(files.map(async (file, i) => {
    const additionalData = new TextEncoder().encode(`oarlock web ${VERSION}\n${model}\n${roles[i]}`);
    const [iv, content] = [file.slice(0, NONCE), file.subarray(NONCE) as Uint8Array<ArrayBuffer>];
    let clear: ArrayBuffer;
    try {
      clear = await cipher.decrypt({ name: "AES-GCM", iv, additionalData }, held, content);
    } catch {
      const what = "the file does not open with this key: it was changed, or is another model's or another part's";
      throw new OarlockError(what, `${where}, ${roles[i]}`, "put the whole folder there again, and give the key it was built with");
    }
    return new Uint8Array(i === 0 ? await inflated(clear) : clear); // the module is compressed
  }));
}

/** The key that a protected model needs, as one that cannot be read out again; nothing for a model without protection. */
export async function keyOf(manifest: Manifest, key: Key | undefined, where: string): Promise<CryptoKey | undefined> {
  const { protection } = manifest;
  if (!protection) return undefined;
  if (protection.version !== VERSION) {
    const what = `the model has protection ${protection.version}, this runtime opens ${VERSION}`;
    throw new OarlockError(what, where, "use the oarlock.js beside the model");
  }
  if (key === undefined) throw new OarlockError("the model is protected", where, "load it with a key: load(url, { key })");
  if (typeof CryptoKey !== "undefined" && key instanceof CryptoKey) return key;
  // a copy, for it is wiped; Node's Buffer.slice would share the caller's memory
  const raw = key instanceof Uint8Array || key instanceof ArrayBuffer ? Uint8Array.from(new Uint8Array(key)) : undefined;
  const bytes = raw ?? (await fetched(key as KeyEndpoint | string | URL, protection.key, where));
  try {
    const named = new Uint8Array([...new TextEncoder().encode("oarlock web key\0"), ...bytes]);
    const id = hex((await sha256(named)).subarray(0, 8));
    named.fill(0);
    if (id !== protection.key) {
      const what = `the key is not this model's: it is ${id}, not ${protection.key}`;
      throw new OarlockError(what, where, "give the key that the model was built with");
    }
    return await (await subtle()).importKey("raw", bytes as Uint8Array<ArrayBuffer>, "AES-GCM", false, ["decrypt"]);
  } finally {
    bytes.fill(0);
  }
}

/** For a worker, which no function can be sent to: the key itself, in place of where it is given out. */
export async function keyToSend(source: string | URL, key: Key | undefined): Promise<CryptoKey | undefined> {
  if (key === undefined || (typeof CryptoKey !== "undefined" && key instanceof CryptoKey)) return key;
  const url = await locate(source);
  return keyOf(await manifestAt(url), key, url.href);
}

/** `where`: the model's address, which a relative one is relative to where there is no page. */
async function fetched(endpoint: KeyEndpoint | string | URL, name: string, where: string): Promise<Uint8Array> {
  const { url, token } = typeof endpoint === "string" || endpoint instanceof URL ? { url: endpoint, token: undefined } : endpoint;
  const base = String(url).replace(/\/?$/, "/");
  const page = globalThis.document?.baseURI ?? globalThis.location?.href ?? where;
  const at = new URL(name, /^[a-z][a-z+.-]+:/i.test(base) ? base : new URL(base, page));
  if (!/^https?:$/.test(at.protocol)) {
    const todo = "give its whole address: https://shop.example/oarlock/keys/";
    throw new OarlockError(`the key cannot be fetched from there: ${base} leads to no web server`, at.href, todo);
  }
  const headers: Record<string, string> = {};
  if (token) headers["authorization"] = `Bearer ${await token(name)}`;
  let response: Response;
  try {
    response = await fetch(at, { method: "POST", headers, cache: "no-store" });
  } catch (error) {
    const todo = "check the address, and that its server allows this page's origin";
    throw new OarlockError(`the key cannot be fetched: ${(error as Error).message}`, at.href, todo);
  }
  if (!response.ok) {
    const why = (await response.text().catch(() => "")).slice(0, 200) || response.statusText;
    throw new OarlockError(`the key was refused: ${why}`, at.href, response.status === 401 ? "give a new token, signed for this key" : "");
  }
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes.byteLength !== 32) throw new OarlockError(`the server gave ${bytes.byteLength} bytes, which is no key`, at.href);
  return bytes;
}

function inflated(bytes: ArrayBuffer): Promise<ArrayBuffer> {
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

async function subtle(): Promise<SubtleCrypto> {
  const found = await cryptography();
  if (!found) throw new OarlockError("this page cannot decrypt: browsers do on secure pages only (https, or localhost)");
  return found;
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

const sha256 = async (bytes: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await (await subtle()).digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));

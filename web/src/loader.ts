/** Fetches a model's files: with progress, checked, and kept by the browser. */

import { OarlockError } from "./errors.js";
import type { Manifest, Part } from "./types.js";

/** Told while files arrive: bytes so far of all bytes. */
export type Progress = (loaded: number, total: number) => void;

const CACHE = "oarlock-1";
const inNode = typeof process !== "undefined" && Boolean(process.versions?.node);

/** The address of a model's manifest: of a folder it is model.json in it.  In Node a path will do. */
export async function locate(source: string | URL): Promise<URL> {
  const text = String(source);
  const file = /\.json($|\?)/.test(text) ? text : `${text.replace(/\/?$/, "/")}model.json`;
  if (/^[a-z][a-z+.-]+:/i.test(file)) return new URL(file);
  if (!inNode) return new URL(file, globalThis.document?.baseURI ?? location.href);
  const { pathToFileURL } = await import("node:url");
  return pathToFileURL(file);
}

export async function manifestAt(url: URL): Promise<Manifest> {
  const bytes = await read(url);
  let found: unknown;
  try {
    found = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new OarlockError("the model's manifest is no JSON", url.href, "give the address of the folder that `oarlock web build` wrote");
  }
  const manifest = found as Partial<Manifest>;
  if (manifest?.format !== "oarlock web" || !Array.isArray(manifest.variants)) {
    throw new OarlockError("this is no model for the web", url.href, "give the address of the folder that `oarlock web build` wrote");
  }
  if (manifest.version !== 1) {
    throw new OarlockError(`the model has format ${manifest.version}, this runtime reads 1`, url.href, "use the oarlock.js beside the model");
  }
  return manifest as Manifest;
}

/** The files' contents one after another, checked against the manifest. */
export async function parts(base: URL, wanted: Part[], progress: Progress, notes: string[]): Promise<Uint8Array[]> {
  const total = wanted.reduce((sum, part) => sum + part.bytes, 0);
  const done = wanted.map(() => 0);
  const tell = (i: number, bytes: number): void => {
    done[i] = bytes;
    progress(done.reduce((a, b) => a + b, 0), total);
  };
  return Promise.all(wanted.map((part, i) => whole(new URL(part.file, base), part, (bytes) => tell(i, bytes), notes)));
}

async function whole(url: URL, part: Part, tell: (bytes: number) => void, notes: string[]): Promise<Uint8Array> {
  const cache = await models();
  const held = await cache?.match(url).catch(() => undefined);
  if (held) {
    const bytes = new Uint8Array(await held.arrayBuffer());
    if (!(await fault(bytes, part, []))) {
      tell(bytes.byteLength);
      return bytes;
    }
    await cache?.delete(url);
  }
  const bytes = await read(url, tell);
  const wrong = await fault(bytes, part, notes);
  if (wrong) throw new OarlockError(wrong, url.href, "put the folder there again as `oarlock web build` wrote it");
  // only what was checked is kept; without room for it the next page fetches it again
  void cache?.put(url, new Response(bytes as Uint8Array<ArrayBuffer>)).catch(() => {});
  return bytes;
}

/** Lets the browser forget the files of earlier builds in a model's folder: those that its manifest does not name. */
export async function forget(base: URL, manifest: Manifest): Promise<void> {
  const named = new Set(manifest.variants.flatMap((v) => [v.module, ...v.weights]).map((part) => new URL(part.file, base).href));
  const folder = new URL(".", base).href;
  const cache = await models();
  for (const { url } of (await cache?.keys()) ?? []) {
    const inside = url.startsWith(folder) && !url.slice(folder.length).includes("/");
    if (inside && !named.has(url)) await cache!.delete(url);
  }
}

/** What is wrong with a file's content, or nothing. */
async function fault(bytes: Uint8Array, part: Part, notes: string[]): Promise<string> {
  if (bytes.byteLength !== part.bytes) return `the file has ${bytes.byteLength} bytes, not ${part.bytes}`;
  const subtle = await cryptography();
  if (!subtle) {
    const note = "files are not checked: the page is not secure (https)";
    if (!notes.includes(note)) notes.push(note);
    return "";
  }
  const digest = new Uint8Array(await subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
  const hex = Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("");
  return hex === part.sha256 ? "" : "the file is damaged, or was changed";
}

/** The engine's cryptography; nothing on a page that is not secure. */
export async function cryptography(): Promise<SubtleCrypto | undefined> {
  return globalThis.crypto?.subtle ?? (inNode ? ((await import("node:crypto")).webcrypto.subtle as SubtleCrypto) : undefined);
}

/** The browser's cache of models, where it allows one. */
async function models(): Promise<Cache | undefined> {
  try {
    return typeof caches === "undefined" ? undefined : await caches.open(CACHE);
  } catch {
    return undefined;
  }
}

async function read(url: URL, tell?: (bytes: number) => void): Promise<Uint8Array> {
  if (url.protocol === "file:" && inNode) {
    const { readFile } = await import("node:fs/promises");
    try {
      const bytes = await readFile(url);
      tell?.(bytes.byteLength);
      return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    } catch (error) {
      throw new OarlockError(`the file cannot be read: ${(error as Error).message}`, url.href);
    }
  }
  let response: Response;
  try {
    // of files named by their contents a stale copy is a broken one
    response = await fetch(url, { cache: tell ? "default" : "no-cache" });
  } catch (error) {
    throw new OarlockError(`the file cannot be fetched: ${(error as Error).message}`, url.href, "check the address, and the server's CORS headers");
  }
  if (!response.ok) throw new OarlockError(`the server answered ${response.status} ${response.statusText}`, url.href);
  if (!response.body || !tell) return new Uint8Array(await response.arrayBuffer());
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      size += value.byteLength;
      tell(size);
    }
  } catch (error) {
    throw new OarlockError(`the file stopped after ${size} bytes: ${(error as Error).message}`, url.href, "try again");
  }
  return joined(chunks);
}

/** Chunks one after another; a lone one is itself. */
export function joined(chunks: Uint8Array[]): Uint8Array {
  if (chunks.length === 1) return chunks[0]!;
  const out = new Uint8Array(chunks.reduce((sum, c) => sum + c.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.byteLength;
  }
  return out;
}

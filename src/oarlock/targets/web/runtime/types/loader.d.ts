/** Fetches a model's files: with progress, checked, and kept by the browser. */
import type { Manifest, Part } from "./types.js";
/** Told while files arrive: bytes so far of all bytes. */
export type Progress = (loaded: number, total: number) => void;
/** The address of a model's manifest: of a folder it is model.json in it.  In Node a path will do. */
export declare function locate(source: string | URL): Promise<URL>;
export declare function manifestAt(url: URL): Promise<Manifest>;
/** The files' contents one after another, checked against the manifest. */
export declare function parts(base: URL, wanted: Part[], progress: Progress, notes: string[]): Promise<Uint8Array[]>;
/** Lets the browser forget the files of earlier builds in a model's folder: those that its manifest does not name. */
export declare function forget(base: URL, manifest: Manifest): Promise<void>;
/** The engine's cryptography; nothing on a page that is not secure. */
export declare function cryptography(): Promise<SubtleCrypto | undefined>;
/** Chunks one after another; a lone one is itself. */
export declare function joined(chunks: Uint8Array[]): Uint8Array;

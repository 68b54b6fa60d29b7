/** Opens models that `oarlock web build --protect` wrote; oarlock/targets/web/protect.py has the format. */
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
/** Contents of a variant's module and weights: as they are, or decrypted. */
export declare function opened(manifest: Manifest, variant: Variant, files: Uint8Array[], key: Key | undefined, where: string): Promise<Uint8Array[]>;
/** The key that a protected model needs, as one that cannot be read out again; nothing for a model without protection. */
export declare function keyOf(manifest: Manifest, key: Key | undefined, where: string): Promise<CryptoKey | undefined>;
/** For a worker, which no function can be sent to: the key itself, in place of where it is given out. */
export declare function keyToSend(source: string | URL, key: Key | undefined): Promise<CryptoKey | undefined>;

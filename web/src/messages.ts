/** What a page and its worker say to each other. */

import type { KernelTime } from "./engine.js";
import type { Input } from "./model.js";
import type { Tensor, TensorInfo } from "./types.js";

export interface Facts {
  inputs: TensorInfo[];
  outputs: TensorInfo[];
  variant: string;
  threads: number;
  report: string[];
}

export type Request =
  | { id: number; what: "load"; source: string; variant?: string; threads?: number; key?: CryptoKey }
  | { id: number; what: "run"; inputs: Record<string, Input> }
  | { id: number; what: "profile"; inputs: Record<string, Input>; runs: number };

export type Reply =
  | { id: number; progress: [number, number] }
  | { id: number; compiling: [number, number] }
  | { id: number; error: { what: string; where: string; todo: string } }
  | { id: number; facts: Facts }
  | { id: number; outputs: Record<string, Tensor> }
  | { id: number; times: KernelTime[] };

/** What the server of `oarlock web tune`, its page and the page's workers say to each other. */

import type { Argument } from "./alone.js";
import type { TensorInfo } from "./types.js";

/** A build of the model, as files of the server. */
export interface Build {
  module: string;
  weights: string[];
  inputs: (TensorInfo & { file: string })[];
  outputs: TensorInfo[];
  /** How many run its loops; none of a variant without threads. */
  threads?: number;
}

/** What to do in a worker; one worker keeps what it was given for the next question. */
export type Ask =
  | { what: "outputs"; build: Build }
  | { what: "run"; build: Build; runs: number }
  | { what: "kernels"; build: Build; budget: number }
  | { what: "base"; base: string; args: Argument[]; turns: number; threads?: number }
  | { what: "alone"; base: string; kernel: string; args: Argument[]; turns: number; threads?: number };

/** `worker`: which one; it is ended when a kernel, or all that follows the last one's first call, took longer than `limit` milliseconds. */
export interface Job {
  id: number;
  worker: string;
  limit: number;
  ask: Ask;
}

/** One kernel's state in the chart: times of a run in milliseconds. */
export interface Row {
  workload: string;
  calls: number;
  before: number;
  best: number;
  candidate: string;
  tried: number;
  offered: number;
}

export interface State {
  title: string;
  doing: string;
  done: number;
  total: number;
  trials: number;
  failed: number;
  minutes: number;
  spent: number;
  rows: Row[];
  log: string[];
  /** Milliseconds of all tuned kernels with the best so far, after each trial. */
  history: number[];
  end?: string;
}

export type FromServer = Job | { close: string } | { show: State } | { refused: string };

/** `kernel`: the number in the plan of the kernel that was running. */
export type Answer =
  | { id: number; result: unknown; bytes?: number }
  | { id: number; failed: string; kernel?: number };

/** `at`: the number of the kernel that is called next; −1: it is not known any more which one runs. */
export type FromWorker = { id: number; at: number } | { id: number; result: unknown; arrays?: ArrayBuffer[] } | { id: number; failed: string };

/** What the page knows of where it runs. */
export interface Hello {
  browser: string;
  major: number;
  device: string;
  cores: number;
  isolated: boolean;
  tick: number;
  needs: string[];
}

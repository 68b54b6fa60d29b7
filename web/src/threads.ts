/**
 * Parallel loops of kernels on several threads: workers that run the same module on the same memory, each with a stack of its own.
 *
 * A loop is dealt in parts.  The thread that comes to it takes them from the first on, workers from the last: so who is late only does
 * less, nobody waits for a worker that has not begun, and two threads find in their caches what they had there in the loop before.
 *
 * While a run goes on, idle workers look for the next loop for SPIN_MS, then sleep; between runs they sleep.  A page's own thread may not
 * sleep: it looks until the last part is done, which a worker has begun by then.
 */

import { OarlockError } from "./errors.js";
import { environment, Heap } from "./imports.js";

// Words of the pool, in the model's memory; JOB and LEFT, which all write, have cache lines of their own.
const JOB = 0; // generation << 16 | end << 8 | first: the parts that nobody has begun
const LEFT = 16; // parts that are not done
const BODY = 32; // of the loop: its place in the table of functions
const DATA = 33;
const GROUP = 34; // TVMParallelGroupEnv: a handle of barriers, which our kernels do not have, then the number of parts
const STATE = 48;
const ASLEEP = 49; // workers that sleep, or are about to
const WAITED = 50; // the caller sleeps, or is about to
const FAILED = 51;
const TOP = 52; // of the heap
const SAID = 53; // bytes of what a part says is wrong
const TEXT = 64;
const MOST_TEXT = 1024;
const WORDS = TEXT + MOST_TEXT / 4;

const IDLE = 0;
const RUNNING = 1;
const ENDED = 2;

const PARTS = 4; // of a loop, a thread: what is left when another thread is late is at most one
const SPIN_MS = 0.1; // of a worker, for the next loop
const LAST_MS = 0.05; // of the caller, for the last part: where that takes longer, its thread may want the caller's core
const STACK_BYTES = 1 << 20; // as that of the first thread: STACK_BYTES of oarlock/targets/web/module.py
const START_MS = 30_000;
const SLACK_PAGES = [4096, 1024]; // for work space, beside what the plan needs: 256 MiB, or 64 where so much cannot be had

export const CONTROL_BYTES = 4 * WORDS;
export const MOST_THREADS = 32;

type Body = (part: number, group: number, data: number) => number;

/** What a worker needs to take part. */
export interface Join {
  what: "join";
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  control: number;
  stack: number;
}

/** Who runs a module's loops: so many threads, whose workers run `script`. */
export interface Team {
  threads: number;
  script: string | URL;
}

/** A thread pool cannot be had; `message` says why. */
export class NoThreads extends Error {}

const pause = (Atomics as unknown as { pause?: () => void }).pause ?? ((): void => {});

/** Whether `done` came true within the time that is spent on looking. */
function spin(done: () => boolean, ms: number): boolean {
  const until = performance.now() + ms;
  do {
    for (let i = 0; i < 64; i++) {
      if (done()) return true;
      pause();
    }
  } while (performance.now() < until);
  return false;
}

/** The heap of a memory that several threads take from. */
export class SharedHeap extends Heap {
  private readonly words: Int32Array;

  constructor(memory: WebAssembly.Memory, control: number) {
    super(memory, control + CONTROL_BYTES);
    if (control + CONTROL_BYTES > this.size) memory.grow(1);
    this.words = new Int32Array(memory.buffer, control, WORDS);
    Atomics.compareExchange(this.words, TOP, 0, control + CONTROL_BYTES);
  }

  protected override get top(): number {
    return Atomics.load(this.words, TOP) >>> 0;
  }

  protected override move(from: number, to: number): boolean {
    return Atomics.compareExchange(this.words, TOP, from | 0, to | 0) === (from | 0);
  }

  protected override get todo(): string {
    return "load the model with { threads: 1 }: memory that is not shared may grow more";
  }

  protected override get size(): number {
    return this.memory.grow(0) * 65536; // the length of its buffer may be that before another thread let it grow
  }
}

/** One thread's part in a pool. */
class Member {
  private readonly bodies = new Map<number, Body>();
  private said = "";

  constructor(
    protected readonly words: Int32Array,
    private readonly table: WebAssembly.Table,
    private readonly group: number,
  ) {}

  tell(what: string): void {
    this.said = what;
  }

  /** Does parts until none is left that nobody has begun; how many. */
  protected take(first: boolean): number {
    let done = 0;
    for (let part = this.claim(first); part >= 0; part = this.claim(first)) {
      this.perform(part);
      done++;
    }
    // at once: each time, the word comes from another thread's cache
    if (done && Atomics.sub(this.words, LEFT, done) === done && Atomics.load(this.words, WAITED)) Atomics.notify(this.words, LEFT);
    return done;
  }

  /** A part that nobody has begun, −1 where there is none. */
  private claim(first: boolean): number {
    for (;;) {
      const job = Atomics.load(this.words, JOB);
      const [from, end] = [job & 255, (job >>> 8) & 255];
      if (from >= end) return -1;
      if (Atomics.compareExchange(this.words, JOB, job, first ? job + 1 : job - 256) === job) return first ? from : end - 1;
    }
  }

  /** Does a claimed part; what is wrong with it is left to the caller. */
  private perform(part: number): void {
    const { words } = this;
    this.said = "";
    try {
      if (this.body(words[BODY]!)(part, this.group, words[DATA]!) !== 0) this.fail(this.said || "it did not say why");
    } catch (error) {
      this.fail(error instanceof OarlockError ? error.message : String(error));
      this.unwind();
    }
  }

  /** After a trap. */
  protected unwind(): void {}

  private body(number: number): Body {
    let found = this.bodies.get(number);
    if (!found) this.bodies.set(number, (found = this.table.get(number) as Body));
    return found;
  }

  private fail(what: string): void {
    if (Atomics.compareExchange(this.words, FAILED, 0, 1) !== 0) return; // the first that fails says why
    const bytes = new TextEncoder().encode(what).subarray(0, MOST_TEXT);
    new Uint8Array(this.words.buffer, this.words.byteOffset + 4 * TEXT, MOST_TEXT).set(bytes);
    this.words[SAID] = bytes.byteLength;
  }
}

/** A worker's thread, until the pool ends. */
class Helper extends Member {
  constructor(
    words: Int32Array,
    instance: WebAssembly.Instance,
    private readonly stack: number,
  ) {
    super(words, tableOf(instance), words.byteOffset + 4 * GROUP);
    this.pointer = instance.exports["__stack_pointer"] as WebAssembly.Global;
    this.unwind();
  }

  private readonly pointer: WebAssembly.Global;

  work(): void {
    const { words } = this;
    for (;;) {
      const job = Atomics.load(words, JOB);
      if (this.take(false)) continue;
      const state = Atomics.load(words, STATE);
      if (state === ENDED) return;
      const news = (): boolean => Atomics.load(words, JOB) !== job || Atomics.load(words, STATE) !== RUNNING;
      if (state === RUNNING && spin(news, SPIN_MS)) continue;
      Atomics.add(words, ASLEEP, 1);
      Atomics.wait(words, JOB, job); // a loop that begins meanwhile is another value, or sees ASLEEP
      Atomics.sub(words, ASLEEP, 1);
    }
  }

  protected override unwind(): void {
    this.pointer.value = this.stack;
  }
}

/** Takes part: it comes back when the pool ends. */
async function help(join: Join, ready: () => void): Promise<void> {
  const { memory, control } = join;
  const words = new Int32Array(memory.buffer, control, WORDS);
  let helper: Helper | undefined;
  const heap = new SharedHeap(memory, control);
  const env = environment(memory, () => heap, (what) => helper!.tell(what));
  env["TVMBackendParallelLaunch"] = () => (helper!.tell("a parallel loop within a parallel loop"), -1);
  helper = new Helper(words, await WebAssembly.instantiate(join.module, { env }), join.stack);
  ready();
  helper.work();
}

/** What a worker does that was told to join, and what it says of it. */
export async function join(message: Join, port: { postMessage(message: unknown): void; close(): void }): Promise<void> {
  try {
    await help(message, () => port.postMessage({}));
  } catch (error) {
    port.postMessage({ error: String(error) });
  }
  port.close();
}

/** The thread that runs the plan, and its workers. */
export class Pool extends Member {
  private generation = 0;
  private readonly maySleep = maySleep();

  private constructor(
    words: Int32Array,
    instance: WebAssembly.Instance,
    private readonly workers: Helping[],
    private readonly failed: (what: string) => void,
  ) {
    super(words, tableOf(instance), words.byteOffset + 4 * GROUP);
  }

  /** `threads` − 1 workers of `script`; `failed` is told what a part of a loop says is wrong.  Raises NoThreads. */
  static async start(
    { threads, script }: Team, module: WebAssembly.Module, instance: WebAssembly.Instance, heap: Heap, control: number,
    failed: (what: string) => void,
  ): Promise<Pool> {
    const { memory } = heap;
    const words = new Int32Array(memory.buffer, control, WORDS);
    const workers: Helping[] = [];
    try {
      for (let i = 1; i < threads; i++) {
        const stack = heap.take(STACK_BYTES) + STACK_BYTES;
        workers.push(await helping(script, { what: "join", module, memory, control, stack }));
      }
      await Promise.all(workers.map((worker) => worker.ready));
    } catch (error) {
      for (const worker of workers) worker.end();
      throw new NoThreads(`a worker did not start: ${error instanceof Error ? error.message : String(error)}`);
    }
    return new Pool(words, instance, workers, failed);
  }

  get threads(): number {
    return this.workers.length + 1;
  }

  /** A run goes on until `rest`: workers look for loops. */
  wake(): void {
    if (!this.workers.length) return;
    Atomics.store(this.words, STATE, RUNNING);
    if (Atomics.load(this.words, ASLEEP)) Atomics.notify(this.words, JOB);
  }

  rest(): void {
    Atomics.store(this.words, STATE, IDLE);
  }

  /** TVMBackendParallelLaunch: 0, or −1 where a part failed. */
  launch(body: number, data: number): number {
    const { words } = this;
    const parts = this.workers.length ? PARTS * this.threads : 1;
    words[BODY] = body;
    words[DATA] = data;
    words[GROUP + 1] = parts;
    Atomics.store(words, LEFT, parts);
    Atomics.store(words, JOB, (++this.generation << 16) | (parts << 8));
    if (Atomics.load(words, ASLEEP)) Atomics.notify(words, JOB);
    this.take(true);
    this.finish();
    if (!words[FAILED]) return 0;
    words[FAILED] = 0;
    this.failed(new TextDecoder().decode(new Uint8Array(words.buffer, words.byteOffset + 4 * TEXT, words[SAID]).slice()));
    return -1;
  }

  end(): void {
    Atomics.store(this.words, STATE, ENDED);
    Atomics.store(this.words, JOB, ++this.generation << 16); // who is about to sleep does not
    Atomics.notify(this.words, JOB);
    for (const worker of this.workers.splice(0)) worker.end();
  }

  private finish(): void {
    const { words } = this;
    const done = (): boolean => Atomics.load(words, LEFT) === 0;
    while (!spin(done, LAST_MS)) {
      if (!this.maySleep) continue;
      Atomics.store(words, WAITED, 1);
      for (let left = Atomics.load(words, LEFT); left > 0; left = Atomics.load(words, LEFT)) Atomics.wait(words, LEFT, left);
      Atomics.store(words, WAITED, 0);
    }
  }
}

/**
 * Memory to share, of `initial` pages, `bytes` for a model and some for work space; all that it may ever be is reserved at once.
 * Raises NoThreads.
 */
export function sharedMemory(initial: number, bytes: number, threads: number): WebAssembly.Memory {
  const pages = initial + Math.ceil((bytes + CONTROL_BYTES + (threads - 1) * STACK_BYTES) / 65536);
  for (const slack of SLACK_PAGES) {
    try {
      return new WebAssembly.Memory({ initial, maximum: Math.min(65536, pages + slack), shared: true });
    } catch {
      continue; // a phone may have less
    }
  }
  const least = (Math.min(65536, pages + SLACK_PAGES.at(-1)!) / 16).toFixed(0);
  throw new NoThreads(`this engine cannot reserve ${least} MB of shared memory`);
}

/** How many threads this machine can run. */
export async function cores(): Promise<number> {
  if (!inNode) return navigator.hardwareConcurrency || 1;
  const os = await import("node:os");
  return os.availableParallelism?.() ?? os.cpus().length;
}

const inNode = typeof process !== "undefined" && Boolean(process.versions?.node);

const tableOf = (instance: WebAssembly.Instance): WebAssembly.Table => instance.exports["__indirect_function_table"] as WebAssembly.Table;

function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1); // another value: returns at once, where it may be called
    return true;
  } catch {
    return false;
  }
}

interface Helping {
  ready: Promise<void>;
  end: () => void;
}

/** A worker that was told to join. */
async function helping(script: string | URL, join: Join): Promise<Helping> {
  let done = (): void => {};
  let fail = (_: Error): void => {};
  const started = new Promise<void>((resolve, reject) => ([done, fail] = [resolve, reject]));
  let late: ReturnType<typeof setTimeout> | undefined;
  const ready = started.finally(() => clearTimeout(late));
  ready.catch(() => {}); // who waits for all of them hears it
  const watch = (): void => void (late = setTimeout(() => fail(new Error(`no answer within ${START_MS / 1000} s`)), START_MS));
  const answered = (reply: { error?: string }): void => (reply.error === undefined ? done() : fail(new Error(reply.error)));
  if (!inNode) {
    const worker = new Worker(script, { type: "module" });
    worker.onmessage = (event: MessageEvent) => answered(event.data);
    worker.onerror = (event) => fail(new Error(event.message || "its script did not load"));
    watch();
    worker.postMessage(join);
    return { ready, end: () => worker.terminate() };
  }
  const { Worker: Thread } = await import("node:worker_threads");
  const { fileURLToPath } = await import("node:url");
  const thread = new Thread(/^file:/.test(String(script)) ? fileURLToPath(script) : String(script));
  thread.on("message", answered);
  thread.on("error", fail);
  thread.on("exit", (code) => fail(new Error(`it ended with ${code}`)));
  watch();
  thread.postMessage(join);
  ready.then(() => thread.unref(), () => {}); // a program that is done does not wait for it
  return { ready, end: () => void thread.terminate() };
}

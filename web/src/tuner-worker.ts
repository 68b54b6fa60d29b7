/** Runs what is tried, in a worker: it may hang or crash. */

import { Alone, least, ratio, type Argument } from "./alone.js";
import { Engine, planOf } from "./engine.js";
import { joined } from "./loader.js";
import { Measure } from "./measure.js";
import { join, type Join, type Team } from "./threads.js";
import type { Ask, Build, FromWorker, Job } from "./tuning.js";
import { Machine } from "./vm.js";

interface Loaded {
  key: string;
  engine: Engine | Machine;
  measure: Measure;
}

let loaded: Loaded | undefined;
let base: { key: string; kernel: Alone } | undefined;

const say = (answer: FromWorker, move: Transferable[] = []): void => (globalThis as unknown as Worker).postMessage(answer, move);

async function file(name: string): Promise<Uint8Array> {
  const response = await fetch(`file/${name}`);
  if (!response.ok) throw new Error(`the server answered ${response.status} for ${name}`);
  return new Uint8Array(await response.arrayBuffer());
}

const moduleOf = async (name: string): Promise<WebAssembly.Module> => WebAssembly.compile((await file(name)) as Uint8Array<ArrayBuffer>);

/** Of its loops: this script is that of its workers, too. */
const team = (threads: number | undefined): Team | undefined => (threads ? { threads, script: location.href } : undefined);

/** A build, ready and warm.  `before` hears of each kernel ahead of its first call: if it never ends, it is known which it was. */
async function load(build: Build, before: (kernel: number) => void): Promise<Loaded> {
  const key = JSON.stringify(build);
  if (loaded?.key === key) return loaded;
  loaded?.engine.close();
  loaded = undefined; // its memory goes first
  const parts: Uint8Array[] = [];
  for (const name of build.weights) parts.push(await file(name));
  const module = await moduleOf(build.module);
  const plan = planOf(module);
  const { inputs, outputs, threads } = build;
  const engine =
    "functions" in plan
      ? await Machine.create(module, plan, joined(parts), inputs, outputs, team(threads))
      : await Engine.create(module, plan, joined(parts), inputs, outputs, team(threads));
  for (const [i, input] of inputs.entries()) {
    const bytes = await file(input.file);
    const place = engine.input(i, input.shape as number[]);
    new Uint8Array(place.buffer, place.byteOffset, place.byteLength).set(bytes);
  }
  if (engine instanceof Engine) {
    for (let i = 0; i < engine.length; i++) {
      before(engine.plan.steps[i]![0]);
      engine.call(i);
    }
  } else firstRun(engine, before);
  const measure = new Measure(engine);
  measure.warm();
  return (loaded = { key, engine, measure });
}

/** A program's: where what never ends is no kernel's first call, nobody is blamed. */
function firstRun(machine: Machine, before: (kernel: number) => void): void {
  const known = new Set<number>();
  machine.run((kernel, call) => {
    if (known.has(kernel)) return call();
    known.add(kernel);
    before(kernel);
    const status = call();
    if (status === 0) before(-1);
    return status;
  });
}

async function kernel(name: string, ask: { args: Argument[]; threads?: number }): Promise<Alone> {
  return Alone.create(await moduleOf(name), ask.args, team(ask.threads));
}

async function answer({ id, ask }: Job): Promise<void> {
  if (ask.what === "base" || ask.what === "alone") return say({ id, result: await alone(ask, () => say({ id, at: 0 })) });
  const before = (number: number): void => say({ id, at: number });
  const { engine, measure } = await load(ask.build, before);
  if (ask.what === "outputs") {
    engine.run();
    const arrays = ask.build.outputs.map((_, i) => engine.output(i).slice().buffer as ArrayBuffer);
    say({ id, result: ask.build.outputs.map((_, i) => engine.shape(i)), arrays }, arrays);
  } else if (ask.what === "run") {
    say({ id, result: measure.run(ask.runs) });
  } else {
    say({ id, result: measure.kernels(ask.budget, before) });
  }
}

/** The milliseconds of a kernel, or its time over the base's; it must give the same numbers. */
async function alone(ask: Extract<Ask, { base: string }>, before: () => void): Promise<number> {
  if (base?.key !== ask.base) {
    base?.kernel.close();
    base = { key: ask.base, kernel: await kernel(ask.base, ask) };
  }
  if (ask.what === "base") return least(base.kernel, ask.turns);
  const tried = await kernel(ask.kernel, ask);
  try {
    before();
    const wrong = tried.differs(base.kernel);
    if (wrong) throw new Error(`wrong numbers: ${wrong}`);
    return ratio(tried, base.kernel, ask.turns);
  } finally {
    tried.close();
  }
}

addEventListener("message", (event: MessageEvent<Job | Join>) => {
  const { data } = event;
  if ("what" in data) return void join(data, globalThis as unknown as Worker & { close(): void });
  answer(data).catch((error: unknown) => say({ id: data.id, failed: error instanceof Error ? error.message : String(error) }));
});

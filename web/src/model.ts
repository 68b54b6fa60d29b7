/** A model: what it takes and gives, and runs of it. */

import { Engine, type KernelTime, planOf } from "./engine.js";
import { OarlockError } from "./errors.js";
import { explain, type Features, features, featuresFor, fits, reasons, withoutThreads } from "./features.js";
import { GpuModel } from "./gpu-model.js";
import { type Input, put, shapesOf } from "./inputs.js";
import { forget, joined, locate, manifestAt, parts, type Progress } from "./loader.js";
import { type Key, opened } from "./protect.js";
import { cores, MOST_THREADS, NoThreads } from "./threads.js";
import type { Manifest, Tensor, TensorInfo, Variant } from "./types.js";
import { Machine } from "./vm.js";
import type { Compiling } from "./webgpu.js";

export type { Input } from "./inputs.js";

export interface LoadOptions {
  /** Called as files arrive. */
  progress?: Progress;
  /** Called while a GPU's shaders are compiled. */
  compiling?: Compiling;
  /** The name of a variant, in place of the best that this engine can run. */
  variant?: string;
  /** On how many threads loops run, where the engine has threads; by default as many as there are cores, at most 4. */
  threads?: number;
  /** The address of oarlock-worker.js, by default beside this file. */
  worker?: string | URL;
  /** Of a model that was built with `--protect`. */
  key?: Key;
}

/** A model that runs in this thread; see GpuModel for those on the GPU. */
export class Model {
  private closed = false;

  private constructor(
    readonly inputs: TensorInfo[],
    readonly outputs: TensorInfo[],
    /** The variant that runs. */
    readonly variant: string,
    /** What is off and why, in sentences; empty where everything is as good as it can be. */
    readonly report: string[],
    /** What runs it, for tools. */
    readonly engine: Engine | Machine,
  ) {}

  static async load(source: string | URL, options: LoadOptions = {}): Promise<Model | GpuModel> {
    const url = await locate(source);
    const manifest = await manifestAt(url);
    const threads = await threadsFor(options.threads);
    // of one thread the variants without threads make more; who names a variant gets it
    const why = options.threads === 1 ? "one thread was asked for" : "this machine has one core";
    const others = manifest.variants.some(({ needs }) => !needs.includes("threads") && !needs.includes("webgpu"));
    const alone = threads === 1 && options.variant === undefined && others ? why : "";
    try {
      return await Model.make(url, manifest, options, threads, alone);
    } catch (error) {
      if (!(error instanceof NoThreads)) throw error;
      const { message } = error;
      if (options.variant !== undefined) throw new OarlockError(`there are no threads: ${message}`, url.href, "name another variant, or none");
      return Model.make(url, manifest, options, 1, message);
    }
  }

  /** `threadless`: why no variant with threads shall be taken, nothing where one may. */
  private static async make(
    url: URL,
    manifest: Manifest,
    options: LoadOptions,
    threads: number,
    threadless: string,
  ): Promise<Model | GpuModel> {
    const known = await featuresFor(manifest.variants, options.variant);
    const have = threadless ? { ...known, threads: false } : known;
    const variant = choose(manifest, have, options.variant, url.href);
    const report = explain(manifest.variants, variant, have, features().threads && threadless ? threadless : withoutThreads(have));
    const offered = manifest.variants.some((other) => other.needs.includes("threads"));
    if ((options.threads ?? 1) > 1 && !offered) report.push("threads off: the model was built without them");
    const files = await parts(url, [variant.module, ...variant.weights], options.progress ?? (() => {}), report);
    void forget(url, manifest).catch(() => {});
    const [code, ...weights] = await opened(manifest, variant, files, options.key, url.href);
    if (variant.needs.includes("webgpu")) return GpuModel.create(manifest, variant, code!, joined(weights), report, options.compiling);
    const module = await WebAssembly.compile(code as Uint8Array<ArrayBuffer>);
    const script = options.worker ?? new URL("./oarlock-worker.js", import.meta.url);
    const team = variant.needs.includes("threads") ? { threads, script } : undefined;
    const plan = planOf(module);
    const { inputs, outputs } = manifest;
    const engine =
      "functions" in plan
        ? await Machine.create(module, plan, joined(weights), inputs, outputs, team)
        : await Engine.create(module, plan, joined(weights), inputs, outputs, team);
    return new Model(manifest.inputs, manifest.outputs, variant.name, report, engine);
  }

  /** On how many threads its loops run. */
  get threads(): number {
    return this.engine.threads;
  }

  /** Ends its threads; it cannot run any more. */
  close(): void {
    this.closed = true;
    this.engine.close();
  }

  /** The outputs, by name; they are copies. */
  run(inputs: Record<string, Input>): Record<string, Tensor> {
    this.fill(inputs);
    this.engine.run();
    return Object.fromEntries(
      this.outputs.map((info, i) => [info.name, { dtype: info.dtype, shape: [...this.engine.shape(i)], data: this.engine.output(i).slice() }]),
    );
  }

  /** Each kernel's least time in milliseconds over some runs, the slowest first. */
  profile(inputs: Record<string, Input>, runs = 10): KernelTime[] {
    this.fill(inputs);
    this.engine.run();
    return this.engine.profile(runs);
  }

  /** Bytes of WebAssembly's memory that the model has: it never shrinks. */
  get memoryBytes(): number {
    return this.engine.memoryBytes;
  }

  private fill(inputs: Record<string, Input>): void {
    if (this.closed) throw new OarlockError("the model was closed");
    const shapes = shapesOf(this.inputs, inputs);
    this.inputs.forEach((info, i) => put(this.engine.input(i, shapes[i]!), info, inputs[info.name]!));
  }
}

/** By default a few: phones have small cores too, and each worker costs memory. */
async function threadsFor(wanted: number | undefined): Promise<number> {
  if (wanted === undefined) return Math.min(4, await cores());
  if (Number.isInteger(wanted) && wanted >= 1 && wanted <= MOST_THREADS) return wanted;
  throw new OarlockError(`threads must be a whole number from 1 to ${MOST_THREADS}, not ${wanted}`, "", "leave it out for as many as fit");
}

function choose(manifest: Manifest, have: Features, wanted: string | undefined, where: string): Variant {
  if (wanted !== undefined) {
    const named = manifest.variants.find((variant) => variant.name === wanted);
    if (!named) throw new OarlockError(`there is no variant ${wanted}`, where, `it has: ${manifest.variants.map((v) => v.name).join(", ")}`);
    if (!fits(named, have)) {
      const why = reasons(named, have).join("; ");
      throw new OarlockError(`this engine cannot run the variant ${wanted}: ${why}`, where, `it needs: ${named.needs.join(", ")}`);
    }
    return named;
  }
  const best = manifest.variants.find((variant) => fits(variant, have));
  if (!best) {
    const why = manifest.variants.map((v) => `${v.name}: ${reasons(v, have).join(", ")}`).join("; ");
    throw new OarlockError(`this engine can run no variant of the model (${why})`, where, "build one more: oarlock web build --variant plain");
  }
  return best;
}

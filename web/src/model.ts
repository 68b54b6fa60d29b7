/** A model: what it takes and gives, and runs of it. */

import { Engine, type KernelTime, planOf } from "./engine.js";
import { OarlockError } from "./errors.js";
import { explain, type Features, features, fits } from "./features.js";
import { type Input, put, shapesOf } from "./inputs.js";
import { joined, locate, manifestAt, parts, type Progress } from "./loader.js";
import type { Manifest, Tensor, TensorInfo, Variant } from "./types.js";
import { Machine } from "./vm.js";

export type { Input } from "./inputs.js";

export interface LoadOptions {
  /** Called as files arrive. */
  progress?: Progress;
  /** The name of a variant, in place of the best that this engine can run. */
  variant?: string;
}

export class Model {
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

  static async load(source: string | URL, options: LoadOptions = {}): Promise<Model> {
    const url = await locate(source);
    const manifest = await manifestAt(url);
    const have = features();
    const variant = choose(manifest, have, options.variant, url.href);
    const report = explain(manifest.variants, variant, have);
    const [code, ...weights] = await parts(url, [variant.module, ...variant.weights], options.progress ?? (() => {}), report);
    const module = await WebAssembly.compile(code as Uint8Array<ArrayBuffer>);
    const plan = planOf(module);
    const { inputs, outputs } = manifest;
    const engine =
      "functions" in plan
        ? await Machine.create(module, plan, joined(weights), inputs, outputs)
        : await Engine.create(module, plan, joined(weights), inputs, outputs);
    return new Model(manifest.inputs, manifest.outputs, variant.name, report, engine);
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
    const shapes = shapesOf(this.inputs, inputs);
    this.inputs.forEach((info, i) => put(this.engine.input(i, shapes[i]!), info, inputs[info.name]!));
  }
}

function choose(manifest: Manifest, have: Features, wanted: string | undefined, where: string): Variant {
  if (wanted !== undefined) {
    const named = manifest.variants.find((variant) => variant.name === wanted);
    if (!named) throw new OarlockError(`there is no variant ${wanted}`, where, `it has: ${manifest.variants.map((v) => v.name).join(", ")}`);
    if (!fits(named, have)) throw new OarlockError(`this engine cannot run the variant ${wanted}`, where, `it needs: ${named.needs.join(", ")}`);
    return named;
  }
  const best = manifest.variants.find((variant) => fits(variant, have));
  if (!best) {
    const needs = manifest.variants.map((v) => `${v.name}: ${v.needs.join(", ")}`).join("; ");
    throw new OarlockError("this engine can run no variant of the model", where, `build one more (oarlock web build --variant plain); they need ${needs}`);
  }
  return best;
}

/** Runs a plan: kernels called one by one on memory that they share. */

import { OarlockError } from "./errors.js";
import { environment, Heap } from "./imports.js";
import type { Program } from "./program.js";
import { Pool, SharedHeap, sharedMemory, type Team } from "./threads.js";
import type { Dtype, Plan, TensorInfo, TypedArray } from "./types.js";

interface ArrayKind {
  new (length: number): TypedArray;
  new (buffer: ArrayBufferLike, offset: number, length: number): TypedArray;
  BYTES_PER_ELEMENT: number;
}

export const ARRAYS: Record<Dtype, ArrayKind> = {
  float32: Float32Array, float64: Float64Array, int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, bool: Uint8Array,
};

const PLAN = "oarlock.plan";
export const INITIAL_PAGES = 64; // INITIAL_BYTES of oarlock/targets/web/module.py
export const MOST_PAGES = 65536;

/** Elements of a shape. */
export const count = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);

/** Bytes of a tensor; in a plan all sizes are known. */
export const size = (info: TensorInfo): number => count(info.shape as number[]) * ARRAYS[info.dtype].BYTES_PER_ELEMENT;

/** The time that one kernel took in a run. */
export interface KernelTime {
  name: string;
  calls: number;
  ms: number;
  workload?: string;
}

type Call = (...pointers: number[]) => number;

/** How a step's kernel is called; gives what it returns. */
type Way = (step: number, call: Call, pointers: number[]) => number;
const direct: Way = (_, call, pointers) => call(...pointers);

/** What a module's kernels are called by: a plan of fixed places, or a program where sizes are dynamic. */
export function planOf(module: WebAssembly.Module): Plan | Program {
  const [section] = WebAssembly.Module.customSections(module, PLAN);
  if (!section) throw new OarlockError("the module has no plan", "", "build it again with `oarlock web build`");
  const plan = JSON.parse(new TextDecoder().decode(section)) as Plan | Program;
  if (plan.version === 1 || (plan.version === 2 && "kind" in plan && plan.kind === "program")) return plan;
  throw new OarlockError(`the module has a plan of version ${plan.version}`, "", "use the runtime that came with it");
}

/** What a kernel threw, as an error that says where; its stack and its work space are as they were before. */
export type Trapped = (error: unknown, where: string) => OarlockError;

/**
 * An instance of a module on new memory; `failures` is told what a kernel says is wrong.
 *
 * `team`: of a module whose loops run on several threads, which needs `bytes` of memory beside work space.
 */
export async function start(
  module: WebAssembly.Module, failures: { tell: (what: string) => void }, bytes: number, team?: Team,
): Promise<{ memory: WebAssembly.Memory; heap: Heap; instance: WebAssembly.Instance; trapped: Trapped; pool?: Pool }> {
  const memory = team
    ? sharedMemory(INITIAL_PAGES, bytes, team.threads)
    : new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: MOST_PAGES });
  let heap: Heap | undefined;
  let pool: Pool | undefined;
  const env = environment(memory, () => heap!, (what) => (failures.tell(what), pool?.tell(what)));
  env["TVMBackendParallelLaunch"] = (body: number, data: number) => pool!.launch(body, data);
  const instance = await WebAssembly.instantiate(module, { env });
  const base = Number((instance.exports["__heap_base"] as WebAssembly.Global).value);
  const stack = instance.exports["__stack_pointer"] as WebAssembly.Global | undefined;
  const top: unknown = stack?.value;
  const trapped: Trapped = (error, where) => {
    if (stack) stack.value = top;
    heap!.reclaim();
    return error instanceof OarlockError ? error : new OarlockError(`a kernel failed: ${(error as Error)?.message ?? error}`, where);
  };
  if (!team) return { memory, heap: (heap = new Heap(memory, base)), instance, trapped };
  const control = Math.ceil(base / 64) * 64;
  heap = new SharedHeap(memory, control);
  pool = await Pool.start(team, module, instance, heap, control, (what) => failures.tell(what));
  return { memory, heap, instance, trapped, pool };
}

/** A module with a plan, ready to run. */
export class Engine {
  private failure = "";
  private readonly calls: [Call, number[]][];

  private constructor(
    readonly plan: Plan,
    private readonly memory: WebAssembly.Memory,
    private readonly regions: number[],
    private readonly sizes: number[],
    private readonly inputs: TensorInfo[],
    private readonly outputs: TensorInfo[],
    instance: WebAssembly.Instance,
    private readonly trapped: Trapped,
    private readonly pool: Pool | undefined,
    failures: { tell: (what: string) => void },
  ) {
    failures.tell = (what) => (this.failure = what);
    this.calls = plan.steps.map(([kernel, places]) => {
      const pointers: number[] = [];
      for (let i = 0; i < places.length; i += 2) pointers.push(regions[places[i]!]! + places[i + 1]!);
      return [instance.exports[plan.kernels[kernel]!.export] as Call, pointers];
    });
  }

  /** `weights`: the bytes that the plan's region of weights holds; `team`: of a module whose loops run on several threads. */
  static async create(
    module: WebAssembly.Module, plan: Plan, weights: Uint8Array, inputs: TensorInfo[], outputs: TensorInfo[], team?: Team,
  ): Promise<Engine> {
    if (weights.byteLength !== plan.weights) throw new OarlockError(`there are ${weights.byteLength} bytes of weights, not ${plan.weights}`);
    const sizes = [plan.weights, plan.arena, ...inputs.map(size), ...outputs.map(size)];
    const failures = { tell: (_what: string): void => {} };
    const { memory, heap, instance, trapped, pool } = await start(module, failures, sizes.reduce((sum, bytes) => sum + bytes + 64, 0), team);
    try {
      const regions = sizes.map((bytes) => heap.take(bytes));
      new Uint8Array(memory.buffer, regions[0], plan.weights).set(weights);
      return new Engine(plan, memory, regions, sizes, inputs, outputs, instance, trapped, pool, failures);
    } catch (error) {
      pool?.end();
      throw error;
    }
  }

  /** The memory of an input, to be filled before a run; it is another array whenever memory has grown. */
  input(number: number): TypedArray {
    return this.view(this.inputs[number]!, 2 + number);
  }

  /** The memory of an output, until the next run. */
  output(number: number): TypedArray {
    return this.view(this.outputs[number]!, 2 + this.inputs.length + number);
  }

  /** Bytes of memory. */
  get memoryBytes(): number {
    return this.memory.buffer.byteLength;
  }

  /** The shape of an output. */
  shape(number: number): number[] {
    return this.outputs[number]!.shape as number[];
  }

  run(): void {
    this.steps(direct);
  }

  /** How many threads run its loops. */
  get threads(): number {
    return this.pool?.threads ?? 1;
  }

  /** Ends its workers; it cannot run any more. */
  close(): void {
    this.pool?.end();
  }

  /** Steps of a run. */
  get length(): number {
    return this.calls.length;
  }

  /** Each kernel's least time over some runs, the slowest first. */
  profile(runs = 10): KernelTime[] {
    const least = this.calls.map(() => Infinity);
    for (let run = 0; run < runs; run++) {
      this.steps((i, call, pointers) => {
        const start = performance.now();
        const status = call(...pointers);
        least[i] = Math.min(least[i]!, performance.now() - start);
        return status;
      });
    }
    const times = this.plan.kernels.map((kernel): KernelTime => ({ name: kernel.name, calls: 0, ms: 0, workload: kernel.workload }));
    this.plan.steps.forEach(([kernel], i) => {
      times[kernel]!.calls += 1;
      times[kernel]!.ms += least[i]!;
    });
    return times.sort((a, b) => b.ms - a.ms);
  }

  /** Makes one call of the plan alone: for tools that time calls, or make some of them elsewhere. */
  call(step: number): void {
    this.pool?.wake(); // for the next call too, should it come soon
    this.make(step, direct);
  }

  /** The memory at a place of the plan (types.ts: Step), by default a whole region; it is another array whenever memory has grown. */
  at(region: number, offset = 0, bytes = this.sizes[region]! - offset): Uint8Array {
    return new Uint8Array(this.memory.buffer, this.regions[region]! + offset, bytes);
  }

  private view(info: TensorInfo, region: number): TypedArray {
    return new ARRAYS[info.dtype](this.memory.buffer, this.regions[region]!, count(info.shape as number[]));
  }

  /** Does the plan's calls, its threads awake. */
  private steps(how: Way): void {
    this.pool?.wake();
    try {
      for (let i = 0; i < this.calls.length; i++) this.make(i, how);
    } finally {
      this.pool?.rest();
    }
  }

  private make(step: number, how: Way): void {
    let status: number;
    try {
      status = how(step, ...this.calls[step]!);
    } catch (error) {
      throw this.trapped(error, this.place(step));
    }
    if (status === 0) return;
    const why = this.failure || "it did not say why";
    this.failure = "";
    throw new OarlockError(`a kernel failed: ${why}`, this.place(step));
  }

  private place(step: number): string {
    return `${this.plan.kernels[this.plan.steps[step]![0]]!.name}, step ${step} of ${this.calls.length}`;
  }
}

/** Runs a plan on the GPU: one dispatch after another, recorded once a run. */

import { count, type KernelTime } from "./engine.js";
import { OarlockError } from "./errors.js";
import { gpuDevice } from "./gpu-device.js";
import type { GpuBindGroup, GpuBuffer, GpuDevice, GpuLayout, GpuPass, GpuPipeline } from "./gpu-types.js";
import { COMPUTE, READ, USE } from "./gpu-types.js";
import { allocate, fromWords, toWords } from "./gpu-words.js";
import type { GpuPlan, TensorInfo, TypedArray } from "./types.js";

/** Where a tensor lies in the plan's memory, and what it is. */
export interface GpuPlace extends TensorInfo {
  region: number;
  offset: number;
}

/** How steps were timed: by the GPU's own clock, or by this side's, each step submitted and awaited. */
export interface StepTimes {
  clock: "timestamp-query" | "awaited";
  /** Milliseconds of each step in each run. */
  steps: number[][];
  /** Milliseconds of a submission with nothing in it, where steps were awaited; 0 otherwise. */
  idle: number;
}

/** Told while shaders are compiled: so many of all. */
export type Compiling = (done: number, total: number) => void;

interface Dispatch {
  step: number;
  pipeline: GpuPipeline;
  group: GpuBindGroup;
  grid: [number, number, number];
}

const REPORT = "load another variant, and report it with the model";
const MOST_QUERIES = 4096; // of a GPUQuerySet
const aligned = (bytes: number, to: number): number => Math.max(Math.ceil(bytes / to) * to, to);
const elements = (info: TensorInfo): number => count(info.shape as number[]); // of a plan all sizes are known
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

/** A plan, ready to run on the page's GPU. */
export class GpuEngine {
  private dispatches: Dispatch[] = [];
  private readonly held: TypedArray[];
  private readonly results: TypedArray[];
  private readonly takes: GpuPlace[];
  private readonly gives: GpuPlace[];
  private readonly spare: GpuBuffer[] = [];
  private gone = "";

  private constructor(
    readonly plan: GpuPlan,
    private readonly device: GpuDevice,
    private readonly regions: GpuBuffer[],
    private readonly spaces: GpuBuffer[],
    inputs: TensorInfo[],
    outputs: TensorInfo[],
  ) {
    this.held = inputs.map((info) => allocate(info.dtype, elements(info)));
    this.results = outputs.map((info) => allocate(info.dtype, elements(info)));
    this.takes = inputs.map((info, i) => ({ ...info, region: 1 + i, offset: 0 }));
    this.gives = outputs.map((info, i) => ({ ...info, region: 1 + inputs.length + i, offset: 0 }));
    void device.lost.then(({ reason, message }) => {
      this.gone ||= reason === "destroyed" ? "it was given back" : message || "the browser does not say why";
    });
  }

  /** `weights`: the bytes that the plan's region of weights holds. */
  static async create(
    plan: GpuPlan,
    weights: Uint8Array,
    inputs: TensorInfo[],
    outputs: TensorInfo[],
    told: Compiling = () => {},
  ): Promise<GpuEngine> {
    if (plan.version !== 1) {
      throw new OarlockError(`the model has a plan for WebGPU of version ${plan.version}`, "", "use the runtime that came with it");
    }
    if (weights.byteLength !== plan.weights) {
      throw new OarlockError(`there are ${weights.byteLength} bytes of weights, not ${plan.weights}`);
    }
    const device = await gpuDevice();
    const wanted = [plan.weights, ...[...inputs, ...outputs].map((info) => 4 * elements(info)), ...plan.buffers, ...plan.spaces];
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    const usage = USE.storage | USE.copyFrom | USE.copyTo;
    const buffers = wanted.map((bytes) => device.createBuffer({ size: aligned(bytes, 16), usage }));
    const faults = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
    const fault = faults.find((found) => found);
    if (fault) {
      for (const buffer of buffers) buffer.destroy();
      const total = wanted.reduce((a, b) => a + b, 0);
      const what = `the GPU has no memory for the model, ${megabytes(total)}: ${fault.message}`;
      throw new OarlockError(what, "", "close other pages, or load another variant");
    }
    const regions = buffers.slice(0, buffers.length - plan.spaces.length);
    const engine = new GpuEngine(plan, device, regions, buffers.slice(regions.length), inputs, outputs);
    try {
      device.queue.writeBuffer(regions[0]!, 0, weights);
      await engine.prepare(told);
    } catch (error) {
      const fault = engine.gone ? engine.lost() : error;
      engine.close();
      throw fault;
    }
    return engine;
  }

  /** Where an input is put before a run. */
  input(number: number): TypedArray {
    return this.held[number]!;
  }

  /** An output of the last run that ended. */
  output(number: number): TypedArray {
    return this.results[number]!;
  }

  /** Sends the inputs as they are now, and computes; the outputs are of this run, whatever is started before it ends. */
  async run(): Promise<TypedArray[]> {
    const outputs = await this.go(this.dispatches, this.takes, this.held, this.gives);
    outputs.forEach((data, i) => (this.results[i] = data));
    return outputs;
  }

  /**
   * Some steps alone, for tools: puts tensors where the plan has them, does the steps, and gives what then lies in other places.
   * What the steps read beside that is there from an earlier run.
   */
  part(steps: number[], takes: GpuPlace[], gives: GpuPlace[]): (data: TypedArray[]) => Promise<TypedArray[]> {
    const chosen = new Set(steps);
    const dispatches = this.dispatches.filter(({ step }) => chosen.has(step));
    return (data) => this.go(dispatches, takes, data, gives);
  }

  private async go(dispatches: Dispatch[], takes: GpuPlace[], data: TypedArray[], gives: GpuPlace[]): Promise<TypedArray[]> {
    if (this.gone) throw this.lost();
    const { queue } = this.device;
    takes.forEach((place, i) => queue.writeBuffer(this.regions[place.region]!, place.offset, toWords(data[i]!, place)));
    const sizes = gives.map((place) => aligned(4 * elements(place), 16));
    const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));
    const wanted = aligned(sizes.reduce((a, b) => a + b, 0), 16);
    const fits = this.spare.findIndex((buffer) => buffer.size >= wanted);
    const back = fits < 0 ? this.device.createBuffer({ size: wanted, usage: USE.mapRead | USE.copyTo }) : this.spare.splice(fits, 1)[0]!;
    this.device.pushErrorScope("validation");
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    dispatches.forEach((dispatch) => record(pass, dispatch));
    pass.end();
    gives.forEach(({ region, offset }, i) => encoder.copyBufferToBuffer(this.regions[region]!, offset, back, starts[i]!, sizes[i]!));
    queue.submit([encoder.finish()]);
    const fault = this.device.popErrorScope();
    let found: TypedArray[];
    try {
      await back.mapAsync(READ, 0, wanted);
      const range = back.getMappedRange(0, wanted);
      found = gives.map((place, i) => fromWords(new Int32Array(range, starts[i]!, elements(place)), place));
      back.unmap();
    } catch (error) {
      back.destroy();
      // the browser tells that the GPU is gone a moment after what waits for it has failed
      await Promise.race([this.device.lost, new Promise((done) => setTimeout(done, 100))]);
      throw this.gone ? this.lost() : new OarlockError(`the results cannot be read back: ${(error as Error).message}`);
    }
    this.spare.push(back);
    const wrong = await fault;
    if (wrong) throw await this.blame(wrong.message);
    return found;
  }

  /** Each kernel's time over some runs, the slowest first: the mean where the GPU tells, else the least, with the way there and back. */
  async profile(runs = 10): Promise<KernelTime[]> {
    await this.run();
    const times = this.plan.kernels.map(({ name, workload }): KernelTime => ({ name, calls: 0, ms: 0, ...(workload ? { workload } : {}) }));
    this.plan.steps.forEach(({ kernel }) => (times[kernel]!.calls += 1));
    const { clock, steps } = await this.times(runs);
    steps.forEach((ms, i) => {
      const typical = clock === "awaited" ? Math.min(...ms) : ms.reduce((a, b) => a + b, 0) / ms.length;
      times[this.plan.steps[i]!.kernel]!.ms += typical;
    });
    return times.sort((a, b) => b.ms - a.ms);
  }

  /** Each step's time in each of some runs, for tools. */
  async times(runs: number): Promise<StepTimes> {
    const clocked = this.device.features.has("timestamp-query") && 2 * this.dispatches.length <= MOST_QUERIES;
    const measured = clocked ? await this.clocked(runs) : await this.waited(runs);
    const steps = this.plan.steps.map(() => new Array<number>(runs).fill(0));
    this.dispatches.forEach(({ step }, i) => measured[i]!.forEach((ms, run) => (steps[step]![run]! += ms)));
    const idle = clocked ? 0 : Math.min(...(await this.empty(runs)));
    return { clock: clocked ? "timestamp-query" : "awaited", steps, idle };
  }

  /** The number of the first region that holds what kernels make. */
  get regionOfBuffers(): number {
    return 1 + this.takes.length + this.gives.length;
  }

  /** Gives the GPU's memory back. */
  close(): void {
    this.gone ||= "the model was closed";
    for (const buffer of [...this.regions, ...this.spaces, ...this.spare]) buffer.destroy();
  }

  private async prepare(told: Compiling): Promise<void> {
    const { device, plan } = this;
    const layouts = new Map<string, GpuLayout>();
    const layout = (access: string): GpuLayout => {
      const known = layouts.get(access);
      if (known) return known;
      const type = (mode: string) => ({ type: mode === "w" ? ("storage" as const) : ("read-only-storage" as const) });
      const entries = [...access].map((mode, binding) => ({ binding, visibility: COMPUTE, buffer: type(mode) }));
      const made = device.createBindGroupLayout({ entries });
      layouts.set(access, made);
      return made;
    };
    let done = 0;
    told(0, plan.shaders.length);
    const user = (shader: number): string => {
      const kernel = plan.kernels.find(({ launches }) => launches.some(([n]) => n === shader));
      return kernel?.name ?? `shader ${shader}`;
    };
    const pipelines = await Promise.all(
      plan.shaders.map(async ({ code, access }, n) => {
        device.pushErrorScope("validation");
        const module = device.createShaderModule({ code, label: user(n) });
        const made = device.createComputePipelineAsync({
          layout: device.createPipelineLayout({ bindGroupLayouts: [layout(access)] }),
          compute: { module, entryPoint: "main" },
          label: user(n),
        });
        const scope = device.popErrorScope();
        try {
          const pipeline = await made;
          told(++done, plan.shaders.length);
          return pipeline;
        } catch (error) {
          const { messages } = await module.getCompilationInfo();
          const wrong = messages.find((message) => message.type === "error");
          const why = wrong ? `line ${wrong.lineNum}: ${wrong.message}` : (error as Error).message;
          throw new OarlockError(`the browser does not compile a kernel for the GPU: ${why}`, user(n), REPORT);
        } finally {
          await scope;
        }
      }),
    );
    this.dispatches = plan.steps.flatMap(({ kernel, places }, step) =>
      plan.kernels[kernel]!.launches.map(([shader, args, grid]): Dispatch => {
        const entries = args.map((argument, binding) => ({ binding, resource: this.resource(kernel, places, argument) }));
        const group = { layout: layout(plan.shaders[shader]!.access), entries, label: plan.kernels[kernel]!.name };
        return { step, pipeline: pipelines[shader]!, group: device.createBindGroup(group), grid };
      }),
    );
  }

  /** The part of a buffer that is an argument of a step's kernel. */
  private resource(kernel: number, places: number[], argument: number): { buffer: GpuBuffer; offset: number; size: number } {
    const { bytes, spaces } = this.plan.kernels[kernel]!;
    if (argument < 0) return { buffer: this.spaces[-1 - argument]!, offset: 0, size: aligned(spaces![-1 - argument]!, 16) };
    return { buffer: this.regions[places[2 * argument]!]!, offset: places[2 * argument + 1]!, size: aligned(bytes[argument]!, 16) };
  }

  /** Milliseconds of each dispatch by the GPU's own clock, which browsers make coarse, in each run. */
  private async clocked(runs: number): Promise<number[][]> {
    const { device } = this;
    const number = 2 * this.dispatches.length;
    const set = device.createQuerySet({ type: "timestamp", count: Math.max(number, 2) });
    const resolved = device.createBuffer({ size: aligned(8 * number, 256), usage: USE.query | USE.copyFrom });
    const back = device.createBuffer({ size: aligned(8 * number, 256), usage: USE.mapRead | USE.copyTo });
    const times = this.dispatches.map((): number[] => []);
    try {
      for (let run = 0; run < runs; run++) {
        const encoder = device.createCommandEncoder();
        this.dispatches.forEach((dispatch, i) => {
          const timestampWrites = { querySet: set, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
          const pass = encoder.beginComputePass({ timestampWrites });
          record(pass, dispatch);
          pass.end();
        });
        encoder.resolveQuerySet(set, 0, number, resolved, 0);
        encoder.copyBufferToBuffer(resolved, 0, back, 0, 8 * number);
        device.queue.submit([encoder.finish()]);
        await back.mapAsync(READ);
        const ticks = new BigInt64Array(back.getMappedRange());
        times.forEach((of, i) => of.push(Math.max(Number(ticks[2 * i + 1]! - ticks[2 * i]!), 0) / 1e6));
        back.unmap();
      }
    } finally {
      set.destroy();
      resolved.destroy();
      back.destroy();
    }
    return times;
  }

  /** Milliseconds of each dispatch by this side's clock, with the way there and back, in each run. */
  private async waited(runs: number): Promise<number[][]> {
    const times = this.dispatches.map((): number[] => []);
    for (let run = 0; run < runs; run++) {
      for (const [i, dispatch] of this.dispatches.entries()) {
        const start = performance.now();
        this.alone(dispatch);
        await this.device.queue.onSubmittedWorkDone();
        times[i]!.push(performance.now() - start);
      }
    }
    return times;
  }

  /** Milliseconds of submissions that do nothing. */
  private async empty(runs: number): Promise<number[]> {
    const times: number[] = [];
    for (let run = 0; run < runs; run++) {
      const start = performance.now();
      this.alone();
      await this.device.queue.onSubmittedWorkDone();
      times.push(performance.now() - start);
    }
    return times;
  }

  private alone(dispatch?: Dispatch): void {
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    if (dispatch) record(pass, dispatch);
    pass.end();
    this.device.queue.submit([encoder.finish()]);
  }

  /** The error of the first kernel that the browser refuses by itself. */
  private async blame(what: string): Promise<OarlockError> {
    for (const dispatch of this.dispatches) {
      this.device.pushErrorScope("validation");
      this.alone(dispatch);
      const wrong = await this.device.popErrorScope();
      if (wrong) return this.refused(wrong.message, dispatch.step);
    }
    return this.refused(what);
  }

  private refused(what: string, step?: number): OarlockError {
    const { kernels, steps } = this.plan;
    const where = step === undefined ? "" : `${kernels[steps[step]!.kernel]!.name}, step ${step} of ${steps.length}`;
    return new OarlockError(`the browser refuses what the model asks of the GPU: ${what}`, where, REPORT);
  }

  private lost(): OarlockError {
    return new OarlockError(`the GPU is gone: ${this.gone}`, "", "load the model again, or another variant");
  }
}

function record(pass: GpuPass, { pipeline, group, grid }: Dispatch): void {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(...grid);
}

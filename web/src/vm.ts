/** Runs a program: functions of kernel calls, branches and loops, over tensors that come and go. */

import { ARRAYS, count, type KernelTime, start, type Trapped } from "./engine.js";
import { OarlockError } from "./errors.js";
import { Arena, type Block } from "./memory.js";
import { type BodyCode, type Instruction, long, type Program, type ProgramKernel, shaper, sizer } from "./program.js";
import type { Pool, Team } from "./threads.js";
import type { TensorInfo, TypedArray } from "./types.js";

const SHARED_BYTES = 1 << 30; // of memory that several threads share all must be reserved at once; how much a program needs, its inputs say

/** A tensor in memory; constants have no block. */
interface Held {
  at: number;
  shape: number[];
  block?: Block;
}

/** What a register holds: a tensor, or a shape. */
type Value = Held | number[];

/** One call of a function. */
interface Frame {
  values: (Value | undefined)[];
  symbols: number[];
}

/** How a kernel of a program is called; gives what it returns.  Kernels write nothing but their results, so it may call one again. */
export type CallWay = (kernel: number, call: () => number) => number;

type Step = (frame: Frame) => void;
interface Body {
  steps: Step[];
  results: number[];
  dropped: number[];
}
interface Code {
  registers: number;
  parameters: number[];
  body: Body;
}

const dims = (value: Value): number[] => (Array.isArray(value) ? value : value.shape);

/** A module with a program, ready to run. */
export class Machine {
  private failure = "";
  private readonly constants: Held[];
  private readonly code: Code[];
  private readonly arena: Arena;
  private given: (Held | undefined)[];
  private found: Held[] = [];
  private way: CallWay | undefined;

  private constructor(
    readonly program: Program,
    private readonly memory: WebAssembly.Memory,
    heap: { take(bytes: number): number },
    private readonly exports: WebAssembly.Exports,
    base: number,
    private readonly inputs: TensorInfo[],
    private readonly outputs: TensorInfo[],
    private readonly trapped: Trapped,
    private readonly pool: Pool | undefined,
  ) {
    this.arena = new Arena(heap);
    this.constants = program.constants.map(([offset, , ...shape]) => ({ at: base + offset, shape }));
    this.given = inputs.map(() => undefined);
    this.code = program.functions.map(({ registers, parameters, body }) => ({ registers, parameters, body: this.body(body) }));
  }

  /** `weights`: the bytes that the program's constants lie in; `team`: of a module whose loops run on several threads. */
  static async create(
    module: WebAssembly.Module, program: Program, weights: Uint8Array, inputs: TensorInfo[], outputs: TensorInfo[], team?: Team,
  ): Promise<Machine> {
    if (weights.byteLength !== program.weights) {
      throw new OarlockError(`there are ${weights.byteLength} bytes of weights, not ${program.weights}`);
    }
    const failures = { tell: (_what: string): void => {} };
    const { memory, heap, instance, trapped, pool } = await start(module, failures, program.weights + SHARED_BYTES, team);
    try {
      const base = heap.take(program.weights);
      new Uint8Array(memory.buffer, base, program.weights).set(weights);
      const machine = new Machine(program, memory, heap, instance.exports, base, inputs, outputs, trapped, pool);
      failures.tell = (what) => (machine.failure = what);
      return machine;
    } catch (error) {
      pool?.end();
      throw error;
    }
  }

  /** Memory for an input of a shape, to be filled before a run and before another input is asked for. */
  input(number: number, shape: number[]): TypedArray {
    const info = this.inputs[number]!;
    const before = this.given[number];
    if (before) this.release(before);
    const held = this.tensor(ARRAYS[info.dtype].BYTES_PER_ELEMENT, shape);
    this.retain(held);
    this.given[number] = held;
    return new ARRAYS[info.dtype](this.memory.buffer, held.at, count(shape));
  }

  /** The memory of an output, until the next run. */
  output(number: number): TypedArray {
    const held = this.found[number]!;
    return new ARRAYS[this.outputs[number]!.dtype](this.memory.buffer, held.at, count(held.shape));
  }

  /** Bytes of memory. */
  get memoryBytes(): number {
    return this.memory.buffer.byteLength;
  }

  /** The shape of an output, of the last run. */
  shape(number: number): number[] {
    return this.found[number]!.shape;
  }

  run(way?: CallWay): void {
    this.forget();
    this.way = way;
    this.pool?.wake();
    try {
      this.found = this.call(0, this.given as Held[]) as Held[];
    } catch (error) {
      this.arena.reset(); // what was alive when it failed
      this.given = this.inputs.map(() => undefined);
      this.found = [];
      throw error;
    } finally {
      this.pool?.rest();
    }
  }

  /** How many threads run its loops. */
  get threads(): number {
    return this.pool?.threads ?? 1;
  }

  /** Ends its workers; it cannot run any more. */
  close(): void {
    this.pool?.end();
  }

  /** The least time over some runs of what each kernel takes in one run, the slowest first. */
  profile(runs = 10): KernelTime[] {
    const { kernels } = this.program;
    const least = kernels.map(() => Infinity);
    let calls: number[] = [];
    for (let run = 0; run < runs; run++) {
      const ms = kernels.map(() => 0);
      calls = kernels.map(() => 0);
      this.run((kernel, call) => {
        const begin = performance.now();
        const status = call();
        ms[kernel]! += performance.now() - begin;
        calls[kernel]!++;
        return status;
      });
      ms.forEach((time, i) => (least[i] = Math.min(least[i]!, time)));
    }
    const times = kernels.map(({ name, workload }, i): KernelTime => ({ name, calls: calls[i]!, ms: least[i]!, workload }));
    return times.filter((kernel) => kernel.calls > 0).sort((a, b) => b.ms - a.ms);
  }

  /** Bytes of tensors that live: inputs and outputs, between runs. */
  get liveBytes(): number {
    return this.arena.used;
  }

  /** Gives the outputs of the last run back. */
  private forget(): void {
    for (const held of this.found) this.release(held);
    this.found = [];
  }

  // ---- values: who has one in hand has retained it

  private tensor(width: number, shape: number[]): Held {
    const block = this.arena.take(width * count(shape));
    return { at: block.start, shape, block };
  }

  private retain(value: Value): void {
    if (!Array.isArray(value) && value.block) value.block.users++;
  }

  private release(value: Value): void {
    if (!Array.isArray(value) && value.block && --value.block.users === 0) this.arena.give(value.block);
  }

  private value(frame: Frame, operand: number): Value {
    return operand < 0 ? this.constants[-1 - operand]! : frame.values[operand]!;
  }

  private set(frame: Frame, register: number, value: Value): void {
    this.retain(value);
    frame.values[register] = value;
  }

  private drop(frame: Frame, registers: number[]): void {
    for (const register of registers) {
      this.release(frame.values[register]!);
      frame.values[register] = undefined;
    }
  }

  // ---- functions

  /** The results, retained; `dropped` of the caller's registers are let go once the function has its operands. */
  private call(fn: number, operands: Value[], caller?: Frame, dropped: number[] = []): Value[] {
    const { registers, parameters, body } = this.code[fn]!;
    const frame: Frame = { values: new Array<Value | undefined>(registers), symbols: [] };
    parameters.forEach((register, i) => this.set(frame, register, operands[i]!));
    if (caller) this.drop(caller, dropped);
    return this.execute(body, frame);
  }

  private execute({ steps, results, dropped }: Body, frame: Frame): Value[] {
    for (const step of steps) step(frame);
    const values = results.map((operand) => this.value(frame, operand));
    values.forEach((value) => this.retain(value));
    this.drop(frame, dropped);
    return values;
  }

  private body([code, results, dropped]: BodyCode): Body {
    return { steps: code.map((instruction) => this.step(instruction)), results, dropped };
  }

  private step(instruction: Instruction): Step {
    switch (instruction[0]) {
      case "kernel":
        return this.kernel(instruction);
      case "call": {
        const [, fn, operands, results, dropped] = instruction;
        return (frame) => this.fill(frame, results, this.call(fn, operands.map((o) => this.value(frame, o)), frame, dropped));
      }
      case "loop":
        return this.loop(instruction);
      case "if": {
        const [, condition, then, otherwise, results] = instruction;
        const bodies = [this.body(otherwise), this.body(then)];
        return (frame) => this.fill(frame, results, this.execute(bodies[this.truth(this.value(frame, condition))]!, frame));
      }
      case "view": {
        const [, operand, result, sizes] = instruction;
        const shape = shaper(sizes, "a reshape");
        return (frame) => this.view(frame, operand, result, shape(frame.symbols));
      }
      case "reshape": {
        const [, operand, result, shape] = instruction;
        return (frame) => this.view(frame, operand, result, dims(this.value(frame, shape)));
      }
      case "shape": {
        const [, result, sizes] = instruction;
        const sizers = sizes.map(sizer);
        return (frame) => void (frame.values[result] = sizers.map((f) => f(frame.symbols)));
      }
      case "read": {
        const [, operand, result, dtype] = instruction;
        return (frame) => {
          const { at, shape } = this.value(frame, operand) as Held;
          frame.values[result] = Array.from(new ARRAYS[dtype](this.memory.buffer, at, count(shape)) as ArrayLike<number | bigint>, Number);
        };
      }
      case "match":
        return this.match(instruction);
      case "drop": {
        const [, registers] = instruction;
        return (frame) => this.drop(frame, registers);
      }
      default:
        throw new OarlockError(`the program has an unknown instruction ${String(instruction[0])}`, "", "use the runtime that came with it");
    }
  }

  /** Results of a call are retained already. */
  private fill(frame: Frame, registers: number[], values: Value[]): void {
    for (let i = 0; i < registers.length; i++) frame.values[registers[i]!] = values[i];
  }

  private truth(value: Value): 0 | 1 {
    return new Uint8Array(this.memory.buffer, (value as Held).at, 1)[0] ? 1 : 0;
  }

  private view(frame: Frame, operand: number, result: number, shape: number[]): void {
    const { at, shape: before, block } = this.value(frame, operand) as Held;
    // fewer elements than there are is TVM's view of the first ones: Paddle's proposals take more anchors than they read
    if (count(before) < count(shape)) {
      throw new OarlockError(`a tensor of [${before.join(", ")}] cannot become [${shape.join(", ")}]`, "a reshape");
    }
    this.set(frame, result, block ? { at, shape, block } : { at, shape });
  }

  private loop([, fn, state, places, captured, results, dropped]: Extract<Instruction, ["loop", ...unknown[]]>): Step {
    return (frame) => {
      let values = state.map((operand) => this.value(frame, operand));
      const outside = captured.map((operand) => this.value(frame, operand));
      for (const value of [...values, ...outside]) this.retain(value);
      this.drop(frame, dropped);
      while (this.truth(values[0]!)) {
        const operands = places.map((place) => (place < 0 ? outside[-1 - place]! : values[place]!));
        for (const value of operands) this.retain(value); // so that the body's own hold is the last one
        for (const value of values) this.release(value);
        const own: Frame = { values: operands, symbols: [] };
        values = this.call(fn, operands, own, operands.map((_, i) => i));
      }
      for (const value of outside) this.release(value);
      this.fill(frame, results, values);
    };
  }

  private match([, operand, rank, binds, checks]: Extract<Instruction, ["match", ...unknown[]]>): Step {
    const wanted = checks.map(([axis, size]) => [axis, sizer(size)] as const);
    return (frame) => {
      const shape = dims(this.value(frame, operand));
      if (rank >= 0 && shape.length !== rank) throw new OarlockError(`a tensor has ${shape.length} dims, not ${rank}`, "the model's own shapes");
      for (const [axis, symbol] of binds) frame.symbols[symbol] = shape[axis]!;
      for (const [axis, size] of wanted) {
        const want = size(frame.symbols);
        if (shape[axis] !== want) {
          throw new OarlockError(`sizes that must be equal differ: dim ${axis} of [${shape.join(", ")}] is not ${want}`, "the model's own shapes");
        }
      }
    };
  }

  private kernel([, number, operands, results, types, scalars]: Extract<Instruction, ["kernel", ...unknown[]]>): Step {
    const kernel = this.program.kernels[number]!;
    const call = this.exports[kernel.export] as (...values: (number | bigint)[]) => number;
    const shapes = types.map(([width, ...sizes]) => [width, shaper(sizes as never, kernel.name)] as const);
    const numbers = scalars.map(sizer);
    const checks = (kernel.checks ?? []).map(([argument, axis, size]) => [argument, axis, sizer(size)] as const);
    return (frame) => {
      const tensors = operands.map((operand) => this.value(frame, operand) as Held);
      const made = shapes.map(([width, shape]) => [width, shape(frame.symbols)] as const);
      const every = [...tensors.map((t) => t.shape), ...made.map(([, shape]) => shape)];
      const given = kernel.sizes.map(([at, axis]) => (axis === undefined ? numbers[at]!(frame.symbols) : every[at]![axis]!));
      for (const [argument, axis, size] of checks) this.agree(kernel, every[argument]!, argument, axis, size(given));
      const values: (number | bigint)[] = tensors.map((t) => t.at);
      for (let i = 0; i < made.length; i++) {
        const held = this.tensor(...made[i]!);
        this.set(frame, results[i]!, held);
        values.push(held.at);
      }
      for (const size of given) values.push(long(size));
      let status: number;
      try {
        status = this.way ? this.way(number, () => call(...values)) : call(...values);
      } catch (error) {
        throw this.trapped(error, kernel.name);
      }
      if (status !== 0) this.fail(kernel);
    };
  }

  private agree(kernel: ProgramKernel, shape: number[], argument: number, axis: number, wanted: number): void {
    if (shape[axis] === wanted) return;
    const what = `sizes that must be equal differ: dim ${axis} of operand ${argument}, [${shape.join(", ")}], is not ${wanted}`;
    throw new OarlockError(what, kernel.name);
  }

  private fail(kernel: ProgramKernel): never {
    const why = this.failure || "it did not say why";
    this.failure = "";
    throw new OarlockError(`a kernel failed: ${why}`, kernel.name);
  }
}

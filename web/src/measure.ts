/** Times of whole runs and of kernels in their places, by a clock that may be coarse. */

import type { Engine } from "./engine.js";
import type { Machine } from "./vm.js";

const WARM_MS = 250; // engines compile hot functions anew, behind the first runs
const LEAST_TICKS = 40; // of the clock, that a timed stretch must have
const LEAST_MS = 0.2;
const MOST_CALLS = 100_000;
const WEIGHTS = 0; // the region that no step writes to
const LEAST = 0.05; // part of what was measured that a kernel takes at least, when what was measured with it is taken off

let tick: number | undefined;

/** The clock's step in milliseconds: 0.005 on a page that is cross-origin isolated, else up to 1. */
export function resolution(): number {
  if (tick === undefined) {
    tick = Infinity;
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      let now = start;
      while (now === start) now = performance.now();
      tick = Math.min(tick, now - start);
    }
  }
  return tick;
}

/** What a timed stretch must take for the clock to tell it to a few per cent. */
export const stretch = (): number => Math.max(LEAST_MS, LEAST_TICKS * resolution());

/** The mean of the lowest third: what else the machine does only adds, and one least time may be luck. */
export function quiet(times: number[]): number {
  const sorted = [...times].sort((a, b) => a - b).slice(0, Math.max(1, Math.floor(times.length / 3)));
  return sorted.reduce((a, b) => a + b, 0) / sorted.length;
}

/** How often to call something for a stretch of time, at least `ms`. */
export function calls(call: () => void, ms = stretch()): number {
  const time = (n: number): number => {
    const start = performance.now();
    for (let i = 0; i < n; i++) call();
    return performance.now() - start;
  };
  for (let n = 1; ; n *= 2) {
    let took = time(n);
    if (took > ms / 4) took = Math.min(took, time(n)); // something else may have run in between
    if (took >= ms || n >= MOST_CALLS) return n;
    if (took > ms / 4) return Math.ceil((n * ms) / took);
  }
}

/** An engine's times. */
export class Measure {
  private steps: Step[] | undefined;
  private calls: Calls | undefined;

  constructor(private readonly engine: Engine | Machine) {}

  warm(): void {
    const end = performance.now() + WARM_MS;
    do this.engine.run();
    while (performance.now() < end);
  }

  /** The least time of a whole run in milliseconds, of so many. */
  run(runs: number): number {
    const start = performance.now();
    this.engine.run();
    const once = performance.now() - start;
    const together = Math.max(1, Math.ceil(stretch() / Math.max(once, resolution())));
    const times = [];
    for (let done = 0; done < runs; done += together) {
      const begin = performance.now();
      for (let i = 0; i < together; i++) this.engine.run();
      times.push((performance.now() - begin) / together);
    }
    return Math.min(...times);
  }

  /**
   * Milliseconds and calls of each kernel in a run, by number, for about `budget` milliseconds.
   *
   * Every step is called in its place, so often in a row that the clock can tell.  A step of a plan that changes an operand gets that
   * back before each call: else its numbers would wander off, to where the machine is slow (denormal ones) and for all steps that follow.
   * `before` hears of each step's kernel ahead of its first call: if it never ends, it is known which it was.
   */
  kernels(budget: number, before: (kernel: number) => void = () => {}): [ms: number, calls: number][] {
    const { engine } = this;
    if ("program" in engine) return (this.calls ??= new Calls(engine)).times(budget);
    const { steps, kernels } = engine.plan;
    this.steps ??= steps.map(([kernel], i) => {
      before(kernel);
      return new Step(engine, i);
    });
    const times: number[][] = steps.map(() => []);
    const end = performance.now() + budget;
    for (let sweep = 0; sweep < 2 || performance.now() < end; sweep++) {
      for (const [i, step] of this.steps.entries()) times[i]!.push(step.ms());
    }
    const found = kernels.map((): [number, number] => [0, 0]);
    steps.forEach(([kernel], i) => {
      found[kernel]![0] += quiet(times[i]!);
      found[kernel]![1] += 1;
    });
    return found;
  }
}

/** A step in its place: what it reads is there when it is made, and after each use what the next step reads. */
class Step {
  private readonly n: number;
  private readonly upon: { region: number; start: number; end: number } | undefined;

  constructor(
    private readonly engine: Engine,
    private readonly number: number,
  ) {
    this.upon = changed(engine, number);
    const restore = this.keep();
    this.n = calls(() => (restore(), engine.call(number)));
  }

  ms(): number {
    const { engine, number, n } = this;
    const restore = this.keep();
    const start = performance.now();
    if (!this.upon) {
      for (let i = 0; i < n; i++) engine.call(number);
      return (performance.now() - start) / n;
    }
    for (let i = 0; i < n; i++) restore();
    const middle = performance.now();
    for (let i = 0; i < n; i++) {
      restore();
      engine.call(number);
    }
    const whole = performance.now() - middle;
    return Math.max(whole - (middle - start), LEAST * whole) / n;
  }

  /** What puts back the operand that the step changes, as it is now. */
  private keep(): () => void {
    if (!this.upon) return () => {};
    const { region, start, end } = this.upon;
    const place = this.engine.at(region).subarray(start, end);
    const saved = place.slice();
    return () => place.set(saved);
  }
}

/**
 * The kernel calls of a program's run, which is the same each time for the same inputs; of each kernel all calls count, whatever sizes
 * they have.  A call is made so often in a row that the clock can tell all those of its kernel together.
 */
class Calls {
  private readonly often: number[] = []; // by the number of the call in a run
  private readonly counts: number[];

  constructor(private readonly machine: Machine) {
    this.counts = machine.program.kernels.map(() => 0);
    machine.run((kernel, call) => (this.counts[kernel]!++, call()));
    machine.run((kernel, call) => {
      let status = 0;
      this.often.push(calls(() => (status ||= call()), stretch() / Math.sqrt(this.counts[kernel]!)));
      return status;
    });
  }

  times(budget: number): [ms: number, calls: number][] {
    const times: number[][] = this.counts.map(() => []);
    const end = performance.now() + budget;
    for (let sweep = 0; sweep < 2 || performance.now() < end; sweep++) this.sweep().forEach((ms, kernel) => times[kernel]!.push(ms));
    return this.counts.map((count, kernel) => [count ? quiet(times[kernel]!) : 0, count]);
  }

  private sweep(): number[] {
    const ms = this.counts.map(() => 0);
    let number = 0;
    this.machine.run((kernel, call) => {
      const n = this.often[number++] ?? 1;
      let status = 0;
      const start = performance.now();
      for (let i = 0; i < n; i++) status ||= call();
      ms[kernel]! += (performance.now() - start) / n;
      return status;
    });
    return ms;
  }
}

/** What a second call of a step changes in memory, which is as it was after the first one then: nothing, for most. */
function changed(engine: Engine, number: number): { region: number; start: number; end: number } | undefined {
  const regions = [...new Set(engine.plan.steps[number]![1].filter((_, i) => i % 2 === 0))].filter((region) => region !== WEIGHTS);
  const whole = (region: number): Int32Array => new Int32Array(engine.at(region).slice(0, engine.at(region).length & ~3).buffer);
  const before = regions.map((region) => engine.at(region).slice());
  engine.call(number); // memory grows now, if it must
  const once = regions.map(whole);
  engine.call(number);
  const twice = regions.map(whole);
  for (const [i, region] of regions.entries()) {
    const [a, b] = [once[i]!, twice[i]!];
    const first = a.findIndex((value, k) => value !== b[k]);
    if (first < 0) continue;
    let last = a.length - 1;
    while (a[last] === b[last]) last--;
    regions.forEach((region, k) => engine.at(region).set(before[k]!));
    return { region, start: 4 * first, end: 4 * last + 4 };
  }
  return undefined;
}

/** Engines of one thread, by name. */

import { ENGINES } from "./engines.js";

export class Host {
  constructor() {
    this.held = new Map();
  }

  /** Load an engine with its model and call it once; the times of both in milliseconds, and what the engine tells of itself. */
  async load(name, spec, inputs, base) {
    const start = performance.now();
    const engine = await ENGINES[spec.engine](spec, inputs, new URL(base));
    const loaded = performance.now();
    await engine.run();
    this.held.set(name, engine);
    return { load_ms: loaded - start, first_ms: performance.now() - loaded, facts: engine.facts ?? {} };
  }

  /** Milliseconds of each of some calls. */
  async turn(name, calls) {
    const engine = this.held.get(name);
    const times = [];
    for (let i = 0; i < calls; i++) {
      const start = performance.now();
      await engine.run();
      times.push(performance.now() - start);
    }
    return times;
  }

  /** The outputs of the last call: [{name, dtype, shape, data}]. */
  async outputs(name) {
    return this.held.get(name).outputs();
  }

  /** What each step takes over some runs: [{…facts of the step, times: milliseconds of each run}]; nothing where the engine cannot tell. */
  async steps(name, runs) {
    return (await this.held.get(name).steps?.(runs)) ?? [];
  }

  /** What each step gives in a call: [{name, results: [{dtype, shape, count, sum, squares, most}]}]; nothing where it cannot tell. */
  async trace(name) {
    return (await this.held.get(name).trace?.()) ?? [];
  }

  async close(name) {
    await this.held.get(name)?.close?.();
    this.held.delete(name);
  }
}

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { module, PLAN, source } from "./helpers.mjs";

const { Engine, planOf } = await source("engine");
const { Machine } = await source("vm");
const { calls, Measure, quiet, resolution } = await source("measure");

/** Where the first input says so: ((x + w) + w) · 2, by one kernel that is called twice and another. */
const PROGRAM = {
  version: 2, kind: "program", weights: 4, constants: [[0, 4, 1]], kernels: PLAN.kernels.map((kernel) => ({ ...kernel, sizes: [] })),
  functions: [
    {
      registers: 6, symbols: 0, parameters: [0, 1],
      body: [
        [[
          "if", 0,
          [
            [
              ["kernel", 0, [1, -1], [2], [[4, 1]], []], ["kernel", 0, [2, -1], [3], [[4, 1]], []], ["drop", [2]],
              ["kernel", 1, [3, 3], [4], [[4, 1]], []], ["drop", [3]],
            ],
            [4], [4],
          ],
          [[], [1], []],
          [5],
        ]],
        [5], [5, 0, 1],
      ],
    },
  ],
};

const tensor = (name) => ({ name, dtype: "float32", shape: [1] });

async function engine(plan) {
  const code = await WebAssembly.compile(module(plan));
  const made = await Engine.create(code, planOf(code), new Uint8Array(new Float32Array([0.5]).buffer), [tensor("x")], [tensor("y")]);
  made.input(0)[0] = 1;
  return made;
}

test("times of kernels and runs", async () => {
  const made = await engine(PLAN);
  const measure = new Measure(made);
  const heard = [];
  const times = measure.kernels(5, (kernel) => heard.push(kernel));
  assert.deepEqual(times.map(([, calls]) => calls), [1, 1]);
  assert.ok(times.every(([ms]) => ms > 0 && ms < 1) && measure.run(100) > 0);
  assert.deepEqual(heard, [0, 1]);
  measure.kernels(5, (kernel) => heard.push(kernel));
  assert.equal(heard.length, 2, "only ahead of the first calls");
});

test("a kernel that changes an operand gets it back before each call", async () => {
  // the arena's first number is x + w, and then has w added upon it twice: y = 2 · (1 + 3 · 0.5)
  const upon = [0, [1, 0, 0, 0, 1, 0]];
  const plan = { ...PLAN, steps: [PLAN.steps[0], upon, upon, PLAN.steps[1]] };
  const made = await engine(plan);
  made.run();
  assert.equal(made.output(0)[0], 5);
  const times = new Measure(made).kernels(20);
  assert.equal(made.output(0)[0], 5, "numbers wander off where a kernel's result is its next call's operand");
  assert.deepEqual(times.map(([ms, calls]) => [ms > 0, calls]), [[true, 3], [true, 1]]);
});

test("kernels of a program are called in a row where it calls them", async () => {
  const code = await WebAssembly.compile(module(PROGRAM));
  const [c, x, y] = [{ name: "c", dtype: "bool", shape: [] }, { ...tensor("x"), shape: ["n"] }, { ...tensor("y"), shape: null }];
  const made = await Machine.create(code, planOf(code), new Uint8Array(new Float32Array([0.5]).buffer), [c, x], [y]);
  const times = (condition) => {
    made.input(0, [])[0] = condition;
    made.input(1, [1])[0] = 3;
    return new Measure(made).kernels(5);
  };
  const found = times(1);
  assert.deepEqual(found.map(([ms, calls]) => [ms > 0 && ms < 0.1, calls]), [[true, 2], [true, 1]]);
  assert.deepEqual([...made.output(0)], [8], "as if each had been called once");
  assert.deepEqual(times(0), [[0, 0], [0, 0]]);
  assert.deepEqual([...made.output(0)], [3]);
});

test("the clock, and how often to call", () => {
  assert.ok(resolution() > 0 && resolution() < 5);
  let clock = 0;
  let pause = 50; // something else runs, once
  mock.method(performance, "now", () => clock);
  const takes = (ms) => () => {
    clock += ms + pause;
    pause = 0;
  };
  const n = calls(takes(0.01), 1);
  assert.ok(n >= 99 && n <= 101, `${n}`);
  assert.equal(calls(takes(2), 1), 1);
  mock.restoreAll();
  assert.equal(quiet([9, 1, 8, 3, 7, 100]), 2);
  assert.equal(quiet([5]), 5);
});

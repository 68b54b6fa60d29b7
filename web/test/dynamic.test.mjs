import assert from "node:assert/strict";
import { test } from "node:test";
import { folder, source } from "./helpers.mjs";

const { Arena } = await source("memory");
const { long, shaper, sizer } = await source("program");
const { shapesOf } = await source("inputs");
const { load } = await source("index");

/** A heap that gives memory out one piece after another; `gap` bytes lie between, as where somebody else takes some. */
const heap = (gap = 0) => ({ top: 64, take(bytes) { const start = this.top; this.top += bytes + gap; return start; } });

test("free neighbours become one piece", () => {
  const below = heap();
  const arena = new Arena(below);
  const blocks = [100, 200, 300, 400].map((bytes) => arena.take(bytes));
  assert.deepEqual(blocks.map((b) => b.start % 64), [0, 0, 0, 0]);
  assert.equal(arena.used, 128 + 256 + 320 + 448);
  const [a, b, c, d] = blocks;
  for (const block of [b, d, c]) arena.give(block);
  assert.equal(arena.take(1000).start, b.start, "what b, c and d had is one piece");
  assert.equal(below.top, 64 + 65536, "and nothing more was asked for");
  arena.give(a);
});

test("the smallest piece that is large enough is taken", () => {
  const arena = new Arena(heap());
  const [a, , c] = [1024, 64, 128, 64].map((bytes) => arena.take(bytes));
  arena.give(a);
  arena.give(c);
  assert.equal(arena.take(100).start, c.start);
  assert.equal(arena.take(100).start, a.start);
});

test("tensors that grow from turn to turn take little more than two of them", () => {
  for (const gap of [0, 4096]) {
    const below = heap(gap);
    const arena = new Arena(below);
    let held = arena.take(64);
    for (let n = 2; n <= 5000; n++) {
      const next = arena.take(64 * n);
      arena.give(held);
      held = next;
    }
    assert.equal(arena.used, 64 * 5000);
    if (gap === 0) assert.ok(below.top < 4 * 64 * 5000, `${below.top} bytes for tensors of up to ${64 * 5000}`);
  }
});

test("random takes and gives never overlap, and all is one piece in the end", () => {
  const below = heap();
  const arena = new Arena(below);
  let seed = 7;
  const next = (n) => (seed = (seed * 48271) % 2147483647) % n;
  const held = [];
  for (let i = 0; i < 3000; i++) {
    if (held.length && next(2)) arena.give(held.splice(next(held.length), 1)[0]);
    else {
      const block = arena.take(next(5000));
      for (const other of held) assert.ok(block.start + block.bytes <= other.start || other.start + other.bytes <= block.start);
      held.push(block);
    }
  }
  held.forEach((block) => arena.give(block));
  assert.equal(arena.used, 0);
  const whole = below.top - 64;
  assert.equal(arena.take(whole).start, 64);
  arena.reset();
  assert.deepEqual([arena.used, arena.take(whole).start, below.top], [0, 64, whole + 64]);
});

test("sizes, as TVM computes them", () => {
  const at = (size, ...symbols) => sizer(size)(symbols);
  assert.equal(at(["+", ["//", ["-", [0], 1], 2], 1], 160), 80);
  assert.deepEqual([at(["//", [0], 2], -5), at(["/", [0], 2], -5)], [-3, -2], "floor and towards 0");
  assert.deepEqual([at(["%", [0], 4], -5), at(["rem", [0], 4], -5)], [3, -1]);
  assert.deepEqual([at(["min", [0], [1]], 3, 4), at(["max", [0], [1]], 3, 4)], [3, 4]);
  assert.deepEqual([at(["if", ["<", [0], 3], 1, 2], 2), at(["if", ["not", ["and", 1, ["==", [0], 2]]], 1, 2], 2)], [1, 2]);
  assert.deepEqual([at(["<<", [0], 3], 5), at([">>", [0], 1], -3)], [40, -2]);
  assert.throws(() => sizer(["log", 1, 2]), /unknown operator log/);
  assert.throws(() => shaper([1, ["-", [0], 9]], "pool")([4]), /a size would be -5[\s\S]*pool/);
  assert.throws(() => shaper([["//", 4, [0]]], "")([0]), /a size would be Infinity/);
  assert.deepEqual([long(5), long(-5), long(2 ** 63), long(-(2 ** 64))], [5n, -5n, 2n ** 63n - 1n, -(2n ** 63n)]);
});

test("shapes of inputs", () => {
  const x = { name: "x", dtype: "float32", shape: [1, 3, "h", "w"] };
  const ids = { name: "ids", dtype: "int64", shape: ["w"] };
  const tensor = (...shape) => ({ dtype: "float32", shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
  assert.deepEqual(shapesOf([x, ids], { x: tensor(1, 3, 2, 5), ids: [1, 2, 3, 4, 5] }), [[1, 3, 2, 5], [5]]);
  assert.deepEqual(shapesOf([ids], { ids: [7, 8] }), [[2]], "one open size follows from the elements");
  assert.throws(() => shapesOf([x, ids], { x: tensor(1, 3, 2, 5), ids: [1, 2] }), /2 elements, not 5[\s\S]*input ids/);
  assert.throws(() => shapesOf([x], { x: new Float32Array(12) }), /the sizes of h and w do not follow[\s\S]*shape: \[1, 3, h, w\]/);
  assert.throws(() => shapesOf([x], { x: tensor(1, 4, 2, 2) }), /dim 1 is 4, not 3[\s\S]*give float32 \[1, 3, h, w\]/);
  assert.throws(() => shapesOf([x], { x: tensor(1, 3, 2) }), /the shape is \[1, 3, 2\]/);
  assert.throws(() => shapesOf([{ ...x, shape: ["n", "n"] }], { x: tensor(2, 3) }), /dim 1 is 3, but n is 2 \(dim 0 of x\)/);
  assert.throws(() => shapesOf([{ ...x, shape: [2, "n"] }], { x: [1, 2, 3] }), /3 elements are no multiple of 2/);
  assert.throws(() => shapesOf([ids], { ids: { dtype: "int64", shape: [1.5], data: new BigInt64Array(1) } }), /a size is a whole number/);
  assert.throws(() => shapesOf([ids], { ids: { dtype: "int64", shape: [3], data: new BigInt64Array(1) } }), /1 elements, not 3/);
});

/**
 * Of c and x: while c: (c, x) = (false, 2 · (x + 0.5)); then x as it is where c was true, and else as [1, 1]; twice.
 * The constants are the weight 0.5, and its first byte, which is 0: false.
 */
const PROGRAM = {
  version: 2, kind: "program", weights: 4, constants: [[0, 4, 1], [0, 1]],
  kernels: [{ export: "k0", name: "add", sizes: [] }, { export: "k1", name: "double", sizes: [], checks: [[0, 0, 1]] }],
  functions: [
    {
      registers: 6, symbols: 1, parameters: [0, 1],
      body: [
        [
          ["match", 1, 1, [[0, 0]], []],
          ["loop", 1, [0, 1], [0, 1], [], [2, 3], [1]],
          ["drop", [2]],
          ["if", 0, [[], [3], []], [[["view", 3, 4, [[0], 1]]], [4], [4]], [5]],
          ["drop", [0, 3]],
        ],
        [5, 5], [5],
      ],
    },
    {
      registers: 4, symbols: 0, parameters: [0, 1],
      body: [
        [["kernel", 0, [1, -1], [2], [[4, 1]], []], ["drop", [0, 1]], ["kernel", 1, [2, 2], [3], [[4, 1]], []], ["drop", [2]]],
        [-2, 3], [3],
      ],
    },
  ],
};
const tensors = (m) => {
  m.inputs = [{ name: "c", dtype: "bool", shape: [] }, { name: "x", dtype: "float32", shape: ["n"] }];
  m.outputs = ["y", "z"].map((name) => ({ name, dtype: "float32", shape: null }));
};
const run = (model, c, x) => Object.values(model.run({ c: [c], x: [x] })).map(({ shape, data }) => [shape, [...data]]);

test("a program: loops, branches, calls, constants, results that are one tensor", async () => {
  const model = await load(folder(tensors, PROGRAM));
  assert.deepEqual(run(model, 1, 3), [[[1], [7]], [[1], [7]]]);
  assert.deepEqual(run(model, 0, 3), [[[1, 1], [3]], [[1, 1], [3]]]);
  assert.deepEqual(model.profile({ c: [1], x: [2] }, 3).map((k) => [k.name, k.calls]).sort(), [["add", 1], ["double", 1]]);
  assert.deepEqual(model.profile({ c: [0], x: [2] }, 3), []);
});

test("a program gives all memory back, also after a failure", async () => {
  const model = await load(folder(tensors, PROGRAM));
  run(model, 1, 3);
  const before = model.memoryBytes;
  for (let i = 0; i < 40000; i++) run(model, i % 2, 3);
  for (let i = 0; i < 40000; i++) assert.throws(() => run(model, 1, -3), /below nothing[\s\S]*double/);
  assert.deepEqual(run(model, 1, 3)[0], [[1], [7]]);
  assert.equal(model.memoryBytes, before);
});

test("sizes that differ from what a kernel was made for", async () => {
  const model = await load(folder(tensors, { ...PROGRAM, kernels: [PROGRAM.kernels[0], { ...PROGRAM.kernels[1], checks: [[0, 0, 2]] }] }));
  assert.throws(() => run(model, 1, 3), /dim 0 of operand 0, \[1\], is not 2[\s\S]*double/);
});

test("programs of later versions", async () => {
  const refuses = (change, words) => assert.rejects(load(folder(tensors, { ...PROGRAM, ...change })), words);
  await refuses({ version: 3 }, /plan of version 3/);
  await refuses({ kind: "other" }, /plan of version 2/);
  await refuses({ weights: 8 }, /4 bytes of weights, not 8/);
  await refuses({ functions: [{ ...PROGRAM.functions[0], body: [[["jump", 1]], [0], []] }] }, /unknown instruction jump/);
});

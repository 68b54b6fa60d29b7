import assert from "node:assert/strict";
import { test } from "node:test";
import { source } from "./helpers.mjs";

const { environment, Heap } = await source("imports");
const { erf, erfc, lgamma, rint } = await source("maths");
const { explain, features, fits } = await source("features");
const { imageTensor } = await source("image");

test("erf, by a table", () => {
  // Abramowitz and Stegun, table 7.1, and the complement's asymptotic series
  for (const [x, y] of [[0, 0], [0.1, 0.1124629160182849], [0.5, 0.5204998778130465], [1, 0.8427007929497149], [2, 0.9953222650189527],
    [2.4, 0.9993114861033549], [2.6, 0.9997639655834707], [3, 0.9999779095030014], [5, 0.9999999999984626], [7, 1], [Infinity, 1]]) {
    assert.ok(Math.abs(erf(x) - y) < 2e-14, `erf(${x}) = ${erf(x)}`);
    assert.equal(erf(-x), -erf(x));
  }
  assert.ok(Number.isNaN(erf(NaN)));
});

test("erfc and lgamma, by C's", () => {
  const close = (got, want, bound) => Math.abs(got - want) <= bound * Math.abs(want) + 1e-14;
  for (const [x, y] of [[-3, 1.9999779095030015], [0, 1.0], [0.5, 0.4795001221869535], [1.5, 0.033894853524689274], [2.4, 0.0006885138966450789], [2.6,
    0.00023603441652934908], [4, 1.541725790028002e-08], [6.5, 3.8421483271206475e-20], [10, 2.088487583762545e-45], [26,
    5.663192408856143e-296]]) {
    assert.ok(close(erfc(x), y, 1e-10), `erfc(${x}) = ${erfc(x)}`);
  }
  for (const [x, y] of [[0.1, 2.2527126517342055], [0.5, 0.5723649429247004], [1, 0.0], [1.5, -0.12078223763524543], [2, 0.0], [3.7,
    1.4280723266653883], [10, 12.801827480081467], [170.5, 704.0044277342047], [10000000000.0, 220258509288.81058], [-0.5,
    1.265512123484645], [-3.3, -0.824355805017426], [-20.75, -43.123258552502236], [1e-20, 46.051701859880914]]) {
    assert.ok(close(lgamma(x), y, 1e-13), `lgamma(${x}) = ${lgamma(x)}`);
  }
  assert.equal(erfc(Infinity), 0);
  assert.ok([0, -1, -7, Infinity, -Infinity].every((x) => lgamma(x) === Infinity) && Number.isNaN(lgamma(NaN)) && Number.isNaN(erfc(NaN)));
});

test("rounding to the nearest, ties to even", () => {
  for (const [x, y] of [[0.5, 0], [1.5, 2], [2.5, 2], [-0.5, -0], [-1.5, -2], [2.4999, 2], [1e300, 1e300], [-0.2, -0], [0.49999999999999994, 0]]) {
    assert.ok(Object.is(rint(x), y), `${x}: ${rint(x)}`);
  }
  assert.ok(Number.isNaN(rint(NaN)) && rint(-Infinity) === -Infinity);
});

test("what kernels import, in C's words", () => {
  const env = environment(new WebAssembly.Memory({ initial: 1 }), () => undefined, () => {});
  assert.equal(env.pow(1, NaN), 1);
  assert.equal(env.pow(-1, Infinity), 1);
  assert.equal(env.fmaxf(NaN, 2), 2);
  assert.equal(env.fmod(-7, 3), -1);
  assert.equal(env.copysign(3, -0), -3);
  for (const [x, y] of [[-2.5, -3], [2.4, 2], [0.49999999999999994, 0], [2 ** 53 + 2, 2 ** 53 + 2]]) assert.equal(env.round(x), y);
  assert.equal(env.nextafterf(1, 2), 1 + 2 ** -23);
  assert.equal(env.nextafter(0, -1), -Number.MIN_VALUE);
  assert.equal(env.nextafterf(-1, 2), -1 + 2 ** -24);
});

test("memory is aligned, grows, and is lent again", () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 8 });
  const heap = new Heap(memory, 1000);
  const [a, b] = [heap.take(10), heap.take(70000)];
  assert.deepEqual([a, b, memory.buffer.byteLength], [1024, 1088, 131072]);
  const lent = heap.lend(256);
  assert.notEqual(heap.lend(256), lent);
  heap.back(lent);
  assert.equal(heap.lend(256), lent);
  assert.throws(() => heap.take(1 << 20), /no memory for 1 MB/);
});

test("features are explained", () => {
  const variants = [{ name: "relaxed-simd", needs: ["simd", "relaxed-simd"] }, { name: "simd128", needs: ["simd"] }, { name: "plain", needs: [] }];
  const have = { ...features(), simd: true, relaxedSimd: false };
  assert.deepEqual(variants.map((v) => fits(v, have)), [false, true, true]);
  assert.match(explain(variants, variants[1], have).join(), /^relaxed-simd is off: this engine has no fused multiply-add/);
  assert.deepEqual(explain(variants, variants[0], { ...have, relaxedSimd: true }), []);
  assert.equal(explain(variants, variants[2], { ...have, simd: false }).length, 3);
  assert.equal(features().simd, true, "every engine that runs these tests has it");
});

test("pictures", () => {
  const data = Uint8ClampedArray.from([255, 0, 51, 9, 0, 255, 102, 9]);
  const { shape, data: got } = imageTensor({ width: 2, height: 1, data }, { mean: [0.5, 0.5, 0], std: [0.5, 0.5, 1] });
  assert.deepEqual([shape, [...got].map((v) => +v.toFixed(6))], [[1, 3, 1, 2], [1, -1, -1, 1, 0.2, 0.4]]);
  const bgr = imageTensor({ width: 2, height: 1, data }, { order: "bgr" });
  assert.deepEqual([...bgr.data].map((v) => +v.toFixed(6)), [0.2, 0.4, 0, 1, 1, 0]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { source } from "./helpers.mjs";

const { anchors, facesIn, merged, shared } = await source("../demos/face/faces");
const { cornersOf, hull, projection, smallestRectangle } = await source("../demos/common/geometry");

const close = (a, b, by = 1e-9) => assert.ok(Math.abs(a - b) < by, `${a} is not ${b}`);
const box = (left, top, right, bottom, score) => ({ left, top, right, bottom, score, points: [[left, top]] });

test("anchors: two in each cell of 16 × 16, then six in each of 8 × 8", () => {
  const all = anchors();
  assert.equal(all.length, 896);
  assert.deepEqual([all[0], all[1], all[2], all[511], all[512], all[518], all[895]], [
    [1 / 32, 1 / 32], [1 / 32, 1 / 32], [3 / 32, 1 / 32], [31 / 32, 31 / 32], [1 / 16, 1 / 16], [3 / 16, 1 / 16], [15 / 16, 15 / 16]]);
});

test("a box is relative to its anchor", () => {
  const [boxes, scores] = [new Float32Array(896 * 16), new Float32Array(896).fill(-9)];
  boxes.set([12.8, -6.4, 64, 32, 1.28, 2.56], 16 * 512);
  scores[512] = Math.log(4); // 0.8
  const [face, ...more] = facesIn(boxes, scores, 128);
  assert.equal(more.length, 0);
  close(face.score, 0.8, 1e-6);
  [face.left, face.right, face.top, face.bottom].forEach((v, i) => close(v, [0.1625 - 0.25, 0.1625 + 0.25, 0.0125 - 0.125, 0.0125 + 0.125][i], 1e-6));
  close(face.points[0][0], 1 / 16 + 0.01, 1e-6);
  close(face.points[0][1], 1 / 16 + 0.02, 1e-6);
});

test("boxes of one face become one, weighed by their scores", () => {
  close(shared(box(0, 0, 2, 2, 1), box(1, 0, 3, 2, 1)), 1 / 3);
  assert.equal(shared(box(0, 0, 1, 1, 1), box(1, 0, 2, 1, 1)), 0);
  const [one, two, ...more] = merged([box(0, 0, 10, 10, 0.6), box(50, 50, 60, 60, 0.7), box(1, 0, 11, 10, 0.9)]);
  assert.equal(more.length, 0);
  close(one.left, 0.6);
  assert.equal(one.score, 0.9);
  assert.equal(two.left, 50);
});

test("the smallest rectangle around points, and its corners in order", () => {
  const turned = [[0, 0], [40, 0], [40, 10], [0, 10], [20, 5]].map(([x, y]) => [x * 0.8 - y * 0.6, x * 0.6 + y * 0.8]);
  assert.equal(hull(turned).length, 4);
  const rectangle = smallestRectangle(turned);
  assert.deepEqual(rectangle.sides.map((s) => Math.round(s)).sort((a, b) => a - b), [10, 40]);
  const corners = cornersOf(rectangle);
  [[0, 0], [32, 24], [26, 32], [-6, 8]].forEach(([x, y], i) => {
    close(corners[i][0], x, 1e-6);
    close(corners[i][1], y, 1e-6);
  });
  assert.deepEqual(smallestRectangle([[3, 4]]).sides, [0, 0]);
});

test("a projection takes corners to corners", () => {
  const to = [[1, 2], [9, 1], [11, 8], [2, 6]];
  const from = [[0, 0], [10, 0], [10, 5], [0, 5]];
  const h = projection(from, to);
  from.forEach(([x, y], i) => {
    const w = h[6] * x + h[7] * y + 1;
    close((h[0] * x + h[1] * y + h[2]) / w, to[i][0], 1e-6);
    close((h[3] * x + h[4] * y + h[5]) / w, to[i][1], 1e-6);
  });
});

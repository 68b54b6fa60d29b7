/** Where lines of text are, by a DB network's map of probabilities. */

import { cornersOf, type Point, type Quad, smallestRectangle } from "../common/geometry.js";

export interface Thresholds {
  /** Of a pixel's probability. */
  pixel: number;
  /** Of the mean probability of a line's pixels: not of its box's, which holds much else where a line is bent. */
  line: number;
  /** The network learnt to find shrunken lines: a box grows by this much of its area over its perimeter. */
  grow: number;
}

const USUAL: Thresholds = { pixel: 0.3, line: 0.6, grow: 1.5 };

/** The boxes in a map of `height` rows of `width`. */
export function boxesIn(map: Float32Array, width: number, height: number, { pixel, line, grow }: Thresholds = USUAL): Quad[] {
  const found: Quad[] = [];
  for (const { points, mean } of spots(map, width, height, pixel)) {
    const rectangle = smallestRectangle(points);
    const [a, b] = rectangle.sides;
    if (Math.min(a, b) < 3 || mean < line) continue;
    const more = (a * b * grow) / (2 * (a + b));
    const grown = { ...rectangle, sides: [a + 2 * more, b + 2 * more] as [number, number] };
    if (Math.min(...grown.sides) >= 5) found.push(cornersOf(grown));
  }
  return found;
}

/** Pixels above a threshold that touch each other, at a side or a corner: their mean, and of each row of such a spot its first and its last. */
function spots(map: Float32Array, width: number, height: number, threshold: number): { points: Point[]; mean: number }[] {
  const seen = new Uint8Array(width * height);
  const waiting = new Int32Array(width * height);
  const found: { points: Point[]; mean: number }[] = [];
  for (let start = 0; start < map.length; start++) {
    if (seen[start] || !(map[start]! > threshold)) continue;
    const ends = new Map<number, [number, number]>();
    let [count, all, sum] = [0, 0, 0];
    waiting[count++] = start;
    seen[start] = 1;
    while (count) {
      const at = waiting[--count]!;
      all++;
      sum += map[at]!;
      const [x, y] = [at % width, Math.floor(at / width)];
      const row = ends.get(y);
      if (!row) ends.set(y, [x, x]);
      else if (x < row[0]) row[0] = x;
      else if (x > row[1]) row[1] = x;
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
          const next = v * width + u;
          if (seen[next] || !(map[next]! > threshold)) continue;
          seen[next] = 1;
          waiting[count++] = next;
        }
      }
    }
    const points = [...ends].flatMap(([y, [from, to]]): Point[] => [[from, y], [to, y]]);
    found.push({ points, mean: sum / all });
  }
  return found;
}

/** Boxes that stand beside each other, from left to right; rows from top to bottom. */
export function rowsOf(boxes: Quad[]): Quad[][] {
  const middle = (box: Quad): number => box.reduce((sum, p) => sum + p[1], 0) / 4;
  const span = (box: Quad, axis: 0 | 1): [number, number] => [Math.min(...box.map((p) => p[axis])), Math.max(...box.map((p) => p[axis]))];
  const overlap = (a: Quad, b: Quad): boolean => {
    const [[a0, a1], [b0, b1]] = [span(a, 0), span(b, 0)];
    return Math.min(a1, b1) - Math.max(a0, b0) > 0.25 * Math.min(a1 - a0, b1 - b0);
  };
  const rows: Quad[][] = [];
  for (const box of [...boxes].sort((a, b) => middle(a) - middle(b))) {
    const row = rows.at(-1);
    const last = row?.at(-1);
    const [top, bottom] = last ? span(last, 1) : [0, 0];
    if (row && last && Math.abs(middle(last) - middle(box)) < 0.4 * (bottom - top) && !overlap(last, box)) {
      row.push(box);
      row.sort((a, b) => a[0][0] - b[0][0]);
    } else rows.push([box]);
  }
  return rows;
}

/** Points, rectangles that lie askew, and projections. */

export type Point = [x: number, y: number];
/** Clockwise from the top left. */
export type Quad = [Point, Point, Point, Point];

export const distance = (a: Point, b: Point): number => Math.hypot(a[0] - b[0], a[1] - b[1]);

/** The corners of the smallest convex polygon around points (Andrew's monotone chain). */
export function hull(points: Point[]): Point[] {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  if (sorted.length < 3) return sorted;
  const half = (input: Point[]): Point[] => {
    const out: Point[] = [];
    for (const p of input) {
      while (out.length >= 2 && turn(out[out.length - 2]!, out[out.length - 1]!, p) <= 0) out.pop();
      out.push(p);
    }
    out.pop();
    return out;
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

const turn = (o: Point, a: Point, b: Point): number => (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]);

/** A rectangle around a centre: `axis` is the direction of its first side. */
export interface Rectangle {
  centre: Point;
  axis: Point;
  sides: [number, number];
}

/** The rectangle of least area around points: one of its sides lies on a side of their hull. */
export function smallestRectangle(points: Point[]): Rectangle {
  const corners = hull(points);
  const [first] = corners;
  let best: Rectangle = { centre: first!, axis: [1, 0], sides: [0, 0] };
  let least = Infinity;
  for (let i = 0; i < corners.length; i++) {
    const [a, b] = [corners[i]!, corners[(i + 1) % corners.length]!];
    const length = distance(a, b);
    if (length === 0) continue;
    const axis: Point = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const [x, y] of corners) {
      const along = x * axis[0] + y * axis[1];
      const across = y * axis[0] - x * axis[1];
      left = Math.min(left, along);
      right = Math.max(right, along);
      low = Math.min(low, across);
      high = Math.max(high, across);
    }
    const area = (right - left) * (high - low);
    if (area >= least) continue;
    least = area;
    const [u, v] = [(left + right) / 2, (low + high) / 2];
    best = { centre: [u * axis[0] - v * axis[1], u * axis[1] + v * axis[0]], axis, sides: [right - left, high - low] };
  }
  return best;
}

/** A rectangle's corners, clockwise from the top left. */
export function cornersOf({ centre, axis, sides }: Rectangle): Quad {
  const [u, v] = [sides[0] / 2, sides[1] / 2];
  const at = (s: number, t: number): Point => [centre[0] + s * u * axis[0] - t * v * axis[1], centre[1] + s * u * axis[1] + t * v * axis[0]];
  const sorted = [at(-1, -1), at(1, -1), at(1, 1), at(-1, 1)].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const [topLeft, bottomLeft] = sorted.slice(0, 2).sort((a, b) => a[1] - b[1]);
  const [topRight, bottomRight] = sorted.slice(2).sort((a, b) => a[1] - b[1]);
  return [topLeft!, topRight!, bottomRight!, bottomLeft!];
}

/** The eight numbers of the projection that takes each of `from` to its fellow of `to`: x' = (h0 x + h1 y + h2) / (h6 x + h7 y + 1). */
export function projection(from: Quad, to: Quad): number[] {
  const rows: number[][] = [];
  from.forEach(([x, y], i) => {
    const [u, v] = to[i]!;
    rows.push([x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]);
  });
  for (let column = 0; column < 8; column++) {
    let pivot = column;
    for (let r = column + 1; r < 8; r++) if (Math.abs(rows[r]![column]!) > Math.abs(rows[pivot]![column]!)) pivot = r;
    [rows[column], rows[pivot]] = [rows[pivot]!, rows[column]!];
    const scale = rows[column]![column]! || 1e-12;
    for (let c = column; c < 9; c++) rows[column]![c]! /= scale;
    for (let r = 0; r < 8; r++) {
      const times = rows[r]![column]!;
      if (r !== column && times) for (let c = column; c < 9; c++) rows[r]![c]! -= times * rows[column]![c]!;
    }
  }
  return rows.map((row) => row[8]!);
}

/** Where faces are, by BlazeFace's anchors. */

import type { Point } from "../common/geometry.js";

export interface Face {
  left: number;
  top: number;
  right: number;
  bottom: number;
  score: number;
  /** Right eye, left eye, nose, mouth, right ear, left ear: of the face's own right and left. */
  points: Point[];
}

/** The network's grids: cells on a side, and anchors in each cell's middle. */
const GRIDS: [cells: number, anchors: number][] = [[16, 2], [8, 6]];

/** The middles of the anchors, on a scale from 0 to 1. */
export function anchors(): Point[] {
  return GRIDS.flatMap(([cells, each]) =>
    Array.from({ length: cells * cells * each }, (_, i): Point => {
      const cell = Math.floor(i / each);
      return [((cell % cells) + 0.5) / cells, (Math.floor(cell / cells) + 0.5) / cells];
    }),
  );
}

const ANCHORS = anchors();

/** The faces of a score above `threshold`: `boxes` [896, 16] in pixels of a square of `size`, `scores` [896]; the result on a scale from 0 to 1. */
export function facesIn(boxes: Float32Array, scores: Float32Array, size: number, threshold = 0.5): Face[] {
  const found: Face[] = [];
  ANCHORS.forEach(([x, y], i) => {
    const score = 1 / (1 + Math.exp(-scores[i]!));
    if (!(score > threshold)) return;
    const at = (n: number): number => boxes[16 * i + n]! / size;
    const [middleX, middleY, width, height] = [x + at(0), y + at(1), at(2), at(3)];
    const points = Array.from({ length: 6 }, (_, p): Point => [x + at(4 + 2 * p), y + at(5 + 2 * p)]);
    const [left, top] = [middleX - width / 2, middleY - height / 2];
    if (width > 0 && height > 0) found.push({ left, top, right: left + width, bottom: top + height, score, points });
  });
  return merged(found);
}

/** Boxes that overlap are one face: the mean of them, each counted by its score, as BlazeFace's authors do. */
export function merged(faces: Face[], overlap = 0.3): Face[] {
  let left = [...faces].sort((a, b) => b.score - a.score);
  const out: Face[] = [];
  while (left.length) {
    const [best] = left as [Face, ...Face[]];
    const same = left.filter((face) => face === best || shared(face, best) > overlap);
    left = left.filter((face) => !same.includes(face));
    const total = same.reduce((sum, face) => sum + face.score, 0);
    const mean = (of: (face: Face) => number): number => same.reduce((sum, face) => sum + of(face) * face.score, 0) / total;
    out.push({
      left: mean((f) => f.left), top: mean((f) => f.top), right: mean((f) => f.right), bottom: mean((f) => f.bottom), score: best.score,
      points: best.points.map((_, i): Point => [mean((f) => f.points[i]![0]), mean((f) => f.points[i]![1])]),
    });
  }
  return out;
}

/** What two boxes share, of what they cover together. */
export function shared(a: Face, b: Face): number {
  const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  if (width <= 0 || height <= 0) return 0;
  const area = (f: Face): number => (f.right - f.left) * (f.bottom - f.top);
  return (width * height) / (area(a) + area(b) - width * height);
}

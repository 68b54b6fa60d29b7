/** A line's text, by a CTC network's probabilities. */

import type { Pixels, Tensor } from "oarlock";
import { resized } from "../common/picture.js";

/** The width that a line has at a height, its aspect kept. */
export const widthAt = (line: Pixels, height: number): number => Math.max(1, Math.ceil((height * line.width) / line.height));

/** A line as float32 [1, 3, height, width], blue first, from −1 to 1: its aspect kept where there is room, and nothing (0) to its right. */
export function lineTensor(line: Pixels, height: number, width: number): Tensor {
  const drawn = Math.min(width, widthAt(line, height));
  const { data } = resized(line, drawn, height);
  const out = new Float32Array(3 * height * width);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < height; y++) {
      const to = (channel * height + y) * width;
      for (let x = 0; x < drawn; x++) out[to + x] = data[4 * (y * drawn + x) + 2 - channel]! / 127.5 - 1;
    }
  }
  return { dtype: "float32", shape: [1, 3, height, width], data: out };
}

/** Probabilities [1, steps, classes] → the text, and the mean of what its characters got.  Class 0 is the gap between two of them. */
export function decoded({ shape, data }: Tensor, characters: string[]): { text: string; confidence: number } {
  const [, steps, classes] = shape as [number, number, number];
  const scores = data as Float32Array;
  let [text, sum, count, before] = ["", 0, 0, -1];
  for (let step = 0; step < steps; step++) {
    let best = 0;
    const row = step * classes;
    for (let c = 1; c < classes; c++) if (scores[row + c]! > scores[row + best]!) best = c;
    if (best !== 0 && best !== before) {
      text += characters[best - 1] ?? " "; // the class after the table's last is a space
      sum += scores[row + best]!;
      count++;
    }
    before = best;
  }
  return { text, confidence: count ? sum / count : 0 };
}

/** Pictures: from files, at other sizes, and pieces cut out of them.  Arithmetic as OpenCV's, so that networks see what they learnt on. */

import type { Pixels } from "oarlock";
import { distance, projection, type Quad } from "./geometry.js";

/** The longest side that is kept: more than any network here looks at, and less than what phones can hold. */
const LONGEST = 4096;

/** The pixels of a picture file, upright. */
export async function pixelsOfFile(file: Blob): Promise<ImageData> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    const name = file instanceof File ? file.name : "what was given";
    throw new Error(`${name} is no picture that this browser can read (${file.type || "of no known type"}): try a PNG or a JPEG`);
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale))];
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "white"; // paper, where a picture is transparent
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

const pixels = (width: number, height: number): Pixels => ({ width, height, data: new Uint8ClampedArray(4 * width * height) });

/** Two-by-two pixels made one, until the picture is less than twice as large as it shall be: else small writing falls between the samples. */
export function halved(picture: Pixels, width: number, height: number): Pixels {
  while (picture.width >= 2 * width && picture.height >= 2 * height && width > 0 && height > 0) {
    const out = pixels(picture.width >> 1, picture.height >> 1);
    const row = 4 * picture.width;
    for (let y = 0, o = 0; y < out.height; y++) {
      for (let x = 0, i = 2 * y * row; x < out.width; x++, i += 8) {
        for (let c = 0; c < 4; c++, o++) {
          const sum = picture.data[i + c]! + picture.data[i + c + 4]! + picture.data[i + c + row]! + picture.data[i + c + row + 4]!;
          out.data[o] = sum / 4;
        }
      }
    }
    picture = out;
  }
  return picture;
}

/** Bilinear, with pixels as little squares: the corners of the picture stay its corners. */
export function resized(picture: Pixels, width: number, height: number): Pixels {
  const out = pixels(width, height);
  const columns = samples(picture.width, width);
  const rows = samples(picture.height, height);
  for (let y = 0, o = 0; y < height; y++) {
    const [y0, y1, ty] = [rows.first[y]! * picture.width, rows.second[y]! * picture.width, rows.share[y]!];
    for (let x = 0; x < width; x++) {
      const [x0, x1, tx] = [columns.first[x]!, columns.second[x]!, columns.share[x]!];
      const [a, b, c, d] = [4 * (y0 + x0), 4 * (y0 + x1), 4 * (y1 + x0), 4 * (y1 + x1)];
      for (let k = 0; k < 4; k++, o++) {
        const above = picture.data[a + k]! * (1 - tx) + picture.data[b + k]! * tx;
        const below = picture.data[c + k]! * (1 - tx) + picture.data[d + k]! * tx;
        out.data[o] = above * (1 - ty) + below * ty;
      }
    }
  }
  return out;
}

/** For each of `to` pixels on a line, the two of `from` that it lies between, and the second one's share. */
function samples(from: number, to: number): { first: Int32Array; second: Int32Array; share: Float64Array } {
  const [first, second, share] = [new Int32Array(to), new Int32Array(to), new Float64Array(to)];
  for (let i = 0; i < to; i++) {
    const at = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
    first[i] = Math.floor(at);
    second[i] = Math.min(first[i]! + 1, from - 1);
    share[i] = at - first[i]!;
  }
  return { first, second, share };
}

/** What is in a quadrilateral, straightened (bicubic; the border goes on outside of the picture); what is much taller than wide is turned left. */
export function cutOut(picture: Pixels, quad: Quad): Pixels {
  const [a, b, c, d] = quad;
  const width = Math.max(1, Math.round(Math.max(distance(a, b), distance(c, d))));
  const height = Math.max(1, Math.round(Math.max(distance(a, d), distance(b, c))));
  const h = projection([[0, 0], [width, 0], [width, height], [0, height]], quad);
  const out = pixels(width, height);
  for (let y = 0, o = 0; y < height; y++) {
    for (let x = 0; x < width; x++, o += 4) {
      const w = h[6]! * x + h[7]! * y + 1;
      bicubic(picture, (h[0]! * x + h[1]! * y + h[2]!) / w, (h[3]! * x + h[4]! * y + h[5]!) / w, out.data, o);
    }
  }
  return height >= 1.5 * width ? turnedLeft(out) : out;
}

const SHARPNESS = -0.75; // OpenCV's

function cubic(t: number): [number, number, number, number] {
  const near = (x: number): number => ((SHARPNESS + 2) * x - (SHARPNESS + 3)) * x * x + 1;
  const far = (x: number): number => ((SHARPNESS * x - 5 * SHARPNESS) * x + 8 * SHARPNESS) * x - 4 * SHARPNESS;
  return [far(1 + t), near(t), near(1 - t), far(2 - t)];
}

function bicubic({ width, height, data }: Pixels, x: number, y: number, out: Uint8Array | Uint8ClampedArray, to: number): void {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [across, down] = [cubic(x - left), cubic(y - top)];
  let [r, g, b] = [0, 0, 0];
  for (let j = 0; j < 4; j++) {
    const row = Math.min(Math.max(top + j - 1, 0), height - 1) * width;
    for (let i = 0; i < 4; i++) {
      const share = across[i]! * down[j]!;
      const at = 4 * (row + Math.min(Math.max(left + i - 1, 0), width - 1));
      r += share * data[at]!;
      g += share * data[at + 1]!;
      b += share * data[at + 2]!;
    }
  }
  out[to] = r;
  out[to + 1] = g;
  out[to + 2] = b;
  out[to + 3] = 255;
}

export function turnedLeft(picture: Pixels): Pixels {
  const out = pixels(picture.height, picture.width);
  return moved(picture, out, (x, y) => (picture.width - 1 - x) * out.width + y);
}

export function turnedOver(picture: Pixels): Pixels {
  const last = picture.width * picture.height - 1;
  return moved(picture, pixels(picture.width, picture.height), (x, y) => last - y * picture.width - x);
}

function moved(picture: Pixels, out: Pixels, place: (x: number, y: number) => number): Pixels {
  for (let y = 0, i = 0; y < picture.height; y++) {
    for (let x = 0; x < picture.width; x++, i += 4) {
      const at = 4 * place(x, y);
      for (let c = 0; c < 4; c++) out.data[at + c] = picture.data[i + c]!;
    }
  }
  return out;
}

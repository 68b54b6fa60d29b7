/** Pictures as inputs. */

import type { Tensor } from "./types.js";

export interface Pixels {
  width: number;
  height: number;
  /** Red, green, blue, alpha of each pixel, as ImageData has them. */
  data: Uint8Array | Uint8ClampedArray;
}

export interface Normalisation {
  /** Of each channel, on the scale from 0 to 1. */
  mean?: number[];
  std?: number[];
  /** The order of the channels. */
  order?: "rgb" | "bgr";
}

/** float32 [1, 3, height, width]: (pixel / 255 − mean) / std. */
export function imageTensor(image: Pixels, { mean = [0, 0, 0], std = [1, 1, 1], order = "rgb" }: Normalisation = {}): Tensor {
  const { width, height, data } = image;
  const plane = width * height;
  const out = new Float32Array(3 * plane);
  for (let channel = 0; channel < 3; channel++) {
    const source = order === "rgb" ? channel : 2 - channel;
    const scale = 1 / (255 * std[channel]!);
    const shift = mean[channel]! / std[channel]!;
    for (let i = 0; i < plane; i++) out[channel * plane + i] = data[4 * i + source]! * scale - shift;
  }
  return { dtype: "float32", shape: [1, 3, height, width], data: out };
}

/** The pixels of a picture, a canvas or a video frame, drawn at a size (in a page or a worker). */
export function pixelsOf(source: CanvasImageSource, width: number, height: number): ImageData {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(source, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

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
export declare function imageTensor(image: Pixels, { mean, std, order }?: Normalisation): Tensor;
/** The pixels of a picture, a canvas or a video frame, drawn at a size (in a page or a worker). */
export declare function pixelsOf(source: CanvasImageSource, width: number, height: number): ImageData;

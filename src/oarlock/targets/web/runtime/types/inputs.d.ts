/** What is given for inputs: which shapes these are, and whether they fit. */
import type { Tensor, TensorInfo, TypedArray } from "./types.js";
/** What is given for an input: its elements in row-major order, or a tensor. */
export type Input = TypedArray | number[] | Tensor;
/** A tensor's type and shape as text; sizes that are open have a name, or are "?". */
export declare function describe(info: TensorInfo): string;
/** The shape of each input.  Throws OarlockError for one that does not fit, or that its elements alone do not tell. */
export declare function shapesOf(infos: TensorInfo[], inputs: Record<string, Input>): number[][];
/** Copies elements into an input's memory. */
export declare function put(place: TypedArray, info: TensorInfo, given: Input): void;

/** Tensors as the GPU has them: words of 32 bits, whatever the type of their elements. */
import type { Dtype, TensorInfo, TypedArray } from "./types.js";
/** A new array of a type's elements. */
export declare const allocate: (dtype: Dtype, length: number) => TypedArray;
/** The words of a tensor; an int64 must fit into 32 bits. */
export declare function toWords(data: TypedArray, info: TensorInfo): Float32Array | Int32Array;
/** A tensor's elements of its words, copied. */
export declare function fromWords(words: Int32Array, info: TensorInfo): TypedArray;

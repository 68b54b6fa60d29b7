/** Tensors as the GPU has them: words of 32 bits, whatever the type of their elements. */

import { ARRAYS } from "./engine.js";
import { OarlockError } from "./errors.js";
import type { Dtype, TensorInfo, TypedArray } from "./types.js";

/** A new array of a type's elements. */
export const allocate = (dtype: Dtype, length: number): TypedArray => new ARRAYS[dtype](length);

const [LEAST, MOST] = [-(2n ** 31n), 2n ** 31n - 1n];

/** The words of a tensor; an int64 must fit into 32 bits. */
export function toWords(data: TypedArray, info: TensorInfo): Float32Array | Int32Array {
  if (data instanceof Float32Array || data instanceof Int32Array) return data;
  if (data instanceof BigInt64Array) {
    const out = new Int32Array(data.length);
    data.forEach((value, i) => {
      if (value < LEAST || value > MOST) {
        const what = `${value} does not fit into 32 bits, and a GPU has no other integers`;
        throw new OarlockError(what, `input ${info.name}`, "load another variant");
      }
      out[i] = Number(value);
    });
    return out;
  }
  if (data instanceof Float64Array) throw new OarlockError("a GPU has no float64", `input ${info.name}`, "load another variant");
  // a boolean is anything but 0
  return Int32Array.from(data as ArrayLike<number>, info.dtype === "bool" ? (value) => Number(value !== 0) : Number);
}

/** A tensor's elements of its words, copied. */
export function fromWords(words: Int32Array, info: TensorInfo): TypedArray {
  if (info.dtype === "float32") return new Float32Array(words.buffer, words.byteOffset, words.length).slice();
  if (info.dtype === "int64") return BigInt64Array.from(words, BigInt);
  return (ARRAYS[info.dtype] as unknown as typeof Int32Array).from(words) as TypedArray;
}

/** What is given for inputs: which shapes these are, and whether they fit. */

import { OarlockError } from "./errors.js";
import type { Dim, Dtype, Tensor, TensorInfo, TypedArray } from "./types.js";

/** What is given for an input: its elements in row-major order, or a tensor. */
export type Input = TypedArray | number[] | Tensor;

const KINDS: Record<string, Dtype[]> = {
  Float32Array: ["float32"], Float64Array: ["float64"], Int8Array: ["int8"], Int16Array: ["int16"], Int32Array: ["int32"],
  BigInt64Array: ["int64"], Uint8Array: ["uint8", "bool"],
};

const isTensor = (given: Input): given is Tensor => !Array.isArray(given) && !ArrayBuffer.isView(given);
const isName = (dim: Dim): dim is string => typeof dim === "string" && /^[A-Za-z_]\w*$/.test(dim);

/** A tensor's type and shape as text; sizes that are open have a name, or are "?". */
export function describe(info: TensorInfo): string {
  return `${info.dtype} [${info.shape.map((dim) => dim ?? "?").join(", ")}]`;
}

/** The shape of each input.  Throws OarlockError for one that does not fit, or that its elements alone do not tell. */
export function shapesOf(infos: TensorInfo[], inputs: Record<string, Input>): number[][] {
  const names = infos.map((info) => info.name);
  const unknown = Object.keys(inputs).filter((name) => !names.includes(name));
  if (unknown.length) throw new OarlockError(`the model has no input ${unknown.join(", ")}`, "", `its inputs: ${names.join(", ")}`);
  const sizes = new Map<string, { size: number; by: string }>(); // of dims by their names
  for (const info of infos) {
    const given = inputs[info.name];
    if (given === undefined) throw new OarlockError(`there is no input ${info.name}`, "", `give ${describe(info)}`);
    if (isTensor(given)) fit(info, given.shape, sizes);
  }
  return infos.map((info) => {
    const given = inputs[info.name]!;
    const shape = isTensor(given) ? given.shape : shapeOf(info, given.length, sizes);
    const elements = (isTensor(given) ? given.data : given).length;
    const wanted = shape.reduce((a, b) => a * b, 1);
    if (elements !== wanted) throw wrong(info, `there are ${elements} elements, not ${wanted}`);
    return [...shape];
  });
}

/** Copies elements into an input's memory. */
export function put(place: TypedArray, info: TensorInfo, given: Input): void {
  const data = isTensor(given) ? given.data : given;
  if (Array.isArray(data)) {
    if (info.dtype === "int64") (place as BigInt64Array).set(data.map((v) => BigInt(v)));
    else (place as Float32Array).set(data);
    return;
  }
  const kind = data.constructor.name;
  if (!KINDS[kind]?.includes(info.dtype)) throw wrong(info, `the elements are a ${kind}`);
  (place as Float32Array).set(data as Float32Array);
}

const wrong = (info: TensorInfo, what: string): OarlockError => new OarlockError(what, `input ${info.name}`, `give ${describe(info)}`);

/** Checks a shape, and notes the sizes of dims that have a name. */
function fit(info: TensorInfo, shape: number[], sizes: Map<string, { size: number; by: string }>): void {
  const text = `[${shape.join(", ")}]`;
  if (shape.length !== info.shape.length) throw wrong(info, `the shape is ${text}`);
  shape.forEach((size, axis) => {
    const dim = info.shape[axis]!;
    if (!Number.isInteger(size) || size < 0) throw wrong(info, `the shape is ${text}: a size is a whole number`);
    if (typeof dim === "number" && size !== dim) throw wrong(info, `the shape is ${text}: dim ${axis} is ${size}, not ${dim}`);
    if (!isName(dim)) return;
    const known = sizes.get(dim);
    if (known && known.size !== size) {
      throw wrong(info, `the shape is ${text}: dim ${axis} is ${size}, but ${dim} is ${known.size} (${known.by})`);
    }
    sizes.set(dim, { size, by: `dim ${axis} of ${info.name}` });
  });
}

/** The shape of so many elements, where one dim at most is open. */
function shapeOf(info: TensorInfo, elements: number, sizes: Map<string, { size: number; by: string }>): number[] {
  const shape = info.shape.map((dim) => (isName(dim) ? (sizes.get(dim)?.size ?? dim) : dim));
  const open = shape.filter((dim) => typeof dim !== "number");
  if (!open.length) return shape as number[];
  const rest = shape.reduce<number>((product, dim) => (typeof dim === "number" ? product * dim : product), 1);
  const size = elements / rest;
  if (open.length > 1) {
    const what = `of ${elements} elements alone the sizes of ${open.map((dim) => dim ?? "?").join(" and ")} do not follow`;
    throw new OarlockError(what, `input ${info.name}`, `give { dtype: "${info.dtype}", shape: [${info.shape.join(", ")}], data }`);
  }
  if (!Number.isInteger(size)) throw wrong(info, `${elements} elements are no multiple of ${rest}`);
  const found = shape.map((dim) => (typeof dim === "number" ? dim : size));
  fit(info, found, sizes);
  return found;
}

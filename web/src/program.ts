/** Programs, as src/oarlock/targets/web/program.py writes them, which says what each part means. */

import { OarlockError } from "./errors.js";
import type { Kernel } from "./types.js";

/** A number, the number of a symbol, or an operator on sizes. */
export type Size = number | [number] | [string, ...Size[]];
/** Bytes of an element, then the dims. */
export type TensorType = [width: number, ...dims: Size[]];
export type BodyCode = [code: Instruction[], results: number[], dropped: number[]];

export type Instruction =
  | ["kernel", kernel: number, operands: number[], results: number[], types: TensorType[], scalars: Size[]]
  | ["call", fn: number, operands: number[], results: number[], dropped: number[]]
  | ["loop", fn: number, state: number[], places: number[], captured: number[], results: number[], dropped: number[]]
  | ["if", condition: number, then: BodyCode, otherwise: BodyCode, results: number[]]
  | ["view", operand: number, result: number, dims: Size[]]
  | ["reshape", operand: number, result: number, shape: number]
  | ["shape", result: number, dims: Size[]]
  | ["read", operand: number, result: number, dtype: "int64" | "int32"]
  | ["match", operand: number, rank: number, binds: [axis: number, symbol: number][], checks: [axis: number, size: Size][]]
  | ["drop", registers: number[]];

/** `sizes`: what its function takes after the pointers: [argument, axis], or [scalar]; `checks`: dims that must be so, in terms of these. */
export interface ProgramKernel extends Kernel {
  sizes: ([number, number] | [number])[];
  checks?: [argument: number, axis: number, size: Size][];
}

export interface FunctionCode {
  registers: number;
  symbols: number;
  parameters: number[];
  body: BodyCode;
}

export interface Program {
  version: number;
  kind: "program";
  weights: number;
  constants: [offset: number, width: number, ...dims: number[]][];
  kernels: ProgramKernel[];
  functions: FunctionCode[];
}

type Sizer = (symbols: number[]) => number;

const truth = (is: boolean): number => (is ? 1 : 0);
const OPERATORS: Record<string, (a: number, b: number) => number> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "//": (a, b) => Math.floor(a / b),
  "%": (a, b) => a - b * Math.floor(a / b),
  "/": (a, b) => Math.trunc(a / b),
  rem: (a, b) => a % b,
  min: Math.min,
  max: Math.max,
  "==": (a, b) => truth(a === b),
  "!=": (a, b) => truth(a !== b),
  "<": (a, b) => truth(a < b),
  "<=": (a, b) => truth(a <= b),
  ">": (a, b) => truth(a > b),
  ">=": (a, b) => truth(a >= b),
  and: (a, b) => truth(a !== 0 && b !== 0),
  or: (a, b) => truth(a !== 0 || b !== 0),
  "<<": (a, b) => a * 2 ** b,
  ">>": (a, b) => Math.floor(a / 2 ** b),
};

/** What computes a size from the symbols. */
export function sizer(size: Size): Sizer {
  if (typeof size === "number") return () => size;
  const [name, ...parts] = size;
  if (typeof name === "number") return (symbols) => symbols[name]!;
  const [a, b, c] = (parts as Size[]).map(sizer);
  if (name === "if") return (s) => (a!(s) ? b!(s) : c!(s));
  if (name === "not") return (s) => truth(!a!(s));
  const operator = OPERATORS[name];
  if (!operator || !a || !b) throw new OarlockError(`the program has an unknown operator ${name}`, "", "use the runtime that came with it");
  return (s) => operator(a(s), b(s));
}

/** What computes a shape; a size below 0, or none (a division by 0), is an error. */
export function shaper(dims: Size[], where: string): (symbols: number[]) => number[] {
  const sizers = dims.map(sizer);
  return (symbols) =>
    sizers.map((f) => {
      const size = f(symbols);
      if (size >= 0 && Number.isFinite(size)) return size;
      throw new OarlockError(`an input is too small, or a number in it is wrong: a size would be ${size}`, where);
    });
}

/** A size as a kernel takes it: the largest and smallest number stand for what is beyond. */
export function long(size: number): bigint {
  if (size >= 2 ** 63) return 2n ** 63n - 1n;
  return size <= -(2 ** 63) ? -(2n ** 63n) : BigInt(size);
}

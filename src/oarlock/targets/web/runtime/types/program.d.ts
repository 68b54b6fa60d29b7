/** Programs, as src/oarlock/targets/web/program.py writes them, which says what each part means. */
import type { Kernel } from "./types.js";
/** A number, the number of a symbol, or an operator on sizes. */
export type Size = number | [number] | [string, ...Size[]];
/** Bytes of an element, then the dims. */
export type TensorType = [width: number, ...dims: Size[]];
export type BodyCode = [code: Instruction[], results: number[], dropped: number[]];
export type Instruction = ["kernel", kernel: number, operands: number[], results: number[], types: TensorType[], scalars: Size[]] | ["call", fn: number, operands: number[], results: number[], dropped: number[]] | ["loop", fn: number, state: number[], places: number[], captured: number[], results: number[], dropped: number[]] | ["if", condition: number, then: BodyCode, otherwise: BodyCode, results: number[]] | ["view", operand: number, result: number, dims: Size[]] | ["reshape", operand: number, result: number, shape: number] | ["shape", result: number, dims: Size[]] | ["read", operand: number, result: number, dtype: "int64" | "int32"] | ["match", operand: number, rank: number, binds: [axis: number, symbol: number][], checks: [axis: number, size: Size][]] | ["drop", registers: number[]];
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
/** What computes a size from the symbols. */
export declare function sizer(size: Size): Sizer;
/** What computes a shape; a size below 0, or none (a division by 0), is an error. */
export declare function shaper(dims: Size[], where: string): (symbols: number[]) => number[];
/** A size as a kernel takes it: the largest and smallest number stand for what is beyond. */
export declare function long(size: number): bigint;
export {};

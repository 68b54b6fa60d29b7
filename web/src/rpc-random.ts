/** Numbers to measure kernels with: from 1 to 10, as TVM's own, whatever their type; whole ones are small, so that they may be indices. */

import { OarlockError } from "./errors.js";
import type { DataType } from "./rpc-protocol.js";

const Code = { int: 0, uint: 1, float: 2, bfloat: 4, bool: 6 } as const;

export function fill(bytes: Uint8Array, { code, bits, lanes }: DataType): void {
  const { buffer, byteOffset: at } = bytes;
  const count = bytes.length / (bits / 8);
  if (lanes < 1 || ![8, 16, 32, 64].includes(bits)) throw new OarlockError(`elements of ${bits} bits cannot be filled with random numbers`);
  const real = (): number => 1 + 9 * Math.random();
  const some = <T>(view: { [n: number]: T }, value: () => T): void => {
    for (let i = 0; i < count; i++) view[i] = value();
  };
  if (code === Code.bool) some(bytes, () => Math.floor(2 * Math.random()));
  else if (code === Code.int || code === Code.uint) {
    if (bits === 64) some(new BigInt64Array(buffer, at, count), () => BigInt(Math.floor(real())));
    else some(bits === 32 ? new Int32Array(buffer, at, count) : bits === 16 ? new Int16Array(buffer, at, count) : bytes, () => Math.floor(real()));
  } else if (bits === 16) {
    const write = code === Code.bfloat ? bfloat : half;
    some(new Uint16Array(buffer, at, count), () => write(real()));
  } else if (bits === 8) some(bytes, () => Math.floor(real()));
  else some(bits === 64 ? new Float64Array(buffer, at, count) : new Float32Array(buffer, at, count), real);
}

const bits32 = (value: number): number => new Uint32Array(new Float32Array([value]).buffer)[0]!;
const bfloat = (value: number): number => bits32(value) >>> 16;
/** Of a number that a float16 holds with its full precision: rounded towards 0. */
const half = (value: number): number => (((bits32(value) >>> 23) - 112) << 10) | ((bits32(value) >>> 13) & 0x3ff);

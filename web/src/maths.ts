/** C's mathematics, where JavaScript has none or another. */

/** The error function, to about one unit in the last place of a float32: a continued fraction's tail, or a power series. */
export function erf(x: number): number {
  if (Number.isNaN(x)) return NaN;
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 200; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * sum;
  }
  return Math.sign(x) * (1 - beyond(a));
}

/** 1 − erf(a) for a from 2.5 on: a continued fraction. */
function beyond(a: number): number {
  let tail = 0;
  for (let n = 60; n > 0; n--) tail = n / 2 / (a + tail);
  return Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + tail));
}

/** 1 − erf(x), with its digits where that is small. */
export const erfc = (x: number): number => (x < 2.5 ? 1 - erf(x) : Number.isNaN(x) ? NaN : beyond(x));

// Lanczos' approximation of the gamma function with g = 7
const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905,
  -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** The logarithm of the gamma function's absolute value. */
export function lgamma(x: number): number {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? NaN : Infinity;
  if (x < 0.5) {
    const rest = x - Math.floor(x); // exact, however large x is
    return rest === 0 ? Infinity : Math.log(Math.PI / Math.sin(Math.PI * rest)) - lgamma(1 - x);
  }
  const y = x - 1;
  const t = y + 7.5;
  const sum = LANCZOS.reduce((total, c, n) => (n ? total + c / (y + n) : c), 0);
  return 0.5 * Math.log(2 * Math.PI) + (y + 0.5) * Math.log(t) - t + Math.log(sum);
}

/** To the nearest whole number, ties to the even one. */
export function rint(x: number): number {
  if (!Number.isFinite(x) || Math.abs(x) >= 2 ** 52) return x;
  const low = Math.floor(x);
  const rest = x - low;
  const whole = rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
  return whole === 0 ? (x < 0 || Object.is(x, -0) ? -0 : 0) : whole;
}

const bits = new DataView(new ArrayBuffer(8));

export function nextafter(x: number, y: number): number {
  if (Number.isNaN(x) || Number.isNaN(y)) return NaN;
  if (x === y) return y;
  if (x === 0) return Math.sign(y) * Number.MIN_VALUE;
  bits.setFloat64(0, x);
  bits.setBigInt64(0, bits.getBigInt64(0) + (y > x === x > 0 ? 1n : -1n));
  return bits.getFloat64(0);
}

export function nextafterf(x: number, y: number): number {
  if (Number.isNaN(x) || Number.isNaN(y)) return NaN;
  if (x === y) return y;
  if (x === 0) return Math.sign(y) * 2 ** -149;
  bits.setFloat32(0, x);
  bits.setInt32(0, bits.getInt32(0) + (y > x === x > 0 ? 1 : -1));
  return bits.getFloat32(0);
}

const numbers = (...x: number[]): number[] => x.filter((v) => !Number.isNaN(v));
const negative = (y: number): boolean => y < 0 || Object.is(y, -0);

export const MATHS: Record<string, (...x: number[]) => number> = {
  acos: Math.acos, acosh: Math.acosh, asin: Math.asin, asinh: Math.asinh, atan: Math.atan, atanh: Math.atanh, cbrt: Math.cbrt,
  ceil: Math.ceil, cos: Math.cos, cosh: Math.cosh, exp: Math.exp, expm1: Math.expm1, fabs: Math.abs, floor: Math.floor, log: Math.log,
  log10: Math.log10, log1p: Math.log1p, log2: Math.log2, sin: Math.sin, sinh: Math.sinh, sqrt: Math.sqrt, tan: Math.tan, tanh: Math.tanh,
  trunc: Math.trunc, atan2: Math.atan2, hypot: Math.hypot,
  exp2: (x) => 2 ** x!,
  exp10: (x) => 10 ** x!,
  erf: (x) => erf(x!),
  erfc: (x) => erfc(x!),
  lgamma: (x) => lgamma(x!),
  rint: (x) => rint(x!),
  nearbyint: (x) => rint(x!),
  round: (x) => (Math.abs(x!) >= 2 ** 52 ? x! : Math.trunc(x!) + (Math.abs(x! - Math.trunc(x!)) >= 0.5 ? Math.sign(x!) : 0)),
  copysign: (x, y) => (negative(y!) ? -Math.abs(x!) : Math.abs(x!)),
  fmax: (...x) => (numbers(...x).length ? Math.max(...numbers(...x)) : NaN),
  fmin: (...x) => (numbers(...x).length ? Math.min(...numbers(...x)) : NaN),
  fmod: (x, y) => x! % y!,
  // C's pow is 1 for a base of 1, whatever the exponent, and for −1 to an infinite one
  pow: (x, y) => (x === 1 || (x === -1 && !Number.isFinite(y!) && !Number.isNaN(y!)) ? 1 : x! ** y!),
};

/** C's mathematics, where JavaScript has none or another. */
/** The error function, to about one unit in the last place of a float32: a continued fraction's tail, or a power series. */
export declare function erf(x: number): number;
/** 1 − erf(x), with its digits where that is small. */
export declare const erfc: (x: number) => number;
/** The logarithm of the gamma function's absolute value. */
export declare function lgamma(x: number): number;
/** To the nearest whole number, ties to the even one. */
export declare function rint(x: number): number;
export declare function nextafter(x: number, y: number): number;
export declare function nextafterf(x: number, y: number): number;
export declare const MATHS: Record<string, (...x: number[]) => number>;

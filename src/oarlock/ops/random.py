"""Random numbers, from a hash of the operation's name, its seed and the element's place.

There is no state: a compiled model draws the same numbers at each run, other ones for each operation.  Paddle's own numbers
are another sequence; only the distributions agree.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

from tvm import relax, tirx

from ..errors import UnsupportedError
from ..model.program import Op
from .builder import Builder, cast_expr
from .kernels import flat, put_back, sorted_order
from .reduce import extreme_index
from .registry import Ints, Scalar, operator
from .serial import both, cell, i64, kernel, loop, parallel, when, while_
from .special import erfinv
from .tensor import Dim, PrimExpr, Tensor

TINY = 2.0**-53


def key_of(op: Op, seed: int) -> int:
    return zlib.crc32(f"{op.handle}/{seed}".encode())


def _u32(value: Any) -> PrimExpr:
    return tirx.const(value, "uint32") if isinstance(value, int) else tirx.Cast("uint32", value)


def _mixed(h: PrimExpr) -> PrimExpr:
    """MurmurHash3's finaliser: every bit depends on every bit."""
    h = (h ^ (h >> _u32(16))) * _u32(0x85EBCA6B)
    h = (h ^ (h >> _u32(13))) * _u32(0xC2B2AE35)
    return h ^ (h >> _u32(16))


def _bits(place: PrimExpr, draw: Any, key: int) -> PrimExpr:
    """32 random bits for a draw (a number or an expression) at a place (int64)."""
    h = _mixed(_u32(place) ^ _u32(key))
    h = _mixed(h + _u32(tirx.shift_right(place, i64(32))) * _u32(0x9E3779B9) + _u32(0x7F4A7C15))
    return _mixed(h + _u32(draw) * _u32(0x9E3779B9) + _u32(0x165667B1))


def draw01(place: PrimExpr, draw: Any, key: int) -> PrimExpr:
    """A float64 of 53 random bits, 0 ≤ u < 1."""
    first, second = draw * 2, draw * 2 + 1
    high = tirx.Cast("float64", _bits(place, first, key) >> _u32(5))
    low = tirx.Cast("float64", _bits(place, second, key) >> _u32(6))
    return (high * tirx.const(67108864.0, "float64") + low) * tirx.const(TINY, "float64")


def normal(place: PrimExpr, draw: Any, key: int) -> PrimExpr:
    """A standard normal float64 (Box-Muller); takes the draws 2·draw and 2·draw + 1."""
    u = tirx.const(1.0, "float64") - draw01(place, draw * 2, key)
    angle = draw01(place, draw * 2 + 1, key) * tirx.const(2 * math.pi, "float64")
    return tirx.sqrt(tirx.const(-2.0, "float64") * tirx.log(u)) * tirx.cos(angle)


def _place(index: tuple[Any, ...], shape: list[Dim]) -> PrimExpr:
    at: Any = i64(0)
    for i, d in zip(index, shape, strict=True):
        at = at * i64(d) + i
    return at


def _filled(b: Builder, shape: list[Dim], dtype: str, fn: Callable[..., PrimExpr], *inputs: Tensor, name: str) -> Tensor:
    """fn(place, elements of the inputs…) → element."""

    def element(*args: Any) -> PrimExpr:
        tensors, index = args[: len(inputs)], args[len(inputs) :]
        return cast_expr(fn(_place(index, shape), *[t(*index) if len(t.shape) else t() for t in tensors]), dtype)

    return b.compute(shape, element, *inputs, name=name)


def _scalars(b: Builder, *values: Any) -> tuple[list[Tensor], Callable[..., list[PrimExpr]]]:
    """Numbers that may be 0-D tensors: the tensors, and a function from their elements to all values as float64."""
    given = [v for v in values if isinstance(v, Tensor)]

    def every(*elements: Any) -> list[PrimExpr]:
        rest = iter(elements)
        return [cast_expr(next(rest) if isinstance(v, Tensor) else float(v), "float64") for v in values]

    return given, every


def _uniform(b: Builder, op: Op, shape: list[Dim], low: Any, high: Any, seed: int, dtype: str) -> Tensor:
    given, values = _scalars(b, low, high)
    key = key_of(op, seed)

    def fn(place: Any, *elements: Any) -> PrimExpr:
        first, last = values(*elements)
        return first + draw01(place, 0, key) * (last - first)

    return _filled(b, shape, dtype, fn, *given, name="uniform")


@operator
def uniform(b: Builder, op: Op, shape: Ints, min: Scalar, max: Scalar, seed: int = 0, dtype: str = "float32") -> Tensor:
    """min ≤ value < max, equally likely."""
    return _uniform(b, op, shape, min, max, seed, dtype)


@operator
def uniform_inplace(
    b: Builder, op: Op, x: Tensor, min: float = -1.0, max: float = 1.0, seed: int = 0, diag_num: int = 0, diag_step: int = 0,
    diag_val: float = 1.0,
) -> Tensor:  # fmt: skip
    """Shaped as x: min ≤ value < max, equally likely."""
    if diag_num:
        raise UnsupportedError("uniform_inplace with a diagonal is not supported")
    return _uniform(b, op, x.shape, min, max, seed, x.dtype)


@operator
def uniform_random_batch_size_like(
    b: Builder, op: Op, input: Tensor, shape: list, input_dim_idx: int = 0, output_dim_idx: int = 0, min: float = -1.0, max: float = 1.0,
    seed: int = 0, diag_num: int = 0, diag_step: int = 0, diag_val: float = 1.0, dtype: str = "float32",
) -> Tensor:  # fmt: skip
    """min ≤ value < max, equally likely, with one dim taken from a tensor."""
    if diag_num:
        raise UnsupportedError("uniform_random_batch_size_like with a diagonal is not supported")
    dims = [input.shape[input_dim_idx] if i == output_dim_idx else d for i, d in enumerate(shape)]
    return _uniform(b, op, dims, min, max, seed, dtype)


def _gaussian(b: Builder, op: Op, shape: list[Dim], mean: float, std: float, seed: int, dtype: str) -> Tensor:
    key = key_of(op, seed)
    return _filled(b, shape, dtype, lambda at: normal(at, 0, key) * cast_expr(std, "float64") + cast_expr(mean, "float64"), name="gaussian")


@operator
def gaussian(b: Builder, op: Op, shape: Ints, mean: float = 0.0, std: float = 1.0, seed: int = 0, dtype: str = "float32") -> Tensor:
    """Normal numbers."""
    return _gaussian(b, op, shape, float(mean), float(std), seed, dtype)


@operator
def gaussian_inplace(b: Builder, op: Op, x: Tensor, mean: float = 0.0, std: float = 1.0, seed: int = 0) -> Tensor:
    """Normal numbers, shaped as x."""
    return _gaussian(b, op, x.shape, float(mean), float(std), seed, x.dtype)


@operator
def truncated_gaussian_random(
    b: Builder, op: Op, shape: list, mean: float, std: float, seed: int = 0, a: float = -2.0, b_: float = 2.0, dtype: str = "float32"
) -> Tensor:
    """Normal numbers between a and b, by the inverse of the distribution's own integral."""
    if std <= 0:
        raise UnsupportedError(f"truncated_gaussian_random with std={std}")
    first, last = (math.erf((limit - mean) / (std * math.sqrt(2))) for limit in (a, b_))
    share = _uniform(b, op, list(shape), first, last, seed, "float64")
    value = erfinv(b, share) * (std * math.sqrt(2)) + mean
    return b.emit(relax.op.clip(value.expr, a, b_)).astype(dtype)


@operator
def randint(b: Builder, op: Op, shape: Ints, low: int, high: int, dtype: str = "int64", seed: int = 0) -> Tensor:
    """Integers low ≤ value < high."""
    key, span = key_of(op, seed), float(high - low)
    return _filled(
        b, shape, dtype, lambda at: tirx.Cast("int64", draw01(at, 0, key) * tirx.const(span, "float64")) + i64(low), name="randint"
    )


@operator
def randperm(b: Builder, op: Op, n: int, dtype: str = "int64") -> Tensor:
    """0 … n − 1 shuffled."""
    keys = _uniform(b, op, [1, n], 0.0, 1.0, 0, "float64")
    return b.reshape(sorted_order(b, keys), [n]).astype(dtype)


@operator
def bernoulli(b: Builder, op: Op, x: Tensor) -> Tensor:
    """1 with the probability x, else 0."""
    key = key_of(op, 0)
    return _filled(b, x.shape, x.dtype, lambda at, p: tirx.Cast("int32", draw01(at, 0, key) < cast_expr(p, "float64")), x, name="bernoulli")


@operator("exponential")
def exponential(b: Builder, op: Op, x: Tensor, lam: float = 1.0) -> Tensor:
    """Exponential numbers of the rate lam, shaped as x."""
    key = key_of(op, 0)

    def fn(at: Any) -> PrimExpr:
        return tirx.log(tirx.const(1.0, "float64") - draw01(at, 0, key)) * tirx.const(-1.0 / lam, "float64")

    return _filled(b, x.shape, x.dtype, fn, name="exponential")


@operator
def poisson(b: Builder, op: Op, x: Tensor) -> Tensor:
    """Poisson numbers of the rates x: how many exponential times fit into x."""
    key, rates = key_of(op, 0), flat(b, x)

    def body(rate: Any, out: Any) -> None:
        with parallel(rates.shape[0]) as i:
            time, count = cell("float64", 0.0), cell("int64", -1)
            with while_(time.v <= tirx.Cast("float64", rate[i])):
                count.v = count.v + 1
                time.v = time.v - tirx.log(tirx.const(1.0, "float64") - draw01(i, count.v, key))
            out[i] = tirx.Cast(x.dtype, tirx.max(count.v, i64(0)))

    return b.reshape(kernel(b, body, [rates], [(rates.shape, x.dtype)], "poisson")[0], x.shape)


@operator
def binomial(b: Builder, op: Op, count: Tensor, prob: Tensor) -> Tensor:
    """How many of ``count`` trials succeed with the probability ``prob``, int64."""
    key = key_of(op, 0)
    count, prob = b.broadcast(count, prob)
    shape = b.broadcast_shape(count.shape, prob.shape)
    trials, chance = flat(b, b.broadcast_to(count, shape)), flat(b, b.broadcast_to(prob, shape))

    def body(n: Any, p: Any, out: Any) -> None:
        with parallel(trials.shape[0]) as i:
            hits = cell("int64", 0)
            with loop(tirx.Cast("int64", n[i])) as k, when(draw01(i, k, key) < tirx.Cast("float64", p[i])):
                hits.v = hits.v + 1
            out[i] = hits.v

    return b.reshape(kernel(b, body, [trials, chance], [(trials.shape, "int64")], "binomial")[0], shape)


@operator
def multinomial(b: Builder, op: Op, x: Tensor, num_samples: Scalar = 1, replacement: bool = False) -> Tensor:
    """Classes drawn with the probabilities (or weights) of the last axis, int64."""
    key = key_of(op, 0)
    (samples,) = b.dims([num_samples])
    classes = x.shape[-1]
    rows = b.reshape(x, [1, classes]) if x.ndim == 1 else x
    n = rows.shape[0]

    if not replacement:
        # the largest log(u) / p are a sample without replacement
        def weight(at: Any, p: Any) -> PrimExpr:
            u = draw01(at, 0, key) + tirx.const(TINY, "float64")
            p = tirx.Cast("float64", p)
            possible = p > tirx.const(0.0, "float64")
            return tirx.Select(possible, tirx.log(u) / tirx.max(p, tirx.const(1e-300, "float64")), tirx.min_value("float64"))

        keys = _filled(b, rows.shape, "float64", weight, rows, name="multinomial_keys")
        out = b.slice(sorted_order(b, keys, descending=True), 1, 0, samples)
        return put_back(b, out, list(range(x.ndim)), list(x.shape)) if x.ndim > 1 else b.reshape(out, [samples])

    def body(p: Any, out: Any) -> None:
        with parallel(n) as r:
            total = cell("float64", 0.0)
            with loop(classes) as c:
                total.v = total.v + tirx.Cast("float64", p[r, c])
            with loop(samples) as s:
                left, at = cell("float64", 0.0), cell("int64", 0)
                left.v = draw01(r * i64(samples) + s, 0, key) * total.v - tirx.Cast("float64", p[r, 0])
                with while_(both(left.v >= tirx.const(0.0, "float64"), at.v < i64(classes) - 1)):
                    at.v = at.v + 1
                    left.v = left.v - tirx.Cast("float64", p[r, at.v])
                out[r, s] = at.v

    (out,) = kernel(b, body, [rows], [([n, samples], "int64")], "multinomial")
    return out if x.ndim > 1 else b.reshape(out, [samples])


def _gamma(b: Builder, op: Op, alpha: Tensor) -> Tensor:
    """Gamma numbers of the shapes alpha, float64 (Marsaglia and Tsang)."""
    key, shapes = key_of(op, 0), flat(b, alpha)
    one = tirx.const(1.0, "float64")

    def body(shape_of: Any, out: Any) -> None:
        with parallel(shapes.shape[0]) as i:
            a = cell("float64", 0.0)
            a.v = tirx.Cast("float64", shape_of[i])
            boost = cell("float64", 1.0)
            with when(a.v < one):  # gamma(a) = gamma(a + 1) · u^(1/a)
                boost.v = tirx.exp(tirx.log(one - draw01(i, 0, key)) / a.v)
                a.v = a.v + one
            # no gamma number has another shape: NaN, and no search without end
            possible = tirx.all(shape_of[i] > tirx.const(0.0, alpha.dtype), tirx.isfinite(a.v))
            first = tirx.Select(possible, tirx.const(-1.0, "float64"), tirx.const(math.nan, "float64"))
            d, result, draw = cell("float64", 0.0), cell("float64", first), cell("int64", 1)
            d.v = a.v - tirx.const(1.0 / 3.0, "float64")
            with while_(result.v < tirx.const(0.0, "float64")):
                z, v = cell("float64", 0.0), cell("float64", 0.0)
                z.v = normal(i, draw.v * 2, key)
                v.v = one + z.v / tirx.sqrt(d.v * tirx.const(9.0, "float64"))
                v.v = v.v * v.v * v.v
                u = one - draw01(i, draw.v * 4 + 2, key)
                half = tirx.const(0.5, "float64") * z.v * z.v
                with when(v.v > tirx.const(0.0, "float64")), when(tirx.log(u) < half + d.v - d.v * v.v + d.v * tirx.log(v.v)):
                    result.v = d.v * v.v
                draw.v = draw.v + 1
            out[i] = result.v * boost.v

    return b.reshape(kernel(b, body, [shapes], [(shapes.shape, "float64")], "gamma")[0], alpha.shape)


@operator
def standard_gamma(b: Builder, op: Op, x: Tensor) -> Tensor:
    """Gamma numbers of the shapes x and the rate 1."""
    return _gamma(b, op, x).astype(x.dtype)


@operator
def dirichlet(b: Builder, op: Op, alpha: Tensor) -> Tensor:
    """Points of the simplex: gamma numbers divided by their sum along the last axis."""
    raw = _gamma(b, op, alpha)
    total = b.emit(relax.op.sum(raw.expr, [-1], keepdims=True))
    return (raw / total).astype(alpha.dtype)


@operator
def gumbel_softmax(b: Builder, op: Op, x: Tensor, temperature: float = 1.0, hard: bool = False, axis: int = -1) -> Tensor:
    """softmax((x + Gumbel numbers) / temperature) along an axis; hard: 1 where that is largest, else 0."""
    key = key_of(op, 0)
    if x.ndim == 0:
        return b.full([], 1.0, x.dtype)
    at = axis % x.ndim
    tiny = tirx.const(TINY, "float64")

    def fn(place: Any, value: Any) -> PrimExpr:
        u = draw01(place, 0, key) + tiny * tirx.const(0.5, "float64")
        noise = -tirx.log(-tirx.log(u))
        return (tirx.Cast("float64", value) + noise) / tirx.const(temperature, "float64")

    soft = b.emit(relax.op.nn.softmax(_filled(b, x.shape, "float32", fn, x, name="gumbel").expr, at)).astype(x.dtype)
    if not hard:
        return soft
    first = extreme_index(b, soft, at, True, "int64")

    def chosen(t: Any, *index: Any) -> PrimExpr:
        return tirx.Cast(x.dtype, i64(index[at]) == t(*index[:at], *index[at + 1 :]))

    return b.compute(x.shape, chosen, first, name="one_hot")

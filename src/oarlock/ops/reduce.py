"""Reductions: sums, extremes, means, norms, and where the extremes stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from ..errors import UnsupportedError
from . import scalar as s
from .builder import Builder
from .registry import Ints, NotKnown, Scalar, operator
from .scalar import HALF, elementwise, num, select
from .serial import i64
from .tensor import Dim, PrimExpr, Tensor

Axes = Sequence[Any] | int | None


def resolve_axes(x: Tensor, axis: Axes) -> list[int]:
    """The axes counted from the front, sorted; none given means all."""
    given = [axis] if isinstance(axis, int) else list(axis or [])
    if any(isinstance(a, PrimExpr) for a in given):
        raise UnsupportedError("this reduction along an axis known only at run time")
    if not given or x.ndim == 0:
        return list(range(x.ndim))
    axes = sorted({a + x.ndim if a < 0 else a for a in map(int, given)})
    if axes[0] < 0 or axes[-1] >= x.ndim:
        raise UnsupportedError(f"axes {given} of a tensor of {x.ndim} dims")
    return axes


def reduced(b: Builder, op: Callable[..., relax.Expr], x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    """A Relax reduction; half floats are accumulated in float32."""
    if not axes:
        return x
    if x.dtype in HALF:
        return b.emit(op(x.astype("float32").expr, axes, keepdim)).astype(x.dtype)
    return b.emit(op(x.expr, axes, keepdim))


def along_run_time_axes(b: Builder, x: Tensor, axis: Axes, keepdim: bool, reduce: Callable[[Tensor], Tensor]) -> Tensor | None:
    """A reduction of which an axis is known only at run time: ``reduce`` drops the last axis; None where all axes are known."""
    given = [axis] if isinstance(axis, int) else list(axis or [])
    if not any(isinstance(a, PrimExpr) for a in given) or x.ndim == 0:
        return None
    if len(given) > 1 and not keepdim:
        raise UnsupportedError("a reduction along several axes, of which one is known only at run time, that drops them", todo="keep them")
    for a in given:
        at = select(i64(a) < 0, i64(a) + x.ndim, i64(a))
        rest = [b.simplify(select(at > k, i64(x.shape[k]), i64(x.shape[k + 1]))) for k in range(x.ndim - 1)]
        extent: Any = i64(x.shape[-1])
        for k in range(x.ndim - 1):
            extent = select(at == k, i64(x.shape[k]), extent)

        def moved(t: Any, *i: Any, at: Any = at) -> PrimExpr:
            before, after = i, (i[-1], *i[:-1])  # the places of an axis before and after the one that is reduced
            return t(*[select(at == k, i[-1], select(at > k, before[k], after[k])) for k in range(len(i))])

        kept = [b.simplify(select(at == k, i64(1), i64(d))) for k, d in enumerate(x.shape)]
        x = reduce(b.compute(_settled(b, [*rest, b.simplify(extent)]), moved, x, name="axis_last"))
        x = x.reshape(_settled(b, kept)) if keepdim else x
    return x


def _settled(b: Builder, dims: Sequence[Dim]) -> list[Dim]:
    """Sizes with conditions in them, which TVM's check of a kernel's arguments gets wrong, as variables that the run gives a value."""

    def size(i: PrimExpr) -> PrimExpr:
        value = i64(dims[-1])
        for k in reversed(range(len(dims) - 1)):
            value = select(i == k, i64(dims[k]), value)
        return value

    return b.dims(b.compute([len(dims)], size, name="sizes"))


def squeezed(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    """Without the axes (of size 1) unless they are kept."""
    return x if keepdim else x.reshape([d for i, d in enumerate(x.shape) if i not in axes])


def _known_axes(x: np.ndarray, axis: Axes) -> tuple[int, ...]:
    given = [axis] if isinstance(axis, int) else list(axis or [])
    return tuple(int(a) for a in given) if given and x.ndim else tuple(range(x.ndim))


def _fold_integers(fn: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """Fold a reduction of integers, also symbolic ones when numpy's own ``fn`` can."""

    def fold(x: np.ndarray, axis: Axes = (), keepdim: bool = False, **_: Any) -> np.ndarray:
        if x.dtype.kind not in "iubO" or (x.dtype == object and fn not in (np.sum, np.prod)) or x.size == 0:
            raise NotKnown
        if fn is np.sum and x.dtype != object and x.dtype != np.int64:
            x = x.astype("int64")
        out = np.asarray(fn(x, axis=_known_axes(x, axis), keepdims=keepdim))
        return out if out.dtype in (object, bool) or x.dtype == object else out.astype(x.dtype)

    return fold


# ---- sums ------------------------------------------------------------------------------------------------------------


def _fold_sum(x: np.ndarray, axis: Axes = (), dtype: str = "undefined", keepdim: bool = False) -> np.ndarray:
    if dtype not in ("undefined", "", "int64"):
        raise NotKnown
    return _fold_integers(np.sum)(x, axis, keepdim)


@operator("sum", fold=_fold_sum)
def sum_(b: Builder, x: Tensor, axis: Ints = (), dtype: Any = "undefined", keepdim: bool = False) -> Tensor:  # type: ignore[assignment]
    """Σx in ``dtype``; bools and int32 are counted in int64."""
    if isinstance(dtype, str) and dtype not in ("undefined", "Undefined", ""):
        x = x.astype(dtype)
    elif x.dtype in ("bool", "int32"):
        x = x.astype("int64")
    if (out := along_run_time_axes(b, x, axis, keepdim, lambda t: total(b, t, [t.ndim - 1]))) is not None:
        return out
    return total(b, x, resolve_axes(x, axis), keepdim)


def total(b: Builder, x: Tensor, axes: list[int], keepdim: bool = False) -> Tensor:
    """Σx along axes."""
    return reduced(b, relax.op.sum, x, axes, keepdim)


@operator
def nansum(b: Builder, x: Tensor, axis: Any = (), dtype: Any = "undefined", keepdim: bool = False) -> Tensor:
    """Σx of what is no NaN."""
    return sum_(b, elementwise(b, "no_nan", _nan_to_zero, x) if x.is_float else x, axis, dtype, keepdim)


def _nan_to_zero(v: PrimExpr) -> PrimExpr:
    return select(tirx.isnan(v), num(v, 0.0), v)


@operator
def mean(b: Builder, x: Tensor, axis: Ints = (), keepdim: bool = False) -> Tensor:  # type: ignore[assignment]
    """Σx / n; of integers the truncated one, of bools whether any holds."""
    if x.is_float and (out := along_run_time_axes(b, x, axis, keepdim, lambda t: mean(b, t, [-1]))) is not None:
        return out
    axes = resolve_axes(x, axis)
    if not x.is_float:
        return mean(b, x.astype("float64"), axes, keepdim).astype(x.dtype)
    if any(isinstance(x.shape[a], int) and x.shape[a] == 0 for a in axes):  # TVM divides by the 0 while it compiles
        left = [1 if a in axes else d for a, d in enumerate(x.shape)] if keepdim else [d for a, d in enumerate(x.shape) if a not in axes]
        return b.full(left, float("nan"), x.dtype)
    return reduced(b, relax.op.mean, x, axes, keepdim)


@operator
def mean_all(b: Builder, x: Tensor) -> Tensor:
    """The mean of all elements, 0-D."""
    return mean(b, x)


@operator
def reduce_as(b: Builder, x: Tensor, target: Tensor) -> Tensor:
    """Σx along the axes that broadcasting target to x would add or stretch; bools and int32 are counted in int64."""
    lead = x.ndim - target.ndim
    for d, t in zip(x.shape[lead:], target.shape, strict=True):
        if not (isinstance(t, int) or b.equal(d, t)) or (t == 1 and not isinstance(d, int)):
            raise UnsupportedError(f"reduce_as of {x.shape} to {target.shape}: which dims to add up is not known while compiling")
    pairs = enumerate(zip(x.shape[lead:], target.shape, strict=True))
    stretched = [lead + i for i, (d, t) in pairs if isinstance(t, int) and t == 1 and d != 1]
    if x.dtype in ("bool", "int32") and (stretched or lead):
        x = x.astype("int64")
    out = total(b, x, stretched, True) if stretched else x
    return total(b, out, list(range(lead))) if lead else out


@operator("prod", fold=lambda x, axis=(), keepdim=False, reduce_all=False: _fold_integers(np.prod)(x, () if reduce_all else axis, keepdim))
def prod(b: Builder, x: Tensor, axis: Ints = (), keepdim: bool = False, reduce_all: bool = False) -> Tensor:  # type: ignore[assignment]
    """Πx."""
    if not reduce_all and (out := along_run_time_axes(b, x, axis, keepdim, lambda t: prod(b, t, [-1]))) is not None:
        return out
    return reduced(b, relax.op.prod, x, resolve_axes(x, () if reduce_all else axis), keepdim)


# ---- extremes --------------------------------------------------------------------------------------------------------


@operator("max", fold=_fold_integers(np.max))
def max_(b: Builder, x: Tensor, axis: Ints = (), keepdim: bool = False) -> Tensor:  # type: ignore[assignment]
    """The largest."""
    if (out := along_run_time_axes(b, x, axis, keepdim, lambda t: max_(b, t, [-1]))) is not None:
        return out
    return reduced(b, relax.op.max, x, resolve_axes(x, axis), keepdim)


@operator("min", fold=_fold_integers(np.min))
def min_(b: Builder, x: Tensor, axis: Ints = (), keepdim: bool = False) -> Tensor:  # type: ignore[assignment]
    """The smallest."""
    if (out := along_run_time_axes(b, x, axis, keepdim, lambda t: min_(b, t, [-1]))) is not None:
        return out
    return reduced(b, relax.op.min, x, resolve_axes(x, axis), keepdim)


@operator
def amax(b: Builder, x: Tensor, axis: Any = (), keepdim: bool = False) -> Tensor:
    """The largest (differs from max in its gradient only)."""
    return max_(b, x, axis, keepdim)


@operator
def amin(b: Builder, x: Tensor, axis: Any = (), keepdim: bool = False) -> Tensor:
    """The smallest (differs from min in its gradient only)."""
    return min_(b, x, axis, keepdim)


@operator("any", fold=_fold_integers(np.any))
def any_(b: Builder, x: Tensor, axis: Any = (), keepdim: bool = False) -> Tensor:
    """Whether any is true (not 0)."""
    return _truth(b, relax.op.max, x, axis, keepdim)


@operator("all", fold=_fold_integers(np.all))
def all_(b: Builder, x: Tensor, axis: Any = (), keepdim: bool = False) -> Tensor:
    """Whether all are true (not 0)."""
    return _truth(b, relax.op.min, x, axis, keepdim)


def _truth(b: Builder, op: Callable[..., relax.Expr], x: Tensor, axis: Any, keepdim: bool) -> Tensor:
    truth = x.astype("bool")
    return reduced(b, op, truth.astype("int8"), resolve_axes(x, axis), keepdim).astype("bool") if x.ndim else truth


def extreme_index(b: Builder, x: Tensor, axis: int, largest: bool, dtype: str) -> Tensor:
    """Where the first extreme along an axis stands, the axis dropped; NaN is passed over (0 where all are)."""
    n = x.shape[axis]
    shape = [d for i, d in enumerate(x.shape) if i != axis]
    bound = tirx.min_value(x.dtype) if largest else tirx.max_value(x.dtype)
    if x.is_float:
        bound = tirx.const(-np.inf if largest else np.inf, x.dtype)

    def combine(left: Any, right: Any) -> Any:
        better = right[1] > left[1] if largest else right[1] < left[1]
        take = tirx.any(better, tirx.all(right[1] == left[1], right[0] < left[0]))
        return select(take, right[0], left[0]), select(take, right[1], left[1])

    reducer = te.comm_reducer(combine, lambda t0, t1: (tirx.max_value(t0), bound), name="arg_extreme")

    def build(t: te.Tensor) -> te.Tensor:
        k = te.reduce_axis((0, n), name="k")
        both = te.compute(shape, lambda *i: reducer((tirx.Cast("int64", k), t(*i[:axis], k, *i[axis:])), axis=k), name="arg_extreme")
        none = tirx.max_value("int64")
        return te.compute(shape, lambda *i: tirx.Cast(dtype, select(both[0](*i) == none, i64(0), both[0](*i))), name="index")

    return b.te(build, x, name="argmax" if largest else "argmin")


def _arg(b: Builder, x: Tensor, axis: Scalar, keepdims: bool, flatten: bool, dtype: str, largest: bool) -> Tensor:
    if not isinstance(axis, int | float):
        raise UnsupportedError("argmax along an axis known only at run time")
    dtype = "int64" if dtype not in ("int32", "int64", "uint8", "int16") else dtype
    x = x.astype("int8") if x.dtype == "bool" else x
    if x.ndim == 0:
        return b.full([], 0, dtype)
    rank, axis = x.ndim, int(axis)
    if flatten:
        out = extreme_index(b, x.reshape([x.size]), 0, largest, dtype)
        return out.reshape([1] * rank) if keepdims else out
    axis += rank if axis < 0 else 0
    out = extreme_index(b, x, axis, largest, dtype)
    return out.reshape([1 if i == axis else d for i, d in enumerate(x.shape)]) if keepdims else out


@operator
def argmax(b: Builder, x: Tensor, axis: Scalar, keepdims: bool = False, flatten: bool = False, dtype: str = "int64") -> Tensor:
    """Where the first largest stands along an axis, or in the flattened tensor."""
    return _arg(b, x, axis, keepdims, flatten, dtype, True)


@operator
def argmin(b: Builder, x: Tensor, axis: Scalar, keepdims: bool = False, flatten: bool = False, dtype: str = "int64") -> Tensor:
    """Where the first smallest stands along an axis, or in the flattened tensor."""
    return _arg(b, x, axis, keepdims, flatten, dtype, False)


# ---- logarithms and norms --------------------------------------------------------------------------------------------


@operator
def logsumexp(b: Builder, x: Tensor, axis: Any = (), keepdim: bool = False, reduce_all: bool = False) -> Tensor:
    """log Σ exp(x), without overflow."""
    x = s.floating(x)
    axes = resolve_axes(x, () if reduce_all else axis)
    if not axes:
        return x
    top = reduced(b, relax.op.max, x, axes, True)
    top = elementwise(b, "finite", lambda v: select(tirx.isinf(v), num(v, 0.0), v), top)
    shifted = elementwise(b, "exp_shifted", lambda v, t: tirx.exp(v - t), x, top)
    out = elementwise(b, "log_shifted", lambda v, t: tirx.log(v) + t, total(b, shifted, axes, True), top)
    return squeezed(out, axes, keepdim)


def norm_along(b: Builder, x: Tensor, porder: float, axes: list[int], keepdim: bool) -> Tensor:
    """(Σ|x|ᵖ)^(1/p) along axes; p = ±inf gives the extremes, p = 0 counts what is not 0."""
    if porder == 0:
        return total(b, x.astype("bool").astype(x.dtype), axes, keepdim)
    if porder in (float("inf"), float("-inf")):
        return reduced(b, relax.op.max if porder > 0 else relax.op.min, b.emit(relax.op.abs(x.expr)), axes, keepdim)
    if porder == 1:
        return total(b, b.emit(relax.op.abs(x.expr)), axes, keepdim)
    if porder == 2:
        return b.emit(relax.op.sqrt(total(b, x * x, axes, keepdim).expr))
    powers = elementwise(b, "abs_power", lambda v: s.power(tirx.abs(v), num(v, porder)), x)
    return elementwise(b, "root", lambda v: s.power(v, num(v, 1.0 / porder)), total(b, powers, axes, keepdim))


@operator
def p_norm(
    b: Builder, x: Tensor, porder: float = 2.0, axis: int = -1, epsilon: float = 1e-12, keepdim: bool = False, asvector: bool = False
) -> Tensor:
    """The p-norm along one axis, or of all elements (epsilon matters to gradients only)."""
    return norm_along(b, x, float(porder), resolve_axes(x, None if asvector else axis), keepdim)


@operator
def frobenius_norm(b: Builder, x: Tensor, axis: Ints = (), keep_dim: bool = False, reduce_all: bool = False) -> Tensor:  # type: ignore[assignment]
    """√Σx²."""
    return norm_along(b, x, 2.0, resolve_axes(x, () if reduce_all else axis), keep_dim)


@operator
def squared_l2_norm(b: Builder, x: Tensor) -> Tensor:
    """Σx², of shape [1]."""
    return total(b, x * x, resolve_axes(x, None)).reshape([1])


@operator
def l1_norm(b: Builder, x: Tensor) -> Tensor:
    """Σ|x|, 0-D."""
    return norm_along(b, x, 1.0, resolve_axes(x, None), False)


@operator
def clip_by_norm(b: Builder, x: Tensor, max_norm: float) -> Tensor:
    """x scaled down so that its 2-norm is at most max_norm."""
    norm = norm_along(b, x, 2.0, resolve_axes(x, None), False)
    factor = elementwise(b, "clip_factor", lambda v: select(v > num(v, max_norm), num(v, max_norm) / v, num(v, 1.0)), norm)
    return x * factor


@operator
def dist(b: Builder, x: Tensor, y: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm of x − y, 0-D."""
    difference = x - y
    return norm_along(b, difference, float(p), resolve_axes(difference, None), False)


# ---- moments ---------------------------------------------------------------------------------------------------------


def _squared_deviations(b: Builder, x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    centre = mean(b, x, axes, True)
    return total(b, elementwise(b, "squared_deviation", lambda v, m: (v - m) * (v - m), x, centre), axes, keepdim)


@operator
def variance(b: Builder, x: Tensor, axis: Any = (), keepdim: bool = False) -> Tensor:
    """Σ(x − mean)² / n."""
    axes = resolve_axes(x, axis)
    return _squared_deviations(b, x, axes, keepdim) / _count(b, x, axes)


@operator
def std(b: Builder, x: Tensor, axis: Any = (), keepdim: bool = False, unbiased: bool = True, correction: float = 1.0) -> Tensor:
    """√(Σ(x − mean)² / (n − correction))."""
    axes = resolve_axes(x, axis)
    degrees = _count(b, x, axes)
    correction = correction if unbiased else 0.0
    degrees = elementwise(b, "degrees", lambda n: tirx.max(n - num(n, correction), num(n, 0.0)), degrees) if correction else degrees
    return b.emit(relax.op.sqrt((_squared_deviations(b, x, axes, keepdim) / degrees).expr))


def _count(b: Builder, x: Tensor, axes: list[int]) -> Tensor:
    count: Any = 1
    for a in axes:
        count = count * x.shape[a]
    return b.known(b.simplify(count), "int64").astype("float64" if x.dtype == "float64" else "float32")

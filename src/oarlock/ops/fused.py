"""Fused operators that inference passes write: sums of their parts, of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from ..errors import UnsupportedError
from ..model.program import Op
from .builder import Builder
from .linalg import product
from .nn import activated
from .registry import operator
from .shape import product as count
from .tensor import Tensor

# ---- elementwise -----------------------------------------------------------------------------------------------------


def aligned(x: Tensor, y: Tensor, axis: int) -> Tensor:
    """y with axes of 1 behind it, so that its first axis meets ``axis`` of x (-1: numpy's broadcasting)."""
    rest = x.ndim - axis - y.ndim
    return y if axis == -1 or rest <= 0 else y.reshape([*y.shape, *[1] * rest])


_BINARY = {"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide"}


@operator("fused_elementwise_add", "fused_elementwise_sub", "fused_elementwise_mul", "fused_elementwise_div")
def fused_elementwise(
    b: Builder,
    op: Op,
    x: Tensor,
    y: Tensor,
    axis: int = -1,
    fuse_activation: str = "",
    fuse_alpha: float = 0.0,
    fuse_beta: float = 0.0,
) -> Tensor:
    """activation(x + y), or of the difference, product or quotient."""
    out = b.binary(_BINARY[op.short_name.rsplit("_", 1)[1]], x, aligned(x, y, axis))
    if fuse_activation == "leaky_relu" or not fuse_beta:
        return activated(b, out, fuse_activation, fuse_alpha)
    raise UnsupportedError(f"{op.short_name} with fuse_activation={fuse_activation!r} and fuse_beta={fuse_beta}")


def _one(b: Builder, x: Tensor, name: str, scale: float) -> Tensor:
    if name == "scale":
        return x * scale
    if name not in ("relu", "tanh", "sigmoid", "gelu"):
        raise UnsupportedError(f"the fused functor {name!r}")
    return activated(b, x, name)


def _two(b: Builder, x: Tensor, y: Tensor, name: str, axis: int) -> Tensor:
    if name not in ("elementwise_add", "elementwise_mul"):
        raise UnsupportedError(f"the fused functor {name!r}")
    return b.binary("add" if name == "elementwise_add" else "multiply", x, aligned(x, y, axis))


@operator("fused_elemwise_activation", "fused_elemwise_add_activation")
def fused_elemwise_activation(
    b: Builder,
    x: Tensor,
    y: Tensor,
    functor_list: list,
    axis: int = -1,
    scale: float = 0.0,
    save_intermediate_out: bool = False,
) -> tuple[Tensor, Tensor]:
    """Two functions, the second one first: f(g(x, y)), or g(x, f(y)); and what the inner one gave."""
    if len(functor_list) != 2:
        raise UnsupportedError(f"fused functors {functor_list}")
    outer, inner = (name.split(",")[0] for name in functor_list)
    if outer.startswith("elementwise"):
        middle = _one(b, y, inner, scale)
        return _two(b, x, middle, outer, axis), middle
    middle = _two(b, x, y, inner, axis)
    return _one(b, middle, outer, scale), middle


# ---- products --------------------------------------------------------------------------------------------------------


@operator
def linear_v2(b: Builder, input: Tensor, weight: Tensor, bias: Tensor | None = None, transpose_weight: bool = False) -> Tensor:
    """input · weight + bias."""
    out = product(b, input, weight.transpose([1, 0]) if transpose_weight else weight)
    return out if bias is None else out + bias


@operator
def fusion_squared_mat_sub(b: Builder, x: Tensor, y: Tensor, scalar: float = 1.0) -> tuple[Tensor, ...]:
    """((x · y)² − x² · y²) · scalar, behind the squares of x, of y and of the product."""
    first, second, whole = x * x, y * y, product(b, x, y)
    whole = whole * whole
    return first, second, whole, (whole - product(b, first, second)) * scalar


@operator
def fusion_repeated_fc_relu(b: Builder, x: Tensor, w: list[Tensor], bias: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """relu(… relu(x · w₀ + b₀) …), and what each layer but the last one gave."""
    steps: list[Tensor] = []
    for weight, shift in zip(w, bias, strict=True):
        x = activated(b, product(b, x, weight) + shift.reshape([1, shift.size]), "relu")
        steps.append(x)
    return steps[:-1], x


@operator
def fusion_transpose_flatten_concat(b: Builder, x: list[Tensor], trans_axis: list, flatten_axis: int, concat_axis: int) -> Tensor:
    """Each tensor with its axes in another order and flattened to a matrix, one behind the other."""
    parts = []
    for t in x:
        moved = t.transpose([int(a) for a in trans_axis])
        parts.append(b.reshape(moved, [count(b, moved.shape[:flatten_axis]), count(b, moved.shape[flatten_axis:])]))
    return b.concat(parts, concat_axis)


@operator
def batch_fc(b: Builder, input: Tensor, w: Tensor, bias: Tensor) -> Tensor:
    """relu(input · w + bias) of one matrix a batch: (slots, rows, in), (slots, in, out), (slots, out)."""
    slots, _, width = w.shape
    return activated(b, product(b, input, w) + bias.reshape([slots, 1, width]), "relu")


# ---- parts of rows ---------------------------------------------------------------------------------------------------


def _parts(b: Builder, x: Sequence[Tensor], start_index: int, length: int, name: str) -> list[Tensor]:
    """Columns start_index … start_index + length of every matrix (a length < 0: all that follow)."""
    out = []
    for t in x:
        if t.ndim != 2:
            raise UnsupportedError(f"{name} of tensors of rank {t.ndim}")
        width = t.shape[1]
        begin: Any = start_index if start_index >= 0 else b.simplify(width + start_index)
        out.append(b.slice(t, 1, begin, width if length < 0 else b.simplify(begin + length)))
    return out


@operator
def partial_concat(b: Builder, x: list[Tensor], start_index: int = 0, length: int = -1) -> Tensor:
    """The same columns of every matrix, side by side."""
    return b.concat(_parts(b, x, start_index, length, "partial_concat"), 1)


@operator
def partial_sum(b: Builder, x: list[Tensor], start_index: int = 0, length: int = -1) -> Tensor:
    """The sum of the same columns of every matrix."""
    first, *rest = _parts(b, x, start_index, length, "partial_sum")
    for part in rest:
        first = first + part
    return first


# ---- convolutional networks ------------------------------------------------------------------------------------------


@operator
def fused_scale_bias_add_relu(
    b: Builder,
    x1: Tensor,
    scale1: Tensor,
    bias1: Tensor,
    x2: Tensor,
    scale2: Tensor | None = None,
    bias2: Tensor | None = None,
    fuse_dual: bool = False,
    exhaustive_search: bool = False,
) -> Tensor:
    """relu(x1 · scale1 + bias1 + x2), where fuse_dual scales and shifts x2 too; channels are last."""

    def affine(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        return x * scale.reshape([scale.size]) + bias.reshape([bias.size])

    if fuse_dual and (scale2 is None or bias2 is None):
        raise UnsupportedError("fused_scale_bias_add_relu of two tensors without the second one's scale and bias")
    other = affine(x2, scale2, bias2) if fuse_dual and scale2 is not None and bias2 is not None else x2
    return b.emit(relax.op.nn.relu((affine(x1, scale1, bias1) + other).expr))

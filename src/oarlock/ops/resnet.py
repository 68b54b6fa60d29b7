"""Pieces of residual nets as one operator: resnet_unit, fused_bn_add_activation."""

from __future__ import annotations

from tvm import relax

from ..errors import UnsupportedError
from .builder import Builder
from .conv import convolve
from .norm import batch_norm
from .registry import operator
from .tensor import Tensor


def _activated(b: Builder, x: Tensor, act_type: str, name: str) -> Tensor:
    if act_type in ("", "identity"):
        return x
    if act_type != "relu":
        raise UnsupportedError(f"{name} with act_type={act_type!r}")
    return b.emit(relax.op.nn.relu(x.expr))


@operator
def resnet_unit(
    b: Builder,
    x: Tensor,
    filter_x: Tensor,
    scale_x: Tensor,
    bias_x: Tensor,
    mean_x: Tensor,
    var_x: Tensor,
    z: Tensor | None = None,
    filter_z: Tensor | None = None,
    scale_z: Tensor | None = None,
    bias_z: Tensor | None = None,
    mean_z: Tensor | None = None,
    var_z: Tensor | None = None,
    stride: int = 1,
    stride_z: int = 1,
    padding: int = 0,
    dilation: int = 1,
    group: int = 1,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    data_format: str = "NHWC",
    fuse_add: bool = False,
    has_shortcut: bool = False,
    use_global_stats: bool = False,
    is_test: bool = False,
    use_addto: bool = False,
    act_type: str = "relu",
) -> tuple[Tensor | None, ...]:
    """A convolution and its batch norm, plus z (fuse_add) or the same of z by its own filter (has_shortcut), then the activation.

    Data is channels-last, filters are (outputs, height, width, inputs).
    """
    if data_format != "NHWC":
        raise UnsupportedError(f"resnet_unit of {data_format} data")

    def branch(data: Tensor, filter_: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, step: int) -> Tensor:
        weight = filter_.transpose([0, 3, 1, 2])
        out = convolve(b, data, weight, [step, step], [padding, padding], "EXPLICIT", [dilation, dilation], group, "NHWC")
        flat = [t.reshape([t.size]) for t in (mean, var, scale, bias)]
        normal = batch_norm(b, out, *flat, is_test, momentum, epsilon, "NHWC", use_global_stats)[0]
        assert normal is not None
        return normal

    out = branch(x, filter_x, scale_x, bias_x, mean_x, var_x, stride)
    if has_shortcut:
        parts = (z, filter_z, scale_z, bias_z, mean_z, var_z)
        if any(t is None for t in parts):
            raise UnsupportedError("resnet_unit with a shortcut, of which a part is absent")
        out = out + branch(*parts, stride_z)  # type: ignore[arg-type]
    elif fuse_add:
        if z is None:
            raise UnsupportedError("resnet_unit that adds a tensor, which is absent")
        out = out + z
    return _activated(b, out, act_type, "resnet_unit"), *[None] * 11


@operator
def fused_bn_add_activation(
    b: Builder,
    x: Tensor,
    z: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    momentum: float,
    epsilon: float,
    act_type: str,
) -> tuple[Tensor | None, ...]:
    """batch_norm of channels-last data by the batch's own statistics (Paddle's kernel knows nothing else), plus z, then an activation."""
    out = batch_norm(b, x, mean, variance, scale, bias, False, momentum, epsilon, "NHWC")[0]
    assert out is not None
    return _activated(b, out + z, act_type, "fused_bn_add_activation"), *[None] * 5

"""Samples of ops/conv.py."""

from __future__ import annotations

from typing import Any

from .base import f32, f64, sample


def _conv2d(**kw: Any) -> Any:
    return lambda paddle, x, *w: paddle.nn.functional.conv2d(x, *w, **kw)


def _conv3d(**kw: Any) -> Any:
    return lambda paddle, x, *w: paddle.nn.functional.conv3d(x, *w, **kw)


def _transpose2d(**kw: Any) -> Any:
    return lambda paddle, x, *w: paddle.nn.functional.conv2d_transpose(x, *w, **kw)


def _transpose3d(**kw: Any) -> Any:
    return lambda paddle, x, *w: paddle.nn.functional.conv3d_transpose(x, *w, **kw)


W, B = {"w": f32(4, 3, 3, 3)}, {"w": f32(4, 3, 3, 3), "bias": f32(4)}
sample("conv2d", _conv2d(), x=f32(2, 3, 8, 7), constants=B)
sample("conv2d", _conv2d(stride=2, padding=[1, 2]), x=f32(1, 3, 8, 9), constants=W)
sample("conv2d", _conv2d(stride=[2, 1], padding=[0, 1, 2, 1], dilation=[1, 2]), x=f32(1, 3, 8, 9), constants=W)
sample("conv2d", _conv2d(stride=2, padding="SAME", dilation=2), x=f32(1, 3, 8, 9), constants=W)
sample("conv2d", _conv2d(padding="VALID", data_format="NHWC"), x=f32(1, 8, 9, 3), constants=B)
sample("conv2d", _conv2d(groups=2, stride=2), x=f32(1, 6, 7, 7), constants={"w": f32(4, 3, 3, 3)})
sample("conv2d", _conv2d(padding=1), x=f64(1, 3, 5, 5), constants={"w": f64(2, 3, 3, 3)})
sample("conv2d", lambda paddle, x, w: paddle.nn.functional.conv1d(x, w, padding=1, stride=2), x=f32(2, 3, 9), constants={"w": f32(4, 3, 3)})
sample(
    "conv2d",
    lambda paddle, x, w: paddle.nn.functional.conv1d(x, w, padding="SAME", dilation=2),
    x=f32(2, 3, 9),
    constants={"w": f32(4, 3, 3)},
)
sample("conv2d", _conv2d(), x=f32(1, 3, 5, 5), w=f32(2, 3, 3, 3))
sample("depthwise_conv2d", _conv2d(groups=4, padding=1), x=f32(1, 4, 6, 5), constants={"w": f32(4, 1, 3, 3), "bias": f32(4)})
sample("depthwise_conv2d", _conv2d(groups=4, padding=[2, 1], dilation=2, stride=2), x=f32(1, 4, 9, 9), constants={"w": f32(8, 1, 3, 3)})
sample("depthwise_conv2d", _conv2d(groups=4, padding="SAME", data_format="NHWC"), x=f32(1, 5, 5, 4), constants={"w": f32(4, 1, 3, 3)})
sample("conv3d", _conv3d(padding=1, stride=2), x=f32(1, 2, 5, 6, 5), constants={"w": f32(3, 2, 3, 3, 3), "bias": f32(3)})
sample("conv3d", _conv3d(padding=[0, 1, 1, 0, 2, 1], groups=2), x=f32(1, 4, 4, 5, 5), constants={"w": f32(4, 2, 3, 3, 3)})
sample("conv3d", _conv3d(padding="SAME", dilation=2, data_format="NDHWC"), x=f32(1, 4, 5, 5, 2), constants={"w": f32(3, 2, 2, 2, 2)})

T = {"w": f32(3, 4, 3, 3)}
sample("conv2d_transpose", _transpose2d(), x=f32(2, 3, 5, 4), constants={"w": f32(3, 4, 3, 3), "bias": f32(4)}, static=(1,))
sample("conv2d_transpose", _transpose2d(stride=2, padding=1, output_padding=1), x=f32(1, 3, 5, 4), constants=T, static=(1,))
sample("conv2d_transpose", _transpose2d(stride=2, padding=[0, 1, 1, 0], output_size=[11, 8]), x=f32(1, 3, 5, 4), constants=T, static=(1,))
sample(
    "conv2d_transpose",
    _transpose2d(stride=[2, 3], dilation=[2, 1], groups=3),
    x=f32(1, 3, 5, 4),
    constants={"w": f32(3, 2, 3, 3)},
    static=(1,),
)
sample("conv2d_transpose", _transpose2d(stride=2, padding="SAME"), x=f32(1, 3, 5, 4), constants=T, static=(1,))
sample("conv2d_transpose", _transpose2d(stride=2, padding="VALID", data_format="NHWC"), x=f32(1, 5, 4, 3), constants=T, static=(-1,))
sample("conv2d_transpose", _transpose2d(stride=2), x=f32(1, 3, 5, 4), constants={"w": f32(3, 4, 2, 2)}, static=(1,))
sample(
    "conv2d_transpose",
    lambda paddle, x, like, w: paddle.nn.functional.conv2d_transpose(x, w, stride=3, output_size=paddle.shape(like)[2:]),
    x=f32(1, 3, 4, 3), like=f32(1, 1, 14, 10), constants={"w": f32(3, 4, 3, 3)}, static=(1,),
)  # fmt: skip
sample(
    "conv2d_transpose",
    lambda paddle, x, w: paddle.nn.functional.conv1d_transpose(x, w, stride=2, padding=1, output_padding=1),
    x=f32(2, 3, 5), constants={"w": f32(3, 4, 3)}, static=(1,),
)  # fmt: skip
sample(
    "depthwise_conv2d_transpose",
    _transpose2d(stride=2, padding=1, groups=4),
    x=f32(1, 4, 4, 4),
    constants={"w": f32(4, 1, 4, 4)},
    static=(1,),
)
sample(
    "depthwise_conv2d_transpose",
    _transpose2d(stride=[1, 2], padding=[0, 1], output_padding=[0, 1], dilation=[2, 1], groups=2),
    x=f64(2, 2, 3, 4),
    constants={"w": f64(2, 1, 2, 3)},
    static=(1,),
)
sample(
    "depthwise_conv2d_transpose",
    _transpose2d(stride=2, groups=3, data_format="NHWC"),
    x=f32(1, 3, 2, 3),
    constants={"w": f32(3, 1, 3, 3), "bias": f32(3)},
    static=(-1,),
)
sample(
    "conv3d_transpose",
    _transpose3d(stride=2, padding=1, output_padding=1),
    x=f32(1, 2, 3, 3, 2),
    constants={"w": f32(2, 3, 3, 3, 3)},
    static=(1,),
)
sample(
    "conv3d_transpose", _transpose3d(stride=2, groups=2, dilation=2, data_format="NDHWC"),
    x=f32(1, 3, 2, 3, 4), constants={"w": f32(4, 2, 2, 2, 2), "bias": f32(4)}, static=(-1,),
)  # fmt: skip
sample(
    "conv3d_transpose",
    _transpose3d(stride=2, output_size=[8, 7, 5]),
    x=f32(1, 2, 3, 3, 2),
    constants={"w": f32(2, 3, 3, 3, 3)},
    static=(1,),
)


def _deformable(paddle: Any, x: Any, offset: Any, w: Any, mask: Any = None, **kw: Any) -> Any:
    return paddle.vision.ops.deform_conv2d(x, offset, w, mask=mask, **kw)


sample("deformable_conv", _deformable, x=f32(2, 3, 6, 5), offset=f32(2, 18, 4, 3), constants={"w": f32(4, 3, 3, 3)})
sample(
    "deformable_conv",
    lambda paddle, x, o, m, w: _deformable(paddle, x, o, w, m, stride=2, padding=1, dilation=1),
    x=f32(1, 3, 6, 5), offset=f32(1, 18, 3, 3, low=-4, high=4), mask=f32(1, 9, 3, 3, low=0), constants={"w": f32(4, 3, 3, 3)},
)  # fmt: skip
sample(
    "deformable_conv",
    lambda paddle, x, o, m, w: _deformable(paddle, x, o, w, m, padding=[1, 2], dilation=2, deformable_groups=2, groups=2),
    x=f32(1, 4, 6, 5), offset=f32(1, 36, 4, 5), mask=f32(1, 18, 4, 5, low=0), constants={"w": f32(4, 2, 3, 3)},
)  # fmt: skip

"""Convolutions of the CPU target against numpy, with static and with symbolic sizes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from runner import Program, build, dim, module, var
from tvm import relax

op = relax.op


def convolve(x, w, strides, padding, dilation, groups):
    """x (N, C, H, W) * w (O, C/groups, KH, KW) in float64."""
    o, i, kh, kw = w.shape
    (sh, sw), (top, left, bottom, right), (dh, dw) = strides, padding, dilation
    padded = np.pad(x.astype("float64"), ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = sliding_window_view(padded, ((kh - 1) * dh + 1, (kw - 1) * dw + 1), (2, 3))[:, :, ::sh, ::sw, ::dh, ::dw]
    per = o // groups
    parts = [
        np.einsum("nchwij,ocij->nohw", windows[:, g * i : (g + 1) * i], w[g * per : (g + 1) * per].astype("float64"), optimize=True)
        for g in range(groups)
    ]
    return np.concatenate(parts, 1)


def convolve_transposed(x, w, stride, padding, output_padding):
    """x (N, C, H, W), w (C, O, KH, KW), in float64: every input place adds its filter to the output."""
    n, _, h, wd = x.shape
    _, o, kh, kw = w.shape
    full = np.zeros((n, o, (h - 1) * stride + kh + output_padding, (wd - 1) * stride + kw + output_padding))
    for i in range(h):
        for j in range(wd):
            add = np.einsum("nc,coij->noij", x[:, :, i, j].astype("float64"), w)
            full[:, :, i * stride : i * stride + kh, j * stride : j * stride + kw] += add
    return full[:, :, padding : full.shape[2] - padding, padding : full.shape[3] - padding]


CASES = {  # n, c, h, w, out, kernel, strides, padding, dilation, groups
    "first layer": (1, 3, 17, 19, 18, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    "pointwise": (2, 16, 9, 11, 32, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "pointwise, odd channels": (1, 13, 5, 6, 7, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "pointwise, strided": (1, 16, 9, 11, 24, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    "depthwise": (1, 16, 9, 11, 16, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 16),
    "depthwise 5x5, strides differ": (1, 24, 9, 11, 24, (5, 5), (2, 1), (2, 2, 2, 2), (1, 1), 24),
    "depthwise, two filters a channel": (1, 9, 9, 11, 18, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 9),
    "depthwise, odd channels": (1, 7, 9, 11, 7, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 7),
    "depthwise, dilated by the size": (1, 32, 2, 4, 32, (3, 3), (1, 1), (2, 4, 2, 4), (2, 4), 32),
    "groups": (1, 16, 9, 11, 32, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 4),
    "groups of odd size, dilated": (1, 12, 9, 11, 6, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 2),
    "uneven padding": (2, 8, 6, 7, 16, (3, 2), (1, 1), (1, 0, 2, 1), (1, 1), 1),
    "weights larger than the cache": (1, 256, 7, 7, 256, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "one place": (1, 64, 1, 1, 7, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
}


PARALLEL = ("first layer", "depthwise", "weights larger than the cache")  # parallel loops are the same for the other kinds


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name,threads", [(n, 1) for n in CASES] + [(n, 2) for n in PARALLEL])
def test_convolution(name: str, dynamic: bool, threads: int) -> None:
    n, c, h, w, o, kernel, strides, padding, dilation, groups = CASES[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, c, h, w)).astype("float32")
    weight = (rng.standard_normal((o, c // groups, *kernel)) / np.sqrt(c // groups * kernel[0] * kernel[1])).astype("float32")
    bias = rng.standard_normal((1, o, 1, 1)).astype("float32")

    def make(bb, a):
        y = bb.emit(op.nn.conv2d(a, relax.const(weight), strides=strides, padding=padding, dilation=dilation, groups=groups))
        return op.nn.relu(bb.emit(op.add(y, relax.const(bias))))

    program = build([var("x", (dim("n"), c, dim("h"), dim("w")) if dynamic else x.shape)], make, threads=threads)
    assert program.built.notes == []
    (got,) = program(x)
    np.testing.assert_allclose(got, np.maximum(convolve(x, weight, strides, padding, dilation, groups) + bias, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_dtypes(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 8, 6, 6)).astype(dtype), (rng.standard_normal((8, 8, 3, 3)) * 0.1).astype(dtype)
    (got,) = build([var("x", x.shape, dtype)], lambda bb, a: op.nn.conv2d(a, relax.const(weight, dtype), padding=1))(x)
    assert got.dtype == dtype
    reference = convolve(x, weight, (1, 1), (1, 1, 1, 1), (1, 1), 1)
    np.testing.assert_allclose(got, reference, rtol=0, atol=1e-12 if dtype == "float64" else 2e-2)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("kernel,stride,padding,output_padding", [(2, 2, 0, 0), (4, 2, 1, 1), (3, 1, 1, 0), (2, 3, 0, 1), (3, 2, 1, 1)])
def test_transposed_convolution(kernel: int, stride: int, padding: int, output_padding: int, dynamic: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 8, 5, 6)).astype("float32")
    weight = (rng.standard_normal((8, 5, kernel, kernel)) * 0.2).astype("float32")

    def make(bb, a):
        return op.nn.conv2d_transpose(
            a, relax.const(weight), strides=(stride, stride), padding=(padding, padding), output_padding=(output_padding, output_padding)
        )

    (got,) = build([var("x", (dim("n"), 8, dim("h"), dim("w")) if dynamic else x.shape)], make)(x)
    np.testing.assert_allclose(got, convolve_transposed(x, weight, stride, padding, output_padding), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_what_stands_between_convolutions_keeps_its_meaning(dynamic: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 16, 12, 14)).astype("float32")
    first = (rng.standard_normal((32, 16, 3, 3)) * 0.1).astype("float32")
    squeeze, excite = ((rng.standard_normal(s) * 0.2).astype("float32") for s in ((8, 32, 1, 1), (32, 8, 1, 1)))
    bias = rng.standard_normal((1, 32, 1, 1)).astype("float32")
    nearest = {"method": "nearest_neighbor", "coordinate_transformation_mode": "asymmetric", "rounding_method": "floor"}

    def make(bb, a):
        e = bb.emit
        y = e(op.clip(e(op.add(e(op.nn.conv2d(a, relax.const(first), padding=1)), relax.const(bias))), -1.0, 2.0))
        s = e(op.nn.relu(e(op.nn.conv2d(e(op.mean(y, [2, 3], True)), relax.const(squeeze)))))
        z = e(op.multiply(y, e(op.sigmoid(e(op.nn.conv2d(s, relax.const(excite)))))))
        joined = e(op.concat([z, y], 1))
        return [
            op.nn.max_pool2d(z, (3, 3), (2, 2), (1, 1, 1, 1)),
            op.nn.avg_pool2d(z, (2, 2), (2, 2)),
            joined,
            op.mean(joined, [2, 3]),
            op.permute_dims(z, [0, 2, 3, 1]),
            op.reshape(z, (a.ty.shape.values[0], -1)) if not dynamic else op.sum(z, [1], True),
            z,
        ] + ([] if dynamic else [op.image.resize2d(z, (24, 28), **nearest)])  # Relax cannot resize from symbolic sizes

    outs = build([var("x", (dim("n"), 16, dim("h"), dim("w")) if dynamic else x.shape)], make)(x)
    y = np.clip(convolve(x, first, (1, 1), (1, 1, 1, 1), (1, 1), 1) + bias, -1, 2)
    s = np.maximum(np.einsum("nchw,oc->nohw", y.mean((2, 3), keepdims=True), squeeze[:, :, 0, 0]), 0)
    z = y / (1 + np.exp(-np.einsum("nchw,oc->nohw", s, excite[:, :, 0, 0])))
    padded = np.pad(z, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    joined = np.concatenate([z, y], 1)
    expected = [
        sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2].max((-1, -2)),
        z.reshape(2, 32, 6, 2, 7, 2).mean((3, 5)),
        joined,
        joined.mean((2, 3)),
        z.transpose(0, 2, 3, 1),
        z.reshape(2, -1) if not dynamic else z.sum(1, keepdims=True),
        z,
    ] + ([] if dynamic else [z.repeat(2, 2).repeat(2, 3)])
    for got, want in zip(outs, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_one_library_serves_many_sizes() -> None:
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((8, 3, 3, 3)) * 0.2).astype("float32")
    mod = module([var("x", (dim("n"), 3, dim("h"), dim("w")))], lambda bb, a: op.nn.conv2d(a, relax.const(weight), padding=1))
    program = Program(mod)
    for shape in ((1, 3, 1, 1), (2, 3, 5, 40), (0, 3, 4, 4), (1, 3, 33, 7)):
        x = rng.standard_normal(shape).astype("float32")
        reference = convolve(x, weight, (1, 1), (1, 1, 1, 1), (1, 1), 1) if x.size else np.zeros((0, 8, 4, 4))
        np.testing.assert_allclose(program(x)[0], reference, rtol=1e-5, atol=1e-5)

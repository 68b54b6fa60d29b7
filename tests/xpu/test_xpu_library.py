"""The kernel library on the emulated R200: each function beside numpy in float64, or Paddle."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from oarlock_xpu import device
from oarlock_xpu.chips import chip


def rand(*shape: int, seed: int = 0) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape), "float32")


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 2e-6) -> None:
    """Equal up to a part of the largest number."""
    assert found.shape == expected.shape
    scale = max(float(np.abs(expected).max(initial=0)), 1e-30)
    assert float(np.abs(found.astype("float64") - expected).max(initial=0)) <= tolerance * scale


# strides, paddings (top, bottom, left, right), dilations, groups, filters, window, whether with bias, with branch, activation
CONVOLUTIONS = {
    "3x3": ((1, 1), (1, 1, 1, 1), (1, 1), 1, 10, (3, 3), True, False, "relu"),
    "stride, uneven padding": ((2, 3), (0, 1, 2, 0), (1, 1), 1, 7, (3, 5), False, False, ""),
    "dilation, branch": ((1, 2), (2, 2, 4, 4), (2, 3), 1, 9, (3, 3), True, True, "swish"),
    "1x1": ((1, 1), (0, 0, 0, 0), (1, 1), 1, 300, (1, 1), True, True, "relu6"),
    "1x1 with stride": ((2, 2), (0, 0, 0, 0), (1, 1), 1, 5, (1, 1), True, False, "tanh"),
    "groups": ((1, 1), (1, 1, 1, 1), (1, 1), 3, 12, (3, 3), True, False, "gelu"),
    "depthwise": ((2, 2), (1, 1, 1, 1), (1, 1), 6, 6, (3, 3), True, True, "sigmoid"),
    "depthwise, two each": ((1, 1), (2, 2, 2, 2), (2, 1), 6, 12, (3, 5), False, False, ""),
    "depthwise, dilated rows": ((1, 1), (2, 2, 2, 2), (2, 2), 6, 6, (3, 3), True, False, "relu"),
    "window as large as the image": ((1, 1), (0, 0, 0, 0), (1, 1), 1, 4, (14, 19), False, False, ""),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(call, name: str) -> None:
    paddle = pytest.importorskip("paddle", reason="paddlepaddle computes what is expected")
    strides, (top, bottom, left, right), dilations, groups, filters, window, has_bias, has_branch, act = CONVOLUTIONS[name]
    x, w = rand(2, 6, 14, 19), rand(filters, 6 // groups, *window, seed=1) * 0.3
    bias = rand(filters, seed=2)
    convolved = paddle.nn.functional.conv2d(
        paddle.to_tensor(np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))),
        paddle.to_tensor(w),
        stride=list(strides),
        dilation=list(dilations),
        groups=groups,
    )
    branch = rand(*convolved.shape, seed=3)
    expected = convolved
    roles, given = ["x", "w"], [x, w]
    if has_bias:
        expected, roles, given = expected + paddle.to_tensor(bias).reshape([1, -1, 1, 1]), [*roles, "bias"], [*given, bias]
    if has_branch:
        expected, roles, given = expected + paddle.to_tensor(branch), [*roles, "branch"], [*given, branch]
    functions = paddle.nn.functional
    known = {"": lambda v: v, "swish": functions.silu, "tanh": paddle.tanh} | {
        a: getattr(functions, a) for a in ("relu", "relu6", "gelu", "sigmoid")
    }
    step = {"api": "conv2d_fusion", "inputs": roles, "strides": strides, "paddings": (top, bottom, left, right), "dilations": dilations}
    close(call({**step, "groups": groups, "act": act}, given, convolved.shape), known[act](expected).numpy())


# image, filters of each channel, window, strides, paddings (top, bottom, left, right), whether with a branch
DEPTHWISE = {
    "many tiles a plane": ((1, 40, 61, 50), 1, (3, 3), (1, 1), (1, 1, 1, 1), False),
    "more planes than cores": ((2, 300, 14, 14), 1, (5, 5), (1, 1), (2, 2, 2, 2), True),
    "strides": ((1, 16, 56, 57), 2, (3, 3), (2, 3), (0, 1, 2, 0), True),
    "padding beyond the image": ((1, 3, 5, 6), 1, (2, 2), (3, 3), (4, 4, 3, 3), False),
    "rows too wide for a tile": ((1, 2, 5, 700), 1, (3, 3), (1, 1), (1, 1, 1, 1), False),
}


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_convolutions_and_their_bytes(call, name: str) -> None:
    from oarlock_xpu.memory.traffic import View, work_of

    paddle = pytest.importorskip("paddle", reason="paddlepaddle computes what is expected")
    shape, each, window, strides, paddings, has_branch = DEPTHWISE[name]
    x, w, bias = rand(*shape), rand(shape[1] * each, 1, *window, seed=1), rand(shape[1] * each, seed=2)
    top, bottom, left, right = paddings
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    convolved = paddle.nn.functional.conv2d(*map(paddle.to_tensor, (padded, w, bias)), stride=strides, groups=shape[1]).numpy()
    given = [x, w, bias, *([rand(*convolved.shape, seed=3)] if has_branch else [])]
    step = {"api": "conv2d_fusion", "inputs": ["x", "w", "bias", "branch"][: len(given)], "strides": strides, "paddings": paddings}
    step |= {"dilations": (1, 1), "groups": shape[1], "act": "relu6"}
    device.counters(reset=True)
    found = call(step, given, convolved.shape)
    close(found, np.clip(convolved + given[3] if has_branch else convolved, 0, 6))
    (counted,) = device.counters(reset=True)["kernels"].values()
    views = {role: View(a.shape, 4) for role, a in zip(step["inputs"], given, strict=True)} | {"result": View(convolved.shape, 4)}
    work = work_of(step, views, chip("r200"))
    assert sum(work.bytes.values()) == counted["gm_read"] + counted["gm_written"] and work.bytes["result"] == counted["gm_written"]


def test_a_depthwise_convolution_reads_its_input_not_once_for_each_row_of_the_window(call) -> None:
    x, w = rand(1, 512, 14, 14), rand(512, 1, 3, 3, seed=1)
    step = {"api": "conv2d_fusion", "strides": [1, 1], "paddings": [1] * 4, "dilations": [1, 1], "groups": 512}
    device.counters(reset=True)
    call(step, [x, w], x.shape)
    (counted,) = device.counters(reset=True)["kernels"].values()
    assert counted["gm_read"] == x.nbytes + w.nbytes and counted["dma"] == 3 * 512


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (5, 70, 33), (130, 300, 600), (1, 1000, 520), (64, 1, 0)])
@pytest.mark.parametrize("wtrans", [0, 1])
def test_products(call, m: int, n: int, k: int, wtrans: int) -> None:
    x, w, bias = rand(m, k), rand(k, n, seed=1), rand(n, seed=2)
    expected = np.maximum(x.astype("f8") @ w + bias, 0)
    found = call({"api": "fc_fusion", "wtrans": wtrans, "act": "relu"}, [x, w.T if wtrans else w, bias], (m, n))
    close(found, expected, 1e-5)


@pytest.mark.parametrize("batches", [((2, 3), (2, 3)), ((4,), ()), ((), (4,))])
def test_batched_products(call, batches) -> None:
    x, w = rand(*batches[0], 9, 40), rand(*batches[1], 40, 65, seed=1)
    close(call({"api": "fc_batched"}, [x, w], (x.astype("f8") @ w).shape), x.astype("f8") @ w, 1e-5)


def quantised(x: np.ndarray, bits: int, largest: float | None = None) -> tuple[np.ndarray, float]:
    """By the rules of max pointers: x · RMAX / max, half to even, saturated; and the largest number.  31 bits are scaled in float64."""
    most, wide = RMAX[bits], np.float64 if bits == 31 else np.float32
    largest = float(np.abs(x).max()) if largest is None else largest
    factor = wide(wide(most) / wide(largest))
    return np.clip(np.rint(x.astype(wide) * factor), -most, most).astype("int32" if bits == 31 else f"int{bits}"), largest


RMAX = {8: 127, 16: 32767, 31: 2**30 - 1}


@pytest.mark.parametrize("bits", [8, 16, 31])
@pytest.mark.parametrize("largest", [None, 2.0, 3e4])  # beyond 2 numbers are saturated; steps of 3e4 / RMAX are coarse
def test_integer_products(call, bits: int, largest: float | None) -> None:
    x, w, most = rand(7, 300), rand(300, 20, seed=1), RMAX[bits]
    (xq, x_max), (wq, w_max) = quantised(x, bits, largest), quantised(w, bits)
    exact = (xq.astype(object) @ wq.astype(object)).astype("float64")  # sums of integers of any size
    inputs, roles = [x, wq, np.full(6, w_max, "f4")], ["x", "w", "w_max"]
    if largest is not None:
        inputs, roles = [*inputs, np.array([1, largest, 0, 0.5, 1, 1], "f4")], [*roles, "x_max"]
    found = call({"api": "fc_fusion", "inputs": roles}, inputs, (7, 20))
    close(found, exact * (x_max / most) * (w_max / most), 1e-7 if bits == 31 else 1e-6)


@pytest.mark.parametrize("bits", [8, 31])
def test_integer_convolutions(call, bits: int) -> None:
    paddle = pytest.importorskip("paddle", reason="paddlepaddle computes what is expected")
    x, w = rand(1, 4, 9, 8), rand(5, 4, 3, 3, seed=1)
    (xq, x_max), (wq, w_max) = quantised(x, bits), quantised(w, bits)
    exact = paddle.nn.functional.conv2d(paddle.to_tensor(xq.astype("f8")), paddle.to_tensor(wq.astype("f8")), padding=1).numpy()
    step = {"api": "conv2d_fusion", "inputs": ["x", "w", "w_max"], "strides": [1, 1], "paddings": [1] * 4, "dilations": [1, 1], "groups": 1}
    found = call(step, [x, wq, np.full(6, w_max, "f4")], exact.shape)
    close(found, exact * (x_max / RMAX[bits]) * (w_max / RMAX[bits]), 1e-7 if bits == 31 else 1e-6)


@pytest.mark.parametrize(("shape", "axis"), [((5, 7), -1), ((3, 2500), 1), ((4, 30, 300), 1), ((4, 30, 5), 0), ((70000, 2), 1)])
def test_softmax(call, shape: tuple[int, ...], axis: int) -> None:
    x = rand(*shape) * 4
    e = np.exp(x.astype("f8") - x.max(axis, keepdims=True))
    close(call({"api": "softmax", "axis": axis}, [x], shape), e / e.sum(axis, keepdims=True))


@pytest.mark.parametrize(("shape", "dims"), [((6, 40), 1), ((3, 2100), 1), ((2, 5, 8, 100), 2)])
def test_layer_norm(call, shape: tuple[int, ...], dims: int) -> None:
    x, scale, bias = rand(*shape) + 3, rand(*shape[-dims:], seed=1), rand(*shape[-dims:], seed=2)
    axes = tuple(range(-dims, 0))
    wide = x.astype("f8")
    expected = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5) * scale + bias
    close(call({"api": "layer_norm", "inputs": ["x", "scale", "bias"], "dims": dims, "eps": 1e-5}, [x, scale, bias], shape), expected)


@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("axes", [(2, 3), (1,), (0,), (0, 1, 2, 3), (-1,)])
def test_reductions(call, kind: str, axes: tuple[int, ...]) -> None:
    x = rand(3, 20, 9, 130)
    expected = getattr(x.astype("f8"), kind)(axes)
    found = call({"api": f"reduce_{kind}", "axes": axes}, [x], expected.shape)
    # what float32 may lose in a sum is a part of the sum of magnitudes
    assert (np.abs(found - expected) <= 1e-6 * getattr(np.abs(x), kind if kind in ("sum", "mean") else "max")(axes)).all()


@pytest.mark.parametrize("kind", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize(
    ("size", "window", "strides", "paddings", "included"),
    [
        ((12, 13), (3, 3), (2, 2), (1, 1, 1, 1), 0),
        ((12, 13), (2, 5), (1, 3), (0, 1, 2, 2), 1),
        ((7, 7), (7, 7), (7, 7), (0, 0, 0, 0), 0),
        ((3, 3000), (1, 3), (1, 2), (0, 0, 1, 0), 0),
    ],
)
def test_pooling(call, kind: str, size, window, strides, paddings, included: int) -> None:
    x = rand(2, 3, *size)
    top, bottom, left, right = paddings
    out = ((size[0] + top + bottom - window[0]) // strides[0] + 1, (size[1] + left + right - window[1]) // strides[1] + 1)
    expected = np.zeros((2, 3, *out))
    for oy, ox in itertools.product(*map(range, out)):
        y0, x0 = oy * strides[0] - top, ox * strides[1] - left
        part = x[:, :, max(y0, 0) : max(y0 + window[0], 0), max(x0, 0) : max(x0 + window[1], 0)].astype("f8")
        if kind == "max_pool2d":
            expected[:, :, oy, ox] = part.max((2, 3))
        else:
            expected[:, :, oy, ox] = part.sum((2, 3)) / (math.prod(window) if included else part.shape[2] * part.shape[3])
    step = {"api": kind, "ksize": window, "strides": strides, "paddings": paddings, "count_include_pad": included}
    close(call(step, [x], expected.shape), expected)


# the image, the result, and how Paddle is asked: many tiles, rows that are too wide for a core, smaller results, single ones
RESIZED = {
    "twice": ((2, 3, 13, 20), (26, 40), {"scale_factor": 2}),
    "odd": ((1, 70, 9, 11), (23, 17), {}),
    "smaller": ((1, 4, 97, 50), (13, 9), {}),
    "by scales that are not exact": ((1, 3, 11, 9), (16, 20), {"scale_factor": [1.5, 2.3]}),
    "wide": ((1, 2, 3, 700), (5, 1500), {}),
    "wide, smaller": ((1, 1, 2, 4000), (3, 70), {}),
    "one result": ((1, 2, 6, 5), (1, 1), {}),
    "of one": ((1, 2, 1, 1), (4, 3), {}),
}


@pytest.mark.parametrize("way", ["nearest", "nearest, corners", "corners", "centres", "left upper"])
@pytest.mark.parametrize("name", RESIZED)
def test_resizing(call, name: str, way: str) -> None:
    paddle = pytest.importorskip("paddle", reason="paddlepaddle computes what is expected")
    shape, size, asked = RESIZED[name]
    corners, near, scales = "corners" in way, "nearest" in way, asked.get("scale_factor", 0)
    x = rand(*shape)
    if near and corners:  # an attribute of the operator that the function does not let through
        given = scales if isinstance(scales, list) else [scales] * 2 if scales else []
        op = paddle._C_ops.nearest_interp
        expected = op(paddle.to_tensor(x), None, None, None, "NCHW", 0, *size, given, "nearest", True, 1).numpy()
    else:
        kind = {"mode": "nearest"} if near else {"mode": "bilinear", "align_corners": corners, "align_mode": int(way != "centres")}
        expected = paddle.nn.functional.interpolate(paddle.to_tensor(x), **(asked or {"size": size}), **kind).numpy()
    assert expected.shape[2:] == size
    scale_h, scale_w = scales if isinstance(scales, list) else (scales, scales)
    step = {"api": "interpolate2d", "nearest": int(near), "trans_mode": 0 if corners else 1 if way == "centres" else 2}
    found = call({**step, "scale_h": scale_h, "scale_w": scale_w}, [x], expected.shape)
    close(found, expected, 0 if near else 1e-6)


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "int64"])
@pytest.mark.parametrize("order", [(0, 2, 3, 1), (3, 1, 0, 2), (1, 0, 2, 3), (0, 1, 3, 2), (0, 1, 2, 3)])
def test_transpose(call, dtype: str, order: tuple[int, ...]) -> None:
    x = np.arange(3 * 5 * 40 * 17).reshape(3, 5, 40, 17).astype(dtype)
    assert np.array_equal(call({"api": "transpose", "permute": order}, [x], x.transpose(order).shape, dtype), x.transpose(order))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat(call, axis: int) -> None:
    parts = [rand(*(size if d == axis % 3 else 6 for d in range(3)), seed=size) for size in (1, 5, 3)]
    expected = np.concatenate(parts, axis)
    assert np.array_equal(call({"api": "concat", "inputs": ["a", "b", "c"], "axis": axis}, parts, expected.shape), expected)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_gather(call, dtype: str) -> None:
    table, index = rand(11, 3, 700), np.array([[0, 10], [-1, 4], [4, 4]], dtype)
    assert np.array_equal(call({"api": "gather", "inputs": ["x", "index"]}, [table, index], (3, 2, 3, 700)), table[index])


def test_an_index_out_of_range_names_the_kernel(call) -> None:
    where = r"kernel gather_int64 \(lookups.cc:\d+\), cluster 0, core 1: assertion failed: row >= 0 && row < a.rows at lookups.cc:\d+"
    with pytest.raises(Exception, match=where):
        call({"api": "gather", "inputs": ["x", "index"]}, [rand(4, 8), np.array([3, 4])], (2, 8))


@pytest.mark.parametrize(
    ("a", "b"),
    [((4, 5), (4, 5)), ((2, 3, 40, 50), (3, 1, 1)), ((7, 1, 9), (1, 8, 1)), ((3000,), (1,)), ((1,), (6, 2000)), ((), ()), ((0, 3), (3,))],
)
def test_broadcast(call, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = rand(*a), np.asarray(rand(*b, seed=1) + 3, "float32")
    functions = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum}
    for name, function in functions.items():
        expected = function(x, y)
        assert np.array_equal(call({"api": f"broadcast_{name}", "inputs": ["x", "y"]}, [x, y], expected.shape), expected), name


UNARY = {
    "relu": lambda v: np.maximum(v, 0),
    "relu6": lambda v: np.clip(v, 0, 6),
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "tanh": np.tanh,
    "gelu": lambda v: v * 0.5 * (1 + np.vectorize(math.erf)(v / math.sqrt(2))),
    "swish": lambda v: v / (1 + np.exp(-v)),
    "hard_swish": lambda v: v * np.clip(v + 3, 0, 6) / 6,
    "exp": np.exp,
    "log": lambda v: np.log(np.abs(v)),
    "sqrt": lambda v: np.sqrt(np.abs(v)),
    "rsqrt": lambda v: 1 / np.sqrt(np.abs(v)),
    "square": np.square,
    "abs": np.abs,
    "neg": np.negative,
    "leaky_relu": lambda v: np.where(v > 0, v, 0.1 * v),
    "clip": lambda v: np.clip(v, -0.5, 1.5),
    "scale": lambda v: v * 2 + 0.25,
}


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_elements(call, name: str) -> None:
    x = rand(3, 70001) * 3
    if name in ("log", "sqrt", "rsqrt"):
        x = np.abs(x) + 0.01
    step = {"api": name} | {"leaky_relu": {"alpha": 0.1}, "clip": {"min": -0.5, "max": 1.5}, "scale": {"alpha": 2, "beta": 0.25}}.get(
        name, {}
    )
    close(call(step, [x], x.shape), UNARY[name](x.astype("f8")))


def test_a_nan_stays(call) -> None:
    x, y = np.array([np.nan, 1, -1, np.nan], "f4"), np.array([1, np.nan, 2, np.nan], "f4")
    for name in ("relu", "relu6", "hard_swish", "tanh"):
        assert np.isnan(call({"api": name}, [x], (4,))).tolist() == [True, False, False, True], name
    for name in ("broadcast_max", "broadcast_min"):
        assert np.isnan(call({"api": name, "inputs": ["x", "y"]}, [x, y], (4,))).tolist() == [True, True, False, True], name
    assert np.isnan(call({"api": "reduce_max", "axes": [0]}, [x], ()))


WRONG = {
    "the result has another shape": ({"api": "softmax", "axis": 0}, [rand(3, 4)], (4, 3)),
    "'x' is not float32": ({"api": "relu"}, [np.arange(4)], (4,)),
    "the depth of x is not that of w": ({"api": "fc_fusion"}, [rand(3, 4), rand(5, 6)], (3, 6)),
    "the channels do not fit the filter": (
        {"api": "conv2d_fusion", "strides": [1, 1], "paddings": [0] * 4, "dilations": [1, 1]},
        [rand(1, 3, 4, 4), rand(2, 4, 1, 1)],
        (1, 2, 4, 4),
    ),
    "has no attribute axis": ({"api": "softmax"}, [rand(3, 4)], (3, 4)),
    "takes 2 tensors and one for the result, and got 2": ({"api": "fc_fusion", "inputs": ["x", "w"]}, [rand(3, 4)], (3, 6)),
    "this kernel library has no nothing": ({"api": "nothing"}, [rand(3)], (3,)),
    "a dim is named twice": ({"api": "reduce_sum", "axes": [1, -2]}, [rand(2, 1, 5)], (2, 5)),
    "the heads are not joined|an operand of attention has another shape": (
        {"api": "qkv_attention", "inputs": ["q", "k", "v"], "heads": 2, "dim": 4, "q_heads": 1, "k_heads": 1, "v_heads": 1, "y_heads": 1},
        [rand(1, 2, 3, 4), rand(1, 3, 3, 4), rand(1, 2, 3, 4)],
        (1, 2, 3, 4),
    ),
    "it ends outside of the tensor": (
        {"api": "strided_slice", "inputs": ["x"], "begins": [1], "strides": [2], "dims": [0]},
        [rand(6)],
        (4,),
    ),
    "the parts are more or less than the whole": ({"api": "split", "inputs": ["x"], "axis": 0}, [rand(6)], (4,)),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments_are_refused(call, message: str) -> None:
    step, inputs, shape = WRONG[message]
    with pytest.raises(Exception, match=message):
        call(step, inputs, shape)


def test_tensors_of_the_host_are_refused(call) -> None:
    import json

    import tvm
    import tvm_ffi

    function = tvm_ffi.get_global_func("oarlock_xpu.library_module")(json.dumps({"f": {"api": "relu", "inputs": ["x"]}}))["f"]
    with pytest.raises(Exception, match=r"relu \(f\), argument 0 'x': it is not on the XPU"):
        function(tvm.runtime.tensor(rand(4)), tvm.runtime.empty((4,), "float32", tvm.ext_dev(0)))


def test_counters_say_what_was_done(call) -> None:
    device.counters(reset=True)
    x = rand(64, 1024)
    call({"api": "relu"}, [x], x.shape)
    counted = device.counters(reset=True)
    kernel = counted["kernels"]["elements"]
    assert counted["chip"] == "r200" and kernel["launches"] == 1
    assert kernel["gm_read"] == kernel["gm_written"] == x.nbytes and kernel["ops"] == x.size
    # by the model: no faster than a launch and the bytes at the memory's rate
    assert kernel["modelled_us"] >= chip("r200").launch_us + 2 * x.nbytes / (chip("r200").gm_rate * 1e3)
    assert counted["copies"]["h2d"] == x.nbytes

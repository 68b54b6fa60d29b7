"""Operators that Paddle's CPU has no kernel for, or runs wrong: hand-written programs against plain numpy in float64.

The references follow what Paddle's documentation and its GPU kernels say.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.model.program import Block, ListType, Op, Program, TensorType, Value

F = np.float64


def run(
    name: str,
    operands: dict[str, Any],
    attrs: dict[str, Any],
    outputs: int = 1,
    *,
    dynamic: bool | tuple[int, ...] = False,
    lists: bool = False,
    wanted: list[int] | None = None,
) -> list[np.ndarray]:
    """Compile a program of one operation and run it; an operand is an array, a list of arrays, or None.

    ``dynamic``: whether all dims are unknown, or those of which axes.  ``wanted``: which results to give (default: all).
    """
    ops: list[Op] = []
    feeds: dict[str, np.ndarray] = {}
    inputs: list[Value] = []

    def feed(key: str, array: np.ndarray) -> Value:
        unknown = range(array.ndim) if dynamic is True else dynamic or ()
        value = Value(key, TensorType(str(array.dtype), tuple(-1 if i in unknown else d for i, d in enumerate(array.shape))))
        feeds[key] = array
        inputs.append(value)
        ops.append(Op("pd_op.data", results=[value], result_names=["out"], handle=key))
        return value

    bound: dict[str, Value | None] = {}
    for key, given in operands.items():
        if isinstance(given, list):
            items = [feed(f"{key}_{i}", array) for i, array in enumerate(given)]
            bound[key] = Value(key, ListType(tuple(v.type for v in items)))
            ops.append(
                Op(
                    "builtin.combine",
                    dict(zip(map(str, range(len(items))), items, strict=True)),
                    results=[bound[key]],
                    result_names=["out"],
                )
            )
        else:
            bound[key] = None if given is None else feed(key, given)
    results = [Value(f"out_{i}", TensorType("float32", ())) for i in range(outputs)]
    if lists:  # the operator's result is a list: what it holds are the outputs
        whole = Value("whole", ListType(tuple(v.type for v in results)))
        ops.append(Op(f"pd_op.{name}", bound, attrs, [whole], ["out"], handle=name))
        ops.append(Op("builtin.split", {"x": whole}, {}, results, [v.name for v in results], handle="split"))
    else:
        ops.append(Op(f"pd_op.{name}", bound, attrs, results, [v.name for v in results], handle=name))
    program = Program(Block([], ops), inputs, {v.name: v for i, v in enumerate(results) if wanted is None or i in wanted}, {}).verify()
    return list(oarlock.Session(oarlock.compile(program, target="cpu")).run(feeds).values())


def check(got: np.ndarray, want: np.ndarray, tolerance: float = 2e-5) -> None:
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def rand(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return np.random.RandomState(seed + sum(shape)).uniform(low, high, shape).astype("float32")


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def layer_norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, epsilon: float) -> np.ndarray:
    x = x.astype(F)
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) * scale + bias


def rms_norm(x: np.ndarray, scale: np.ndarray | float, epsilon: float, axes: int = 1) -> np.ndarray:
    over = tuple(range(x.ndim - axes, x.ndim))
    return x.astype(F) / np.sqrt((x.astype(F) ** 2).mean(over, keepdims=True) + epsilon) * scale


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, mask: np.ndarray | None = None) -> np.ndarray:
    """(batch, length, heads, depth); ``mask`` is added to the scores; fewer key heads serve groups of query heads."""
    q, k, v = (t.astype(F).transpose(0, 2, 1, 3) for t in (q, k, v))
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat(share, 1), v.repeat(share, 1)
    scores = q @ k.swapaxes(-1, -2) * scale
    return (softmax(scores if mask is None else scores + mask) @ v).transpose(0, 2, 1, 3)


def causal(queries: int, keys: int, past: int) -> np.ndarray:
    return np.where(np.arange(keys)[None] <= np.arange(queries)[:, None] + past, 0.0, -np.inf)


BOTH = pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])


# ---- views: without a kernel in Paddle's executor ----------------------------------------------------------------------


@BOTH
def test_as_strided(dynamic: bool) -> None:
    x = rand(3, 4)
    for dims, stride, offset in (([2, 3], [1, 2], 4), ([3, 2], [2, -1], 8), ([2, 2, 2], [0, 3, 1], 0), ([], [], 20)):
        (out,) = run("as_strided", {"input": x}, {"dims": dims, "stride": stride, "offset": offset}, dynamic=dynamic)
        places = offset // 4 + sum((np.indices(dims)[i] * s for i, s in enumerate(stride)), np.zeros(dims, "int64"))
        np.testing.assert_array_equal(out, x.reshape(-1)[places])


def test_as_strided_outside() -> None:
    for dims, stride, offset in (([5, 4], [4, 1], 0), ([2], [1], 44), ([3], [-1], 4)):
        with pytest.raises(oarlock.UnsupportedOperators, match="as_strided"):
            run("as_strided", {"input": rand(3, 4)}, {"dims": dims, "stride": stride, "offset": offset})


@BOTH
def test_view_shape(dynamic: bool) -> None:
    x = rand(3, 2, 2)
    for dims in ([4, 3], [-1, 3], [0, -1], [12]):
        (out,) = run("view_shape", {"input": x}, {"dims": dims}, dynamic=dynamic)
        np.testing.assert_array_equal(out, x.reshape([3, 4] if dims == [0, -1] else dims))


@BOTH
def test_view_dtype(dynamic: bool) -> None:
    (out,) = run("view_dtype", {"input": rand(3, 4)}, {"dtype": "int32"}, dynamic=dynamic)
    np.testing.assert_array_equal(out, rand(3, 4).view("int32"))
    for x, dtype in (
        (np.arange(4).astype("float64"), "int64"),
        (np.array([[-1, 0], [15360, 31744]], "int16"), "float16"),
        (np.array([-1, 0, 127, -128], "int8"), "uint8"),
        (np.array(1.5, "float32"), "int32"),
    ):
        (out,) = run("view_dtype", {"input": x}, {"dtype": dtype}, dynamic=dynamic)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, x.view(dtype))


def test_view_dtype_of_complex_numbers() -> None:
    x = (rand(2, 3) + 1j * rand(2, 3, seed=1)).astype("complex64")
    (out,) = run("view_dtype", {"input": x}, {"dtype": "float32"})
    np.testing.assert_array_equal(out, x.view("float32"))


def test_view_dtype_of_another_width() -> None:
    with pytest.raises(oarlock.UnsupportedOperators, match="view_dtype"):
        run("view_dtype", {"input": rand(3, 4)}, {"dtype": "float64"})


@BOTH
def test_index_select_strided(dynamic: bool) -> None:
    x = rand(3, 4, 2)
    for index, axis in ((2, 0), (1, -1), (-1, 1), (-3, 0)):
        (out,) = run("index_select_strided", {"x": x}, {"index": index, "axis": axis}, dynamic=dynamic)
        np.testing.assert_array_equal(out, x.take(index, axis))


@pytest.mark.parametrize("x", [rand(2, 3), np.array(-1.5), np.arange(6).reshape(3, 1, 2), np.zeros([2, 0], "float32")], ids=str)
def test_handed_on(x: np.ndarray) -> None:
    for name, attrs in {
        "c_identity": {"ring_id": 0, "use_calc_stream": True, "use_model_parallel": True},
        "copy_to": {"place": 0, "blocking": True},
        "nop": {},
        "enable_check_model_nan_inf": {"flag": 1},
        "disable_check_model_nan_inf": {"flag": 0},
        "shadow_feed": {"dst_place_type": 1},
        "conj": {},
        "real": {},
    }.items():
        np.testing.assert_array_equal(run(name, {"x": x}, attrs)[0], x)
    np.testing.assert_array_equal(run("depend", {"x": x, "dep": [rand(2), rand(3)]}, {})[0], x)
    outs = run("shadow_feed_tensors", {"x": [x, x * 2]}, {"dst_place_type": 1}, 2, lists=True)
    np.testing.assert_array_equal(outs[0], x)
    np.testing.assert_array_equal(outs[1], x * 2)
    np.testing.assert_array_equal(run("imag", {"x": x}, {})[0], np.zeros_like(x))


# ---- normalisation -----------------------------------------------------------------------------------------------------


@BOTH
def test_rms_norm(dynamic: bool) -> None:
    x, w = rand(2, 3, 4), rand(4, seed=1)
    (out,) = run("rms_norm", {"x": x, "scale": w}, {"normalized_shape": [4], "epsilon": 1e-3}, dynamic=dynamic)
    check(out, rms_norm(x, w, 1e-3))


@BOTH
@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 7), (2, 1, 3, 2)])
@pytest.mark.parametrize("name", ["fused_rms_norm_ext", "fast_rms_norm"])
def test_rms_norm_of_the_last_axis(name: str, shape: tuple[int, ...], dynamic: bool) -> None:
    x, w = rand(*shape), rand(shape[-1], seed=1)
    (out,) = run(name, {"x": x, "scale": w}, {"epsilon": 1e-2}, dynamic=dynamic)
    check(out, rms_norm(x, w, 1e-2))


def test_rms_norm_over_two_axes() -> None:
    x, w = rand(2, 3, 4), rand(3, 4, seed=1)
    (out,) = run("rms_norm", {"x": x, "scale": w}, {"normalized_shape": [3, 4], "epsilon": 1e-5})
    check(out, rms_norm(x, w, 1e-5, axes=2))
    (out,) = run("rms_norm", {"x": x, "scale": None}, {"normalized_shape": [4], "epsilon": 1e-5})
    check(out, rms_norm(x, 1.0, 1e-5))


@BOTH
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("n", "k", "alpha", "beta"), [(5, 2.0, 1e-1, 0.75), (3, 1.0, 0.5, 0.5), (4, 1.5, 0.2, 1.0)])
def test_lrn(layout: str, n: int, k: float, alpha: float, beta: float, dynamic: bool) -> None:
    x = rand(2, 7, 3, 2)
    given = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    (out,) = run("lrn", {"x": given}, {"n": n, "k": k, "alpha": alpha, "beta": beta, "data_format": layout}, dynamic=dynamic)
    before = (n - 1) // 2
    padded = np.pad(x.astype(F) ** 2, [(0, 0), (before, n - 1 - before), (0, 0), (0, 0)])
    total = k + alpha * sum(padded[:, i : i + 7] for i in range(n))
    want = x * total**-beta
    check(out, want if layout == "NCHW" else want.transpose(0, 2, 3, 1))


@BOTH
@pytest.mark.parametrize(("layout", "own"), [("NCHW", False), ("NHWC", False), ("NCHW", True), ("NHWC", True)])
def test_sync_batch_norm(layout: str, own: bool, dynamic: bool) -> None:
    """By the statistics given, or by the batch's own."""
    x = rand(2, 3, 4, 5) if layout == "NCHW" else rand(2, 4, 5, 3)
    mean, variance, scale, bias = rand(3), rand(3, seed=1, low=0.2), rand(3, seed=2), rand(3, seed=3)
    attrs = {"is_test": not own, "epsilon": 1e-3, "data_format": layout, "use_global_stats": False, "trainable_statistics": False}
    operands = {"x": x, "mean": mean, "variance": variance, "scale": scale, "bias": bias}
    (out,) = run("sync_batch_norm", operands, {**attrs, "momentum": 0.9}, dynamic=dynamic)
    shape, wide = (1, 3, 1, 1) if layout == "NCHW" else (1, 1, 1, 3), x.astype(F)
    m, v, s, c = (t.astype(F).reshape(shape) for t in (mean, variance, scale, bias))
    if own:
        axes = (0, 2, 3) if layout == "NCHW" else (0, 1, 2)
        m, v = wide.mean(axes, keepdims=True), wide.var(axes, keepdims=True)
    check(out, (wide - m) / np.sqrt(v + 1e-3) * s + c)


@BOTH
@pytest.mark.parametrize(("shape", "epsilon"), [((2, 4, 5, 3), 1e-3), ((3, 1, 2, 4), 0.1), ((1, 3, 3, 1), 1e-5)])
def test_batch_norm_act(shape: tuple[int, ...], epsilon: float, dynamic: bool) -> None:
    """Channels last, by the statistics of the batch: that is what Paddle's only kernel does."""
    n = shape[-1]
    x, scale, bias = rand(*shape), rand(n), rand(n, seed=1)
    operands = {"x": x, "scale": scale, "bias": bias, "mean": rand(n, seed=2), "variance": rand(n, seed=3, low=0.1)}
    (out,) = run("fused_batch_norm_act", operands, {"momentum": 0.9, "epsilon": epsilon, "act_type": "relu"}, dynamic=dynamic)
    wide = x.astype(F)
    want = (wide - wide.mean((0, 1, 2))) / np.sqrt(wide.var((0, 1, 2)) + epsilon) * scale + bias
    check(out, np.maximum(want, 0.0))


@BOTH
def test_skip_layernorm(dynamic: bool) -> None:
    x, y, scale, bias = rand(2, 3, 4), rand(2, 3, 4, seed=1), rand(4), rand(4, seed=1)
    (out,) = run("skip_layernorm", {"x": x, "y": y, "scale": scale, "bias": bias}, {"epsilon": 1e-3, "begin_norm_axis": 2}, dynamic=dynamic)
    check(out, layer_norm(x.astype(F) + y, scale, bias, 1e-3))


@pytest.mark.parametrize(("axis", "dtype", "epsilon"), [(1, "float32", 1e-5), (2, "float64", 0.1), (1, "float64", 1e-12)])
def test_skip_layernorm_over_more_axes(axis: int, dtype: str, epsilon: float) -> None:
    x, y = rand(2, 3, 4).astype(dtype), rand(2, 3, 4, seed=1).astype(dtype)
    scale, bias = (rand(12 if axis == 1 else 4, seed=n).astype(dtype) for n in (0, 1))
    attrs = {"epsilon": epsilon, "begin_norm_axis": axis}
    (out,) = run("skip_layernorm", {"x": x, "y": y, "scale": scale, "bias": bias}, attrs)
    total = x.astype(F) + y
    check(out, layer_norm(total.reshape(2, -1) if axis == 1 else total, scale, bias, epsilon).reshape(x.shape))


@pytest.mark.parametrize("rows", [(2, 3), (4,)])
@pytest.mark.parametrize("activation", ["", "relu"])
def test_fc_elementwise_layernorm(activation: str, rows: tuple[int, ...]) -> None:
    x, w, y = rand(*rows, 4), rand(4, 5), rand(*rows, 5)
    b0, scale, b1 = rand(5), rand(5, seed=1), rand(5, seed=2)
    attrs = {"x_num_col_dims": len(rows), "activation_type": activation, "epsilon": 1e-4, "begin_norm_axis": len(rows)}
    (out,) = run("fused_fc_elementwise_layernorm", {"x": x, "w": w, "y": y, "bias0": b0, "scale": scale, "bias1": b1}, attrs)
    hidden = x.astype(F) @ w + b0
    check(out, layer_norm((np.maximum(hidden, 0.0) if activation else hidden) + y, scale, b1, 1e-4))


@pytest.mark.parametrize(("rank", "sizes"), [(2, (6, 5, 2)), (3, (6, 5, 2)), (2, (3, 1, 7, 4)), (3, (4,))])
def test_embedding_eltwise_layernorm(rank: int, sizes: tuple[int, ...]) -> None:
    tables = [rand(n, 4, seed=n) for n in sizes]
    ids = [np.random.RandomState(n).randint(0, len(t), (2, 3, 1)[:rank]).astype("int64") for n, t in enumerate(tables)]
    scale, bias = rand(4), rand(4, seed=1)
    (out,) = run("fused_embedding_eltwise_layernorm", {"ids": ids, "embs": tables, "bias": bias, "scale": scale}, {"epsilon": 1e-4})
    total = sum(t.astype(F)[i.reshape(2, 3)] for i, t in zip(ids, tables, strict=True))
    check(out, layer_norm(total, scale, bias, 1e-4))


# ---- attention ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "kv_heads", "is_causal"), [(5, 4, False), (5, 4, True), (7, 4, True), (6, 2, False)])
def test_flash_attn(keys: int, kv_heads: int, is_causal: bool) -> None:
    q, k, v = rand(2, 5, 4, 8), rand(2, keys, kv_heads, 8, seed=1), rand(2, keys, kv_heads, 8, seed=2)
    operands = {"q": q, "k": k, "v": v, "fixed_seed_offset": None, "attn_mask": None}
    (out,) = run("flash_attn", operands, {"dropout": 0.3, "causal": is_causal, "is_test": True})
    check(out, attention(q, k, v, 8**-0.5, causal(5, keys, keys - 5) if is_causal else None))  # the last query sees the last key


def test_flash_attn_with_a_mask() -> None:
    q, k, v, mask = rand(2, 5, 2, 8), rand(2, 6, 2, 8, seed=1), rand(2, 6, 2, 8, seed=2), rand(2, 1, 5, 6, seed=3)
    (out,) = run("flash_attn", {"q": q, "k": k, "v": v, "fixed_seed_offset": None, "attn_mask": mask}, {"is_test": True})
    check(out, attention(q, k, v, 8**-0.5, mask.astype(F)))


@pytest.mark.parametrize(
    ("scale", "is_causal", "biased"), [(-1.0, False, False), (0.3, True, False), (0.7, False, True), (0.0, False, False)]
)
def test_memory_efficient_attention(scale: float, is_causal: bool, biased: bool) -> None:
    q, k, v = rand(2, 4, 2, 8), rand(2, 6, 2, 8, seed=1), rand(2, 6, 2, 8, seed=2)
    bias = rand(2, 2, 4, 6, seed=3) if biased else None
    attrs = {"max_seqlen_q": 4, "max_seqlen_k": 6, "causal": is_causal, "dropout_p": 0.0, "scale": scale, "is_test": True}
    (out,) = run("memory_efficient_attention", {"query": q, "key": k, "value": v, "bias": bias}, attrs)
    mask = causal(4, 6, 0) if is_causal else None if bias is None else bias.astype(F)  # the first query sees the first key only
    check(out, attention(q, k, v, 8**-0.5 if scale < 0 else scale, mask))


def test_multihead_matmul() -> None:
    x, w, bias, mask = rand(2, 3, 8), rand(8, 3, 8), rand(3, 8), rand(2, 1, 1, 3)
    attrs = {"transpose_q": False, "transpose_k": True, "transpose_v": False, "alpha": 0.4, "head_number": 2}
    for given in (mask, rand(1, 1, 3, 3), rand(2, 2, 3, 3), None):
        (out,) = run("multihead_matmul", {"input": x, "w": w, "bias": bias, "bias_qk": given}, attrs)
        parts = (np.einsum("bsh,hpw->bspw", x.astype(F), w) + bias).reshape(2, 3, 3, 2, 4)
        want = attention(parts[:, :, 0], parts[:, :, 1], parts[:, :, 2], 0.4, None if given is None else given.astype(F))
        check(out, want.reshape(2, 3, 8))


@BOTH
@pytest.mark.parametrize("shape", [(2, 2, 5, 5), (1, 3, 1, 1), (2, 1, 8, 8)])
def test_softmax_mask_upper_triangle(shape: tuple[int, ...], dynamic: bool) -> None:
    x = rand(*shape)
    (out,) = run("fused_softmax_mask_upper_triangle", {"X": x}, {}, dynamic=dynamic)
    check(out, softmax(x + causal(*shape[2:], 0)))


def rotated(x: np.ndarray, sine: np.ndarray, cosine: np.ndarray, neighbours: bool) -> np.ndarray:
    """x (batch, length, heads, depth); sine and cosine (batch, length, depth)."""
    x, half = x.astype(F), x.shape[-1] // 2
    if neighbours:
        other = np.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
    else:
        other = np.concatenate([-x[..., half:], x[..., :half]], -1)
    return x * cosine[:, :, None] + other * sine[:, :, None]


@pytest.mark.parametrize("neighbours", [True, False])
@pytest.mark.parametrize("placed", [True, False])
def test_rotary_embedding(neighbours: bool, placed: bool) -> None:
    q, k = rand(2, 3, 4, 8), rand(2, 3, 2, 8, seed=1)
    sine, cosine = rand(1, 6, 1, 8), rand(1, 6, 1, 8, seed=1)
    places = np.array([[0, 5, 2], [3, 3, 1]]) if placed else np.tile(np.arange(3), (2, 1))
    operands = {"q": q, "k": k, "v": None, "sin": sine, "cos": cosine, "position_ids": places if placed else None}
    outs = run("fused_rotary_position_embedding", operands, {"use_neox_rotary_style": neighbours}, 2)
    for out, x in zip(outs, (q, k), strict=True):
        check(out, rotated(x, sine[0, :, 0].astype(F)[places], cosine[0, :, 0].astype(F)[places], neighbours))


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("neighbours", [True, False])
def test_rotary_embedding_of_a_base(neighbours: bool, time_major: bool) -> None:
    q = rand(2, 3, 4, 8)
    angles = np.arange(3)[:, None] * 100.0 ** -(np.arange(8) // 2 * 2 / 8)
    given = np.ascontiguousarray(q.transpose(1, 0, 2, 3)) if time_major else q
    attrs = {"use_neox_rotary_style": neighbours, "time_major": time_major, "rotary_emb_base": 100.0}
    (out,) = run("fused_rotary_position_embedding", {"q": given, "k": None, "v": None}, attrs)
    want = rotated(q, np.sin(angles)[None], np.cos(angles)[None], neighbours)
    check(out, want.transpose(1, 0, 2, 3) if time_major else want)


# ---- products and convolutions with their epilogues --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gelu", "relu", "geglu", "swiglu"])
@pytest.mark.parametrize("biased", [True, False])
def test_bias_act(name: str, biased: bool) -> None:
    x, bias = rand(3, 8), rand(8, seed=1)
    (out,) = run("fused_bias_act", {"x": x, "bias": bias if biased else None}, {"act_method": name})
    total = x.astype(F) + (bias if biased else 0.0)
    gate, value = total[:, :4], total[:, 4:]
    check(
        out, {"gelu": gelu(total), "relu": np.maximum(total, 0), "geglu": gelu(gate) * value, "swiglu": gate * sigmoid(gate) * value}[name]
    )


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize(("trans_x", "trans_y"), [(False, False), (True, False), (False, True)])
def test_gemm_epilogue(activation: str, trans_x: bool, trans_y: bool) -> None:
    x, y, bias = rand(2, 3), rand(3, 4), rand(4)
    operands = {"x": x.T.copy() if trans_x else x, "y": y.T.copy() if trans_y else y, "bias": bias}
    (out,) = run("fused_gemm_epilogue", operands, {"trans_x": trans_x, "trans_y": trans_y, "activation": activation})
    total = x.astype(F) @ y + bias
    check(out, {"none": total, "relu": np.maximum(total, 0), "gelu": gelu(total)}[activation])


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("mode", ["upscale_in_train", "downgrade_in_infer"])
def test_dropout_add(mode: str, p: float) -> None:
    x, y = rand(2, 3), rand(2, 3, seed=1)
    (out,) = run("fused_dropout_add", {"x": x, "y": y, "seed_tensor": None}, {"p": p, "is_test": True, "mode": mode})
    check(out, x.astype(F) * (1.0 if mode == "upscale_in_train" else 1.0 - p) + y)


def test_legacy_matmul() -> None:
    x, y, v = rand(2, 3, 4), rand(2, 4, 5), rand(4)
    (out,) = run("legacy_matmul", {"x": x, "y": y}, {"alpha": 0.5})
    check(out, 0.5 * (x.astype(F) @ y))
    (out,) = run("legacy_matmul", {"x": x.swapaxes(1, 2).copy(), "y": y.swapaxes(1, 2).copy()}, {"transpose_x": True, "transpose_y": True})
    check(out, x.astype(F) @ y)
    (out,) = run("legacy_matmul", {"x": v, "y": v}, {"alpha": 2.0})
    check(out, 2.0 * (v.astype(F) @ v).reshape(1))


# ---- the rest ----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("x", "threshold"),
    [(rand(3, 4, low=-9.0, high=9.0), 3.0), (rand(2, 3, low=-99.0, high=99.0).astype("float64"), 40.0), (rand(), 0.5)],
    ids=["matrix", "wide", "no dims"],
)
def test_soft_relu(x: np.ndarray, threshold: float, dynamic: bool) -> None:
    (out,) = run("soft_relu", {"x": x}, {"threshold": threshold}, dynamic=dynamic)
    check(out, np.log1p(np.exp(np.clip(x.astype(F), -threshold, threshold))))


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_dequantize_linear(axis: int) -> None:
    """Paddle 3.3.1 runs the kernel of quantize_linear for it in a PIR program; this is what its dynamic mode and older versions compute."""
    x = np.round(rand(2, 3, 4, low=-7, high=7))
    scale = rand(x.shape[axis] if axis >= 0 else 1, low=0.5)
    attrs = {"quant_axis": axis, "bit_length": 4, "qmin": -8, "qmax": 7}
    (out,) = run("dequantize_linear", {"x": x, "scale": scale, "zero_point": np.zeros_like(scale)}, attrs)
    check(out, x.astype(F) * scale.reshape([-1 if a == axis else 1 for a in range(3)]) / 7.0)

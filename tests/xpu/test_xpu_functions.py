"""Functions of the kernel library that stand for several operators, and moves: beside numpy in float64, or Paddle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from oarlock_xpu import device

rand = lambda *shape, seed=0: np.asarray(np.random.default_rng(seed).standard_normal(shape), "float32")  # noqa: E731


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 3e-6) -> None:
    """Equal up to a part of the largest number."""
    assert found.shape == expected.shape
    scale = max(float(np.abs(expected).max(initial=0)), 1e-30)
    assert float(np.abs(found.astype("float64") - expected).max(initial=0)) <= tolerance * scale


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, alpha: float, mask: Any = 0.0) -> np.ndarray:
    """[batch, heads, rows, numbers] each, in float64."""
    return softmax(q.astype("f8") @ k.astype("f8").swapaxes(-1, -2) * alpha + mask) @ v.astype("f8")


@pytest.mark.parametrize(("rows", "keys", "dim"), [(70, 300, 16), (3, 5, 64), (1, 129, 256)])
def test_attention_by_heads_and_a_mask(call, rows: int, keys: int, dim: int) -> None:
    q, k, v = rand(2, 3, rows, dim), rand(2, 3, keys, dim, seed=1), rand(2, 3, keys, 24, seed=2)
    mask = np.where(np.random.default_rng(3).random((2, 1, rows, keys)) < 0.5, np.float32(-1e9), np.float32(0.25))
    step = {"api": "qkv_attention", "heads": 3, "dim": dim, "v_dim": 24, "alpha": 0.3} | {f"{r}_heads": 1 for r in "qkvy"}
    step["inputs"] = ["q", "k", "v", "mask"]
    close(call(step, [q, k, v, mask], (2, 3, rows, 24)), attend(q, k, v, 0.3, mask))


def test_attention_of_a_packed_tensor_where_its_heads_lie(call) -> None:
    x = rand(2, 40, 3 * 4 * 8)  # [batch, rows, 3, heads, numbers]
    q, k, v = x.reshape(2, 40, 3, 4, 8).transpose(2, 0, 3, 1, 4)
    causal = np.where(np.tril(np.ones((40, 40))) > 0, 0, -np.inf)
    step = {"api": "qkv_attention", "inputs": ["q", "k", "v"], "heads": 4, "dim": 8, "alpha": 8**-0.5, "causal": 1}
    step |= {f"{r}_at": 32 * i for i, r in enumerate("qkv")} | {f"{r}_step": 8 for r in "qkv"}
    close(call(step, [x, x, x], (2, 40, 32)), attend(q, k, v, 8**-0.5, causal).transpose(0, 2, 1, 3).reshape(2, 40, 32))


def test_attention_when_whole_blocks_of_keys_are_masked(call) -> None:
    q, k, v = (rand(1, 1, n, 8, seed=n) for n in (2, 300, 300))
    mask = np.full((1, 1, 1, 300), -np.inf, "f4")
    mask[..., 290:] = 0
    step = {"api": "qkv_attention", "inputs": ["q", "k", "v", "mask"], "heads": 1, "dim": 8} | {f"{r}_heads": 1 for r in "qkvy"}
    close(call(step, [q, k, v, mask], (1, 1, 2, 8)), attend(q, k, v, 1, mask))


def encoder(x: np.ndarray, weights: dict[str, np.ndarray], heads: int, mask: Any, pre: bool) -> np.ndarray:
    """One layer with relu, in float64."""

    def norm(v: np.ndarray, n: int) -> np.ndarray:
        centred = v - v.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weights[f"scale{n}"] + weights[f"shift{n}"]

    b, s, d = x.shape
    given = norm(x, 1) if pre else x
    qkv = (given @ weights["qkv"] + weights["qkv_bias"]).reshape(b, s, 3, heads, d // heads).transpose(2, 0, 3, 1, 4)
    mixed = attend(*qkv, (d // heads) ** -0.5, mask).transpose(0, 2, 1, 3).reshape(b, s, d)
    x = x + mixed @ weights["out"] + weights["out_bias"]
    x = x if pre else norm(x, 1)
    inner = np.maximum((norm(x, 2) if pre else x) @ weights["inner"] + weights["inner_bias"], 0)
    x = x + inner @ weights["outer"] + weights["outer_bias"]
    return x if pre else norm(x, 2)


def layers(count: int, d: int, f: int) -> list[dict[str, np.ndarray]]:
    shapes = {"qkv": (d, 3 * d), "out": (d, d), "inner": (d, f), "outer": (f, d), "qkv_bias": (3 * d,), "out_bias": (d,)}
    shapes |= {"inner_bias": (f,), "outer_bias": (d,)} | {f"{n}{i}": (d,) for n in ("scale", "shift") for i in (1, 2)}
    return [{role: rand(*s, seed=40 * n + i) * 0.3 for i, (role, s) in enumerate(shapes.items())} for n in range(count)]


def encoded(call, x: np.ndarray, mask: np.ndarray, weights: list[dict[str, np.ndarray]], **more: int) -> np.ndarray:
    given = {f"l{n}.{role}": w for n, layer in enumerate(weights) for role, w in layer.items()}
    step = {"api": "transformer_encoder", "inputs": ["x", "mask", *given], "layers": len(weights), "heads": 4, "alpha": 0.5, "act": "relu"}
    return call({**step, "eps1": 1e-5, "eps2": 1e-5, **more}, [x, mask, *given.values()], x.shape)


@pytest.mark.parametrize("pre", [False, True])
def test_layers_of_an_encoder(call, pre: bool) -> None:
    x, weights, mask = rand(2, 9, 16), layers(2, 16, 40), np.where(rand(2, 1, 1, 9) > 0.5, np.float32(-1e4), np.float32(0))
    expected = x.astype("f8")
    for layer in weights:
        expected = encoder(expected, layer, 4, mask, pre)
    close(encoded(call, x, mask, weights, pre_norm=int(pre)), expected, 1e-5)


def test_packed_sequences_compute_no_padding(call) -> None:
    lengths, weights, x = [5, 17], layers(2, 16, 40), rand(2, 32, 16)
    mask = np.full((2, 1, 1, 32), -1e4, "f4")
    for b, n in enumerate(lengths):
        mask[b, ..., :n] = 0
    device.counters(reset=True)
    found = encoded(call, x, mask, weights, packed=1)
    counted = sum(k["macs"] for k in device.counters(reset=True)["kernels"].values())
    # of each row the four matrices, of each sequence the scores and their sums; nothing for the 42 rows of padding
    assert counted == len(weights) * (sum(lengths) * (16 * 48 + 16 * 16 + 2 * 16 * 40) + sum(2 * n * n * 16 for n in lengths))
    for b, n in enumerate(lengths):
        expected = x[b : b + 1, :n].astype("f8")
        for layer in weights:
            expected = encoder(expected, layer, 4, 0.0, False)
        close(found[b : b + 1, :n], expected, 1e-5)
        assert not found[b, n:].any()
    # any place may be padding: the rows that are left are a sequence
    keep = np.array([0, 3, 4, 9])
    mask[...] = -1e4
    mask[1, ..., keep] = 0
    expected = encoder(encoder(x[1:, keep].astype("f8"), weights[0], 4, 0.0, False), weights[1], 4, 0.0, False)
    found = encoded(call, x, mask, weights, packed=1)
    close(found[1:, keep], expected, 1e-5)
    assert not found[0].any()


@pytest.mark.parametrize("weights", ["float32", "float16"])
def test_squeeze_excitation(call, weights: str) -> None:
    for channels, hidden in ((70, 20), (8200, 3)):  # of more than 8192 channels the means have no room in shared memory
        x, b1, b2 = rand(2, channels, 3, 11), rand(hidden, seed=2), rand(channels, seed=4)
        w1, w2 = (w.astype(weights) for w in (rand(hidden, channels, seed=1), rand(channels, hidden, seed=3)))
        inner = np.maximum(x.astype("f8").mean((2, 3)) @ w1.T + b1, 0)
        gate = np.clip((inner @ w2.T + b2) / 6 + 0.5, 0, 1)[..., None, None]
        step = {"api": "squeeze_excitation_block", "inputs": ["x", "w1", "w2", "b1", "b2"], "act1": "relu", "act2": "hard_sigmoid"}
        close(call({**step, "act2_alpha": 1 / 6}, [x, w1, w2, b1, b2], x.shape), x * gate)


# strides, paddings (top, bottom, left, right), dilations, groups, filters, window, what is added below and right
TRANSPOSED = {
    "2x2 steps": ((2, 2), (0, 0, 0, 0), (1, 1), 1, 5, (2, 2), (0, 0)),
    "window over steps": ((2, 3), (1, 1, 2, 2), (1, 1), 1, 9, (4, 5), (1, 0)),
    "groups, dilation": ((1, 2), (1, 1, 0, 0), (2, 1), 2, 6, (3, 3), (0, 1)),
    "steps wider than the window": ((3, 3), (0, 0, 0, 0), (1, 1), 1, 4, (2, 2), (2, 1)),
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions(call, name: str) -> None:
    paddle = pytest.importorskip("paddle", reason="paddlepaddle computes what is expected")
    strides, paddings, dilations, groups, filters, window, added = TRANSPOSED[name]
    x, w, bias = rand(2, 4, 6, 7), rand(4, filters // groups, *window, seed=1), rand(filters, seed=2)
    expected = paddle.nn.functional.conv2d_transpose(
        paddle.to_tensor(x),
        paddle.to_tensor(w),
        paddle.to_tensor(bias),
        list(strides),
        [paddings[0], paddings[2]],
        list(added),
        list(dilations),
        groups,
    )
    turned = w.reshape(groups, 4 // groups, filters // groups, *window).transpose(0, 2, 3, 4, 1).reshape(filters, *window, 4 // groups)
    step = {
        "api": "conv2d_transpose_fusion",
        "strides": strides,
        "paddings": paddings,
        "dilations": dilations,
        "groups": groups,
        "act": "relu",
    }
    close(call(step, [x, turned, bias], expected.shape), np.maximum(expected.numpy(), 0))


@pytest.mark.parametrize("width", [33, 1500])
def test_sums_normalised(call, width: int) -> None:
    x, other, scale, bias = rand(7, width) + 2, rand(7, width, seed=1), rand(width, seed=2), rand(width, seed=3)
    total = x.astype("f8") + other
    centred = total - total.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + bias
    step = {"inputs": ["x", "other", "scale", "bias"], "dims": 1, "eps": 1e-5}
    close(call({"api": "add_layer_norm", **step}, [x, other, scale, bias], x.shape), expected)
    expected = total / np.sqrt((total**2).mean(-1, keepdims=True) + 1e-5) * scale + bias
    close(call({"api": "rms_layer_norm", **step}, [x, other, scale, bias], x.shape), expected)


@pytest.mark.parametrize(("shape", "groups"), [((2, 6, 5, 7), 3), ((1, 4, 300, 301), 2), ((3, 5, 9), 1)])
def test_groups_of_channels_normalised(call, shape: tuple[int, ...], groups: int) -> None:
    x, scale, bias = rand(*shape) + 1, rand(shape[1], seed=1), rand(shape[1], seed=2)

    def expected(count: int) -> np.ndarray:
        parts = x.astype("f8").reshape(shape[0], count, -1)
        centred = parts - parts.mean(-1, keepdims=True)
        normed = (centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)).reshape(shape[0], shape[1], -1)
        v = normed * scale[:, None] + bias[:, None]
        return (v / (1 + np.exp(-v))).reshape(shape)

    step = {"inputs": ["x", "scale", "bias"], "eps": 1e-5, "act": "swish"}
    close(call({"api": "group_norm", "groups": groups, **step}, [x, scale, bias], shape), expected(groups))
    close(call({"api": "instance_norm", **step}, [x, scale, bias], shape), expected(shape[1]))
    v = (x.reshape(*shape[:2], -1) * scale[:, None] + bias[:, None]).reshape(shape).astype("f8")
    close(call({"api": "batch_norm_infer", **step}, [x, scale, bias], shape), v / (1 + np.exp(-v)))


def test_embeddings_with_their_sum_and_norm(call) -> None:
    tables, scale, bias = [rand(n, 48, seed=n) for n in (30, 9, 2)], rand(48, seed=1), rand(48, seed=2)
    ids = [np.random.default_rng(n).integers(0, n, s) for n, s in ((30, (3, 9)), (9, (1, 9)), (2, (3, 9)))]
    total = sum(t[i] for t, i in zip(tables, ids, strict=True)).astype("f8")
    centred = total - total.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * scale + bias
    roles = [f"{what}{k}" for k in range(3) for what in ("table", "ids")]
    given = [x for pair in zip(tables, ids, strict=True) for x in pair]
    step = {"api": "multi_embedding_fusion", "inputs": [*roles, "scale", "bias"], "eps": 1e-12}
    close(call(step, [*given, scale, bias], (3, 9, 48)), expected)
    step = {"api": "embedding", "inputs": ["table", "ids"], "padding": 4}
    found = call(step, [tables[0], ids[0]], (3, 9, 48))
    assert np.array_equal(found, np.where((ids[0] == 4)[..., None], 0, tables[0][ids[0]]))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_lookups_along_any_dim(call, axis: int) -> None:
    x, index = rand(4, 6, 700), np.array([3, 0, -1, 2], "int32")
    expected = np.take(x, index, axis)
    assert np.array_equal(call({"api": "gather", "inputs": ["x", "index"], "axis": axis}, [x, index], expected.shape), expected)


@pytest.mark.parametrize("dtype", ["float32", "int64", "int8", "float16"])
def test_slices(call, dtype: str) -> None:
    x = np.arange(4 * 30 * 50).reshape(4, 30, 50).astype(dtype)
    step = {"api": "strided_slice", "inputs": ["x"]}
    cases = {
        "steps": (x[1:4:2, 3:, 1::3], [1, 3, 1], [2, 1, 3], [0, 1, 2]),
        "backwards": (x[::-1, :, ::-2], [3, 0, 49], [-1, 1, -2], [0, 1, 2]),
        "far steps": (np.repeat(x, 1, 0)[:, :, ::49], [0, 0, 0], [1, 1, 49], [0, 1, 2]),
        "repeated": (np.broadcast_to(x[:, :, None, 7], (5, 4, 30, 1)), [0, 0, 7], [1, 1, 1], [-1, 0, 1, -1]),
    }
    for name, (expected, begins, strides, dims) in cases.items():
        found = call({**step, "begins": begins, "strides": strides, "dims": dims}, [x], expected.shape, dtype)
        assert np.array_equal(found, expected), name


def test_padding(call) -> None:
    x = rand(2, 3, 40, 5)
    before, after = (0, 1, 2, 0), (0, 0, 1, 3)
    expected = np.pad(x, list(zip(before, after, strict=True)), constant_values=0.5)
    assert np.array_equal(call({"api": "pad", "inputs": ["x"], "before": before, "value": 0.5}, [x], expected.shape), expected)
    cut = call({"api": "pad", "inputs": ["x"], "before": [0, -1, 0, 2], "value": 7}, [x], (2, 2, 40, 9))
    assert np.array_equal(cut, np.pad(x[:, 1:], [(0, 0), (0, 0), (0, 0), (2, 2)], constant_values=7))


@pytest.mark.parametrize(("axis", "shape"), [(1, (5, 700)), (0, (40, 3)), (1, (3, 9, 300))])
def test_places_of_extremes_and_running_sums(call, axis: int, shape: tuple[int, ...]) -> None:
    x = np.round(rand(*shape), 1)
    reduced = tuple(d for i, d in enumerate(shape) if i != axis)
    for smallest, function in enumerate((np.argmax, np.argmin)):
        found = call({"api": "argmax", "axis": axis, "smallest": smallest}, [x], reduced, "int64")
        assert np.array_equal(found, function(x, axis))
    close(call({"api": "cumsum", "axis": axis}, [x], shape), np.cumsum(x.astype("f8"), axis))
    whole = (x * 10).astype("int64")
    assert np.array_equal(call({"api": "cumsum", "axis": axis, "exclusive": 1}, [whole], shape, "int64"), np.cumsum(whole, axis) - whole)
    odd = np.array([[np.nan, -np.inf, np.nan], [np.nan, np.nan, np.nan], [np.inf, 1, np.inf]], "f4")
    assert call({"api": "argmax", "axis": 1}, [odd], (3,), "int32").tolist() == [1, 0, 0]


def test_choices_casts_and_constants(call) -> None:
    x, y, condition = rand(4, 1, 9), rand(5, 1, seed=1), np.random.default_rng(2).random((4, 5, 9)) < 0.5
    found = call({"api": "select", "inputs": ["condition", "x", "y"]}, [condition, x, y], (4, 5, 9))
    assert np.array_equal(found, np.where(condition, x, y))
    wide = rand(2000) * 100
    for source, target in (("float32", "int32"), ("float32", "int64"), ("int64", "float32"), ("bool", "float32"), ("float32", "float16")):
        given = wide.astype(source)
        assert np.array_equal(call({"api": "cast", "inputs": ["x"]}, [given], (2000,), target), given.astype(target)), (source, target)
    for dtype, value in (("float32", -0.5), ("int64", 7), ("int8", 3)):
        assert (call({"api": "constant", "inputs": [], "value": value}, [], (3, 900), dtype) == value).all()


@pytest.mark.parametrize("axes", [(0, 2), (0, 2, 4), (1, 3), (4, 0)])
def test_reductions_over_dims_apart(call, axes: tuple[int, ...]) -> None:
    x = rand(3, 4, 5, 6, 7)
    for kind in ("sum", "mean", "max"):
        expected = getattr(x.astype("f8"), kind)(axes)
        close(call({"api": f"reduce_{kind}", "axes": axes}, [x], expected.shape), expected, 5e-6)


@pytest.mark.parametrize("dtype", ["float16", "int16", "int8"])
def test_narrow_operands(call, dtype: str) -> None:
    """Each against its own arithmetic: operands rounded, sums exact."""
    x, w = rand(9, 200), rand(200, 30, seed=1) * np.linspace(0.01, 3, 30).astype("f4")
    if dtype == "float16":
        expected = x.astype(dtype).astype("f8") @ w.astype(dtype).astype("f8")
        close(call({"api": "fc_fusion", "inputs": ["x", "w"]}, [x, w.astype(dtype)], (9, 30)), expected, 1e-6)
        return
    from oarlock_xpu.compiler.precision import rounded

    most = np.iinfo(dtype).max
    integers, largest = rounded(w, 1, dtype)
    assert np.allclose(integers.astype("f8") * largest / most, w, atol=float(largest.max()) / most / 2 * 1.01)
    x_max = np.abs(x).max()
    xq = np.rint(x * np.float32(np.float32(most) / x_max)).astype("i8")
    expected = xq @ integers.astype("i8") * (x_max / most) * (largest / most)
    close(call({"api": "fc_fusion", "inputs": ["x", "w", "w_columns"]}, [x, integers, largest], (9, 30)), expected, 2e-6)


def test_narrower_operands_take_less_modelled_time(call) -> None:
    from oarlock_xpu.compiler.precision import rounded

    x, w, taken = rand(256, 768), rand(768, 768, seed=1), list[float]()
    for dtype in ("float32", "float16", "int8"):
        given = {"w_columns": rounded(w, 1, dtype)[1], "x_max": np.full(6, np.abs(x).max())} if dtype == "int8" else {}
        weights = rounded(w, 1, dtype)[0] if given else w.astype(dtype)
        device.counters(reset=True)
        call({"api": "fc_fusion", "inputs": ["x", "w", *given]}, [x, weights, *given.values()], (256, 768))
        taken.append(sum(k["modelled_us"] for k in device.counters(reset=True)["kernels"].values()))
    assert taken[0] > taken[1] > taken[2]


def test_functions_of_elements_more(call) -> None:
    x = rand(3, 7001) * 3
    expected = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round": np.rint,
        "sin": np.sin,
        "cos": np.cos,
        "reciprocal": lambda v: 1 / v,
        "erf": np.vectorize(math.erf),
        "mish": lambda v: v * np.tanh(np.log1p(np.exp(v))),
        "softplus": lambda v: np.log1p(np.exp(v)),
        "elu": lambda v: np.where(v > 0, v, 0.7 * np.expm1(v)),
        "hard_sigmoid": lambda v: np.clip(v / 6 + 0.5, 0, 1),
    }
    extra = {"elu": {"alpha": 0.7}, "hard_sigmoid": {"slope": 1 / 6}, "softplus": {"beta": 1, "threshold": 20}}
    for name, function in expected.items():
        close(call({"api": name, **extra.get(name, {})}, [x], x.shape), function(x.astype("f8")))

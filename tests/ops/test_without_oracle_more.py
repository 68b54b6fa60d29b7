"""More operators that Paddle's CPU or its exporter does not offer: hand-written programs against plain numpy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_without_oracle import BOTH, F, check, layer_norm, rand, run, sigmoid

from oarlock.errors import UnsupportedError

RELU = {"": lambda v: v, "relu": lambda v: np.maximum(v, 0), "tanh": np.tanh, "sigmoid": sigmoid}

# ---- fused elementwise -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "act"), [("add", "relu"), ("sub", "tanh"), ("mul", ""), ("div", "sigmoid")])
@pytest.mark.parametrize("axis", [-1, 1])
def test_fused_elementwise(kind: str, act: str, axis: int) -> None:
    x, y = rand(2, 3, 4), rand(3, 4, low=0.5, seed=1) if axis == -1 else rand(3, low=0.5, seed=1)
    name = {"add": "fused_elementwise_add", "sub": "fused_elementwise_sub", "mul": "fused_elementwise_mul", "div": "fused_elementwise_div"}
    (out,) = run(name[kind], {"x": x, "y": y}, {"axis": axis, "fuse_activation": act, "fused_output_scale": 1.0})
    wide, other = x.astype(F), y.astype(F) if axis == -1 else y.astype(F).reshape(3, 1)
    whole = {"add": wide + other, "sub": wide - other, "mul": wide * other, "div": wide / other}[kind]
    check(out, RELU[act](whole))


@pytest.mark.parametrize("name", ["fused_elemwise_activation", "fused_elemwise_add_activation"])
@pytest.mark.parametrize(
    "functors", [("elementwise_add", "relu"), ("relu", "elementwise_mul"), ("scale", "elementwise_add"), ("elementwise_mul", "tanh")]
)
def test_fused_functors(name: str, functors: tuple[str, str]) -> None:
    x, y = rand(2, 3), rand(3, seed=1)
    out, middle = run(name, {"x": x, "y": y}, {"functor_list": list(functors), "axis": -1, "scale": 0.5, "save_intermediate_out": True}, 2)
    one = {**RELU, "scale": lambda v: v * 0.5}
    two = {"elementwise_add": np.add, "elementwise_mul": np.multiply}
    outer, inner = functors
    if outer in two:
        between = one[inner](y.astype(F))
        want = two[outer](x, between)
    else:
        between = two[inner](x.astype(F), y)
        want = one[outer](between)
    check(middle, between)
    check(out, want)


@pytest.mark.parametrize(("start", "length"), [(0, -1), (1, 2), (-3, 2)])
@BOTH
def test_partial(start: int, length: int, dynamic: bool) -> None:
    xs = [rand(3, 5, seed=n) for n in range(3)]
    attrs = {"start_index": start, "length": length}
    begin = start % 5
    cuts = [x[:, begin : 5 if length < 0 else begin + length].astype(F) for x in xs]
    given = {"dynamic": (0,) if dynamic else False}
    check(run("partial_concat", {"x": xs}, attrs, **given)[0], np.concatenate(cuts, 1))
    check(run("partial_sum", {"x": xs}, attrs, **given)[0], sum(cuts))


@pytest.mark.parametrize(("slots", "rows"), [(2, 3), (1, 4), (3, 1)])
def test_batch_fc(slots: int, rows: int) -> None:
    x, w, bias = rand(slots, rows, 4), rand(slots, 4, 5), rand(slots, 5)
    check(run("batch_fc", {"input": x, "w": w, "bias": bias}, {})[0], np.maximum(x.astype(F) @ w + bias[:, None], 0))


@pytest.mark.parametrize(("order", "flatten", "axis"), [([0, 2, 3, 1], 1, 1), ([0, 1, 2, 3], 2, 0), ([3, 0, 1, 2], 3, 1)])
def test_transpose_flatten_concat(order: list[int], flatten: int, axis: int) -> None:
    xs = [rand(2, 3, 4, 5, seed=n) for n in range(2)]
    (out,) = run("fusion_transpose_flatten_concat", {"x": xs}, {"trans_axis": order, "flatten_axis": flatten, "concat_axis": axis})
    moved = [x.transpose(order) for x in xs]
    check(out, np.concatenate([m.reshape(int(np.prod(m.shape[:flatten])), -1) for m in moved], axis))


@pytest.mark.parametrize(("dual", "channels"), [(False, 3), (True, 3), (True, 1)])
def test_scale_bias_add_relu(dual: bool, channels: int) -> None:
    x, y = rand(2, 4, 5, channels), rand(2, 4, 5, channels, seed=1)
    s, c, t, d = (rand(channels, seed=n) for n in range(4))
    operands: dict[str, Any] = {"x1": x, "scale1": s, "bias1": c, "x2": y, "scale2": t if dual else None, "bias2": d if dual else None}
    (out,) = run("fused_scale_bias_add_relu", operands, {"fuse_dual": dual, "exhaustive_search": False})
    check(out, np.maximum(x.astype(F) * s + c + (y.astype(F) * t + d if dual else y), 0))


# ---- sequences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SUM", "AVERAGE", "SQRT"])
@pytest.mark.parametrize("counted", [True, False])
def test_pooled_counters(kind: str, counted: bool) -> None:
    xs = [rand(rows, 4, low=0.0, seed=rows) for rows in (3, 5)]
    operands: dict[str, Any] = {"x": xs, "cvm": rand(1, 2)}
    (out,) = run("fusion_seqpool_cvm_concat", operands, {"pooltype": kind, "use_cvm": counted, "axis": 1})
    parts = []
    for x in xs:
        row = x.astype(F).sum(0) / {"SUM": 1, "AVERAGE": len(x), "SQRT": len(x) ** 0.5}[kind]
        first = np.log(row[0] + 1)
        parts += [[first, np.log(row[1] + 1) - first], row[2:]] if counted else [row[2:]]
    check(out, np.concatenate(parts)[None])
    attrs = {"pooltype": kind, "pad_value": 0.0, "use_cvm": counted, "cvm_offset": 2}
    apart = run("fused_seqpool_cvm", operands, attrs, 2, lists=True)
    check(np.concatenate(apart, 1), out.astype(F))


@pytest.mark.parametrize(("shape", "context"), [((5, 3), 2), ((2, 6, 3), 3), ((2, 3), 4)])
@BOTH
def test_row_conv(shape: tuple[int, ...], context: int, dynamic: bool) -> None:
    x, w = rand(*shape), rand(context, 3, seed=1)
    (out,) = run("row_conv", {"x": x, "filter": w}, {}, dynamic=dynamic)
    wide = np.concatenate([x.astype(F), np.zeros((*shape[:-2], context, 3))], -2)
    check(out, sum(wide[..., k : k + shape[-2], :] * w[k] for k in range(context)))


@pytest.mark.parametrize(("rows", "columns", "matrices"), [(3, 5, 2), (1, 4, 3), (2, 2, 1)])
def test_match_matrix(rows: int, columns: int, matrices: int) -> None:
    x, y, w = rand(rows, 4), rand(columns, 6, seed=1), rand(4, matrices, 6, seed=2)
    out, left = run("match_matrix_tensor", {"x": x, "y": y, "w": w}, {"dim_t": matrices}, 2)
    check(left, x.astype(F) @ w.reshape(4, -1))
    check(out, np.einsum("ia,atb,jb->tij", x.astype(F), w, y).reshape(-1, 1))


# ---- experts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [[0, 3, 3, 1, 4, 3], [2], [-1, 7, 5, 0, 0]])
@BOTH
def test_number_count(numbers: list[int], dynamic: bool) -> None:
    (out,) = run("number_count", {"numbers": np.array(numbers)}, {"upper_range": 5}, dynamic=dynamic)
    np.testing.assert_array_equal(out, [numbers.count(n) for n in range(5)])


@pytest.mark.parametrize(
    ("counts", "capacity", "want"),
    [([3, 1, 4, 2], [5, 2], [3, 1, 2, 1]), ([9, 0, 1, 1], [5, 9], [5, 0, 0, 1]), ([2, 2, 2, 2], [4, 4], [2, 2, 2, 2])],
)
def test_limit_by_capacity(counts: list[int], capacity: list[int], want: list[int]) -> None:
    operands = {"expert_count": np.array(counts), "capacity": np.array(capacity)}
    np.testing.assert_array_equal(run("limit_by_capacity", operands, {"n_worker": 2})[0], want)


@pytest.mark.parametrize(
    ("gates", "counts", "want"),
    [([0, 1, 0, 0, 1], [2, 1], [0, 1, 0, -1, -1]), ([2, 2, 1], [9, 0, 1], [2, -1, -1]), ([0, 0, 0], [5, 5], [0, 0, 0])],
)
@BOTH
def test_prune_gate(gates: list[int], counts: list[int], want: list[int], dynamic: bool) -> None:
    operands = {"gate_idx": np.array(gates), "expert_count": np.array(counts)}
    attrs = {"n_expert": len(counts), "n_worker": 1}
    np.testing.assert_array_equal(run("prune_gate_by_capacity", operands, attrs, dynamic=dynamic)[0], want)


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_random_routing(rows: int) -> None:
    rng = np.random.RandomState(rows)
    chance, weights, experts = rng.rand(rows).astype("float32"), rng.rand(rows, 2).astype("float32"), rng.randint(0, 8, (rows, 2))
    (out,) = run("random_routing", {"prob": chance, "topk_value": weights, "topk_idx": experts}, {})
    want = experts.copy()
    want[2 * weights[:, 1] < chance, 1] = -1
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("name", ["moe_combine", "moe_combine_auto"])
@pytest.mark.parametrize(("tokens", "experts"), [(4, 2), (1, 3), (3, 1)])
def test_moe_combine(name: str, tokens: int, experts: int) -> None:
    x, weights = rand(7, 5), rand(tokens, experts, seed=1)
    rows = np.random.RandomState(0).randint(0, 7, (tokens, experts)).astype("int32")
    (out,) = run(name, {"x": x, "combine_weights": weights, "scatter_index": rows}, {})
    check(out, (x.astype(F)[rows] * weights[..., None]).sum(1))


# ---- the rest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_with_index", "min_with_index"])
@pytest.mark.parametrize(("dim", "keepdim", "flatten"), [(1, False, False), (-1, True, False), (0, False, True), (0, True, True)])
def test_extreme_with_index(name: str, dim: int, keepdim: bool, flatten: bool) -> None:
    x = np.round(rand(3, 4, 5), 1)  # ties: the first one counts
    value, index = run(name, {"x": x}, {"dim": dim, "keepdim": keepdim, "flatten": flatten}, 2)
    take, where = (np.max, np.argmax) if name.startswith("max") else (np.min, np.argmin)
    axis = None if flatten else dim
    np.testing.assert_array_equal(value, take(x, axis=axis, keepdims=keepdim))
    np.testing.assert_array_equal(index, where(x, axis=axis, keepdims=keepdim))


@pytest.mark.parametrize(("dim", "flatten"), [(3, False), (-4, False)])
def test_extreme_along_an_axis_that_is_not_there(dim: int, flatten: bool) -> None:
    with pytest.raises(UnsupportedError, match=f"axis {dim} does not exist"):
        run("max_with_index", {"x": rand(3, 4, 5)}, {"dim": dim, "keepdim": False, "flatten": flatten}, 2)


@pytest.mark.parametrize("name", ["fft_r2c", "fft_c2r"])
def test_a_real_transform_along_no_axis(name: str) -> None:
    """Paddle ends its process when it makes such a program."""
    attrs = {"axes": [], "normalization": "backward", "forward": True} | ({"onesided": True} if name == "fft_r2c" else {"last_dim_size": 0})
    with pytest.raises(UnsupportedError, match="along no axis"):
        run(name, {"x": rand(3, 4) if name == "fft_r2c" else rand(3, 4).astype("complex64")}, attrs)


@pytest.mark.parametrize(("pad", "kernel", "reach", "stride1", "stride2"), [(4, 1, 4, 1, 1), (3, 3, 2, 2, 2), (2, 1, 3, 1, 2)])
def test_correlation(pad: int, kernel: int, reach: int, stride1: int, stride2: int) -> None:
    x, y = rand(2, 3, 6, 7), rand(2, 3, 6, 7, seed=1)
    attrs = {"pad_size": pad, "kernel_size": kernel, "max_displacement": reach, "stride1": stride1, "stride2": stride2}
    (out,) = run("correlation", {"input1": x, "input2": y}, {**attrs, "corr_type_multiply": 1})
    edge, steps = (kernel - 1) // 2, reach // stride2
    wide = [np.pad(t.astype(F), ((0, 0), (0, 0), (pad, pad), (pad, pad))) for t in (x, y)]
    # room for patches whose centres leave what is padded
    room = [np.pad(t, ((0, 0), (0, 0), (9, 9), (9, 9))) for t in wide]
    sizes = [-(-(d + 2 * pad - 2 * (edge + reach)) // stride1) for d in (6, 7)]
    want = np.zeros((2, (2 * steps + 1) ** 2, *sizes))
    for d in range(want.shape[1]):
        dy, dx = (d // (2 * steps + 1) - steps) * stride2, (d % (2 * steps + 1) - steps) * stride2
        for i in range(sizes[0]):
            for j in range(sizes[1]):
                a, c = i * stride1 + reach + 9, j * stride1 + reach + 9
                first = room[0][:, :, a - edge : a + edge + 1, c - edge : c + edge + 1]
                second = room[1][:, :, a + dy - edge : a + dy + edge + 1, c + dx - edge : c + dx + edge + 1]
                want[:, d, i, j] = (first * second).sum((1, 2, 3)) / (kernel * kernel * 3)
    check(out, want)


@pytest.mark.parametrize(("m1", "m2", "m3", "scale"), [(1.0, 0.5, 0.0, 16.0), (1.2, 0.1, 0.2, 8.0), (1.0, 0.0, 0.35, 30.0)])
def test_margin_cross_entropy(m1: float, m2: float, m3: float, scale: float) -> None:
    x, label = rand(4, 6, low=-0.95, high=0.95), np.array([[0], [5], [2], [2]])
    attrs = {"margin1": m1, "margin2": m2, "margin3": m3, "scale": scale, "nranks": 1, "rank": 0, "ring_id": 0, "return_softmax": True}
    probability, loss = run("margin_cross_entropy", {"logits": x, "label": label}, attrs, 2)
    moved = x.astype(F)
    rows = np.arange(4)
    moved[rows, label[:, 0]] = np.cos(np.arccos(moved[rows, label[:, 0]]) * m1 + m2) - m3
    exact = np.exp(moved * scale) / np.exp(moved * scale).sum(1, keepdims=True)
    check(probability, exact)
    check(loss, -np.log(exact[rows, label[:, 0]])[:, None])


@pytest.mark.parametrize("kind", ["int32", "float32", "int64"])
@BOTH
def test_ones_and_zeros(kind: str, dynamic: bool) -> None:
    x = rand(2, 3)
    for name, value in (("ones_like", 1), ("zeros_like", 0)):
        (out,) = run(name, {"x": x}, {"dtype": kind}, dynamic=dynamic)
        assert out.dtype == kind
        np.testing.assert_array_equal(out, np.full((2, 3), value))
    for name, value in (("ones", 1), ("zeros", 0)):
        (out,) = run(name, {}, {"shape": [4, 1], "dtype": kind})
        assert out.dtype == kind
        np.testing.assert_array_equal(out, np.full((4, 1), value))


@pytest.mark.parametrize(("start", "end", "step", "kind"), [(2, 9, 3, "int64"), (5, -2, -2, "int32"), (0.5, 2.0, 0.25, "float32")])
def test_range(start: float, end: float, step: float, kind: str) -> None:
    operands = {k: np.array([v], kind) for k, v in (("start", start), ("end", end), ("step", step))}
    (out,) = run("range_v2", operands, {"dtype": kind})
    assert out.dtype == kind
    np.testing.assert_array_equal(out, np.arange(start, end, step, kind))


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 8), (1, 1, 16)])
def test_fast_layer_norm(shape: tuple[int, ...]) -> None:
    x, scale, bias = rand(*shape), rand(shape[-1]), rand(shape[-1], seed=1)
    check(run("fast_ln", {"x": x, "scale": scale, "bias": bias}, {"epsilon": 1e-3})[0], layer_norm(x, scale, bias, 1e-3))


@pytest.mark.parametrize(("residual", "act", "layout"), [(True, "silu", "NHWC"), (False, "silu", "NHWC"), (True, "", "NCHW")])
def test_add_group_norm(residual: bool, act: str, layout: str) -> None:
    x, y, scale, bias = rand(2, 3, 5, 4), rand(2, 3, 5, 4, seed=1), rand(4), rand(4, seed=1)
    turn = (lambda t: np.ascontiguousarray(t.transpose(0, 3, 1, 2))) if layout == "NCHW" else lambda t: t
    operands: dict[str, Any] = {"x": turn(x), "residual": turn(y) if residual else None, "scale": scale, "bias": bias}
    attrs = {"epsilon": 1e-3, "groups": 2, "data_format": layout, "activation": act}
    out, total = run("add_group_norm_silu", operands, attrs, 2)
    whole = x.astype(F) + (y if residual else 0.0)
    parts = whole.reshape(2, 15, 2, 2)
    flat = (parts - parts.mean((1, 3), keepdims=True)) / np.sqrt(parts.var((1, 3), keepdims=True) + 1e-3)
    want = flat.reshape(x.shape) * scale + bias
    check(total, turn(whole))
    check(out, turn(want * sigmoid(want) if act else want))


@pytest.mark.parametrize("shape", [(2, 4), (1, 3, 8), (5, 1)])
def test_per_channel_scale(shape: tuple[int, ...]) -> None:
    x, scales = rand(*shape), rand(shape[-1], seed=1)
    check(run("apply_per_channel_scale", {"x": x, "scales": scales}, {})[0], x.astype(F) * scales)


def test_gumbel_softmax_chooses_by_probability() -> None:
    logits = np.tile(np.log(np.array([0.1, 0.2, 0.7], "float32")), (4000, 1))
    (hard,) = run("gumbel_softmax", {"x": logits}, {"temperature": 0.5, "hard": True, "axis": -1})
    assert set(np.unique(hard)) == {0.0, 1.0}
    np.testing.assert_array_equal(hard.sum(1), 1.0)
    np.testing.assert_allclose(hard.mean(0), [0.1, 0.2, 0.7], atol=0.03)  # four standard deviations
    (soft,) = run("gumbel_softmax", {"x": logits.T.copy()}, {"temperature": 2.0, "hard": False, "axis": 0}, dynamic=True)
    np.testing.assert_allclose(soft.sum(0), 1.0, rtol=1e-5)
    assert 0.0 < soft.min() and soft.max() < 1.0
    assert len(np.unique(soft)) > 8000


@pytest.mark.parametrize(("shape", "columns", "act"), [((2, 3, 4), 2, "relu"), ((3, 4), 1, ""), ((2, 2, 2), 1, "relu")])
def test_gemm_epilogue_flattens(shape: tuple[int, ...], columns: int, act: str) -> None:
    x, w, bias = rand(*shape), rand(4, 5), rand(5)
    attrs = {"in_num_col_dims": columns, "activation_type": act, "padding_weights": False}
    (out,) = run("gemm_epilogue", {"input": x, "w": w, "bias": bias}, attrs)
    check(out, RELU[act](x.reshape(*shape[:columns], 4).astype(F) @ w + bias))


def test_rows_of_bfloat16_are_counted_past_256() -> None:
    """Paddle's CPU has no such kernel; in bfloat16 itself 256 + 1 is 256."""
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, ids = np.full((600, 2), 3, bfloat16), np.zeros(600, "int64")
    pooled, count = run("segment_pool", {"x": x, "segment_ids": ids}, {"pooltype": "MEAN"}, outputs=2)
    np.testing.assert_array_equal(pooled.astype("float32"), [[3, 3]])
    np.testing.assert_array_equal(count.astype("float32"), [[600]])

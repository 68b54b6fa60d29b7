"""Legacy rules: elementwise, activations, reductions, products, linear algebra, creation of tensors."""

from __future__ import annotations

import math
from typing import Any

from .legacy_ops import Call, NoRule, Rule, dtype_name, legacy, rename, same
from .program import TensorType, Value

# ---- elementwise ---------------------------------------------------------------------------------------------------

_BINARY = {
    "elementwise_add": "add", "elementwise_sub": "subtract", "elementwise_mul": "multiply", "elementwise_div": "divide",
    "elementwise_floordiv": "floor_divide", "elementwise_mod": "remainder", "floor_mod": "remainder", "elementwise_max": "maximum",
    "elementwise_min": "minimum", "elementwise_fmax": "fmax", "elementwise_fmin": "fmin", "elementwise_heaviside": "heaviside",
    "elementwise_pow": "elementwise_pow", "grad_add": "add", "equal": "equal", "not_equal": "not_equal", "less_than": "less_than",
    "less_equal": "less_equal", "greater_than": "greater_than", "greater_equal": "greater_equal", "logical_and": "logical_and",
    "logical_or": "logical_or", "logical_xor": "logical_xor", "bitwise_and": "bitwise_and", "bitwise_or": "bitwise_or",
    "bitwise_xor": "bitwise_xor", "minus": "subtract", "elementwise_prod": "multiply",
}  # fmt: skip


def _binary(pir: str) -> Rule:
    """Numpy broadcasting, except that ``axis`` ≥ 0 says which dim of the larger operand the smaller one starts at."""

    def convert(c: Call) -> None:
        x, y = c.need("X"), c.need("Y")
        axis = c.attr("axis", -1)
        if axis is not None and axis >= 0:
            x, y = _aligned(c, x, y, axis), _aligned(c, y, x, axis)
        c.emit(pir, {"x": x, "y": y}, results={"out": "Out"})

    return Rule((pir,), convert)


def _aligned(c: Call, small: Value, large: Value, axis: int) -> Value:
    """``small`` with dims of 1 around it, so that its first dim meets dim ``axis`` of ``large``."""
    rank, missing = c.rank(small), c.rank(large) - axis - c.rank(small)
    if c.rank(large) <= rank or missing == 0 or rank == 0:
        return small
    assert isinstance(small.type, TensorType)
    shape = small.type.shape
    if missing < 0:  # Paddle drops trailing dims of 1 that do not fit
        if -missing > rank or any(d != 1 for d in shape[missing:]):
            raise NoRule("the operands' dims do not meet at that axis")
        return c.value(
            "squeeze", {"x": small, "axis": list(range(rank + missing, rank))}, {}, TensorType(small.type.dtype, shape[:missing])
        )
    if all(d >= 0 for d in shape):  # as Paddle writes a bias in PIR
        whole = (*[1] * axis, *shape, *[1] * missing)
        return c.value("reshape", {"x": small, "shape": list(whole)}, {}, TensorType(small.type.dtype, whole))
    padded = TensorType(small.type.dtype, (*shape, *[1] * missing))
    return c.value("unsqueeze", {"x": small, "axis": list(range(rank, rank + missing))}, {}, padded)


def _scaled(c: Call, x: Value, factor: float, results: dict[str, Any]) -> Value:
    """x · factor, as PIR's scale."""
    return c.emit("scale", {"x": x, "scale": factor}, {"bias": 0.0, "bias_after_scale": True}, results).results[0]


# ---- activations ---------------------------------------------------------------------------------------------------


@legacy("swish", makes="swish")
def _swish(c: Call) -> None:
    """x · sigmoid(βx); PIR's swish has β = 1."""
    x, beta = c.need("X"), c.attr("beta", 1.0)
    if beta == 1.0:
        c.emit("swish", {"x": x}, results={"out": "Out"})
        return
    gate = c.value("sigmoid", {"x": _scaled(c, x, beta, {"out": x.type})}, {}, x.type)
    c.emit("multiply", {"x": x, "y": gate}, results={"out": "Out"})


@legacy("relu6", makes="relu6")
def _relu6(c: Call) -> None:
    x, threshold = c.need("X"), c.attr("threshold", 6.0)
    if threshold == 6.0:
        c.emit("relu6", {"x": x}, results={"out": "Out"})
    else:
        c.emit("clip", {"x": x, "min": 0.0, "max": threshold}, results={"out": "Out"})


@legacy("hard_swish", makes="hardswish")
def _hard_swish(c: Call) -> None:
    """x · clip(x + offset, 0, threshold) / scale; PIR's has 3, 6 and 6."""
    x, offset, threshold, scale = c.need("X"), c.attr("offset", 3.0), c.attr("threshold", 6.0), c.attr("scale", 6.0)
    if (offset, threshold, scale) == (3.0, 6.0, 6.0):
        c.emit("hardswish", {"x": x}, results={"out": "Out"})
        return
    moved = c.emit("scale", {"x": x, "scale": 1.0}, {"bias": offset, "bias_after_scale": True}, {"out": x.type}).results[0]
    clipped = c.value("clip", {"x": moved, "min": 0.0, "max": threshold}, {}, x.type)
    product = c.value("multiply", {"x": x, "y": clipped}, {}, x.type)
    _scaled(c, product, 1.0 / scale, {"out": "Out"})


@legacy("pow", makes="pow elementwise_pow")
def _pow(c: Call) -> None:
    factor = c.input("FactorTensor")
    if factor is None:
        c.emit("pow", {"x": c.need("X")}, {"y": c.attr("factor", 1.0)}, {"out": "Out"})
    else:
        c.emit("elementwise_pow", {"x": c.need("X"), "y": factor}, results={"out": "Out"})


@legacy("batch_norm", "sync_batch_norm", "inplace_abn", makes="batch_norm")
def _batch_norm(c: Call) -> None:
    """The running statistics, which only training changes, keep their values."""
    if c.attr("activation", "") not in ("", "identity"):
        raise NoRule(f"the activation {c.attr('activation')} inside inplace_abn")
    operands = {
        "x": c.need("X"),
        "mean": c.need("Mean"),
        "variance": c.need("Variance"),
        "scale": c.input("Scale"),
        "bias": c.input("Bias"),
    }
    defaults = {"is_test": False, "momentum": 0.9, "epsilon": 1e-5, "use_global_stats": False, "trainable_statistics": False}
    attrs = {name: c.attr(name, default) for name, default in defaults.items()}
    attrs["data_format"] = c.attr("data_layout", c.attr("data_format", "NCHW"))
    results = {"out": "Y", "mean_out": c.declared("MeanOut"), "variance_out": c.declared("VarianceOut"),
               "saved_mean": "SavedMean", "saved_variance": "SavedVariance", "reserve_space": "ReserveSpace"}  # fmt: skip
    c.emit("batch_norm", operands, attrs, results)


# ---- reductions ----------------------------------------------------------------------------------------------------


def _reduce(pir: str) -> Rule:
    """``dim`` (default [0]), ``keep_dim``, ``reduce_all`` → axis, which is empty for all, and keepdim."""

    def convert(c: Call) -> None:
        axis = c.mutable("dim", [0])
        whole = c.attr("reduce_all", False)
        if isinstance(axis, int):
            axis = [axis]
        attrs: dict[str, Any] = {"keepdim": c.attr("keep_dim", False)}
        if pir == "sum":
            attrs["dtype"] = dtype_name(c.attr("out_dtype", -1))
        if pir == "prod":
            attrs["reduce_all"] = whole or axis == []
        operands: dict[str, Any] = {"x": c.need("X"), "axis": [] if whole else axis}
        if pir in ("all", "any", "amax", "amin"):  # their axis is no operand
            if isinstance(operands["axis"], Value):
                raise NoRule("the axes are a tensor")
            attrs["axis"] = operands.pop("axis")
        c.emit(pir, operands, attrs, {"out": "Out"})

    return Rule((pir,), convert)


@legacy("isfinite", "isinf", "isnan", makes="isfinite isinf isnan")
def _is_v1(c: Call) -> None:
    """v1 gives one answer for the whole tensor: all finite, any infinite, any NaN."""
    x = c.need("X")
    each = c.value(c.type, {"x": x}, {}, TensorType("bool", x.type.shape if isinstance(x.type, TensorType) else ()))
    answer = c.value("all" if c.type == "isfinite" else "any", {"x": each}, {"axis": [], "keepdim": False}, TensorType("bool", ()))
    c.emit("reshape", {"x": answer, "shape": [1]}, {}, {"out": "Out"})


@legacy("frobenius_norm", makes="frobenius_norm")
def _frobenius_norm(c: Call) -> None:
    whole, axis = c.attr("reduce_all", False), c.mutable("dim", [0])
    attrs = {"keep_dim": c.attr("keep_dim", False), "reduce_all": whole}
    c.emit("frobenius_norm", {"x": c.need("X"), "axis": axis}, attrs, {"out": "Out"})


@legacy("logsumexp", makes="logsumexp")
def _logsumexp(c: Call) -> None:
    whole = c.attr("reduce_all", False)
    axis = c.attr("axis", c.attr("dim", [0]))
    attrs = {"axis": axis, "keepdim": c.attr("keepdim", c.attr("keep_dim", False)), "reduce_all": whole}
    c.emit("logsumexp", {"x": c.need("X")}, attrs, {"out": "Out"})


@legacy("arg_max", "arg_min", makes="argmax argmin")
def _arg_extreme(c: Call) -> None:
    """dtype −1 is int64."""
    dtype = dtype_name(c.attr("dtype", -1))
    attrs = {
        "keepdims": c.attr("keepdims", False),
        "flatten": c.attr("flatten", False),
        "dtype": "int64" if dtype == "undefined" else dtype,
    }
    operands = {"x": c.need("X"), "axis": c.mutable("axis", 0)}
    c.emit("argmax" if c.type == "arg_max" else "argmin", operands, attrs, {"out": "Out"})


@legacy("top_k", "top_k_v2", makes="topk")
def _top_k(c: Call) -> None:
    """v1 has no axis: the largest of the last dim, in order."""
    attrs = {"axis": -1, "largest": True, "sorted": True}
    if c.type == "top_k_v2":
        attrs = {name: c.attr(name, default) for name, default in attrs.items()}
    c.emit("topk", {"x": c.need("X"), "k": c.mutable("k", 1, tensor="K")}, attrs, {"out": "Out", "indices": "Indices"})


# ---- products ------------------------------------------------------------------------------------------------------


@legacy("matmul", makes="matmul")
def _matmul(c: Call) -> None:
    """v1: alpha · op(X) op(Y)."""
    if c.attr("head_number", 1) != 1:
        raise NoRule("more than one head")
    attrs = {"transpose_x": c.attr("transpose_X", False), "transpose_y": c.attr("transpose_Y", False)}
    operands, alpha = {"x": c.need("X"), "y": c.need("Y")}, c.attr("alpha", 1.0)
    if alpha == 1.0:
        c.emit("matmul", operands, attrs, {"out": "Out"})
    else:
        product = c.value("matmul", operands, attrs, c.declared("Out"))
        _scaled(c, product, alpha, {"out": "Out"})


@legacy("mul", makes="matmul_with_flatten matmul")
def _mul(c: Call) -> None:
    """X flattened to 2-D before dim x_num_col_dims, times Y likewise; where nothing needs flattening it is a matmul."""
    x, y = c.need("X"), c.need("Y")
    rows, columns = c.attr("x_num_col_dims", 1), c.attr("y_num_col_dims", 1)
    if c.rank(y) == 2 and columns == 1 and rows == c.rank(x) - 1:
        c.emit("matmul", {"x": x, "y": y}, {"transpose_x": False, "transpose_y": False}, {"out": "Out"})
    else:
        c.emit("matmul_with_flatten", {"x": x, "y": y}, {"x_num_col_dims": rows, "y_num_col_dims": columns}, {"out": "Out"})


@legacy("fc", makes="fc")
def _fc(c: Call) -> None:
    attrs = {
        "in_num_col_dims": c.attr("in_num_col_dims", 1),
        "activation_type": c.attr("activation_type", ""),
        "padding_weights": c.attr("padding_weights", False),
    }
    c.emit("fc", {"input": c.need("Input"), "w": c.need("W"), "bias": c.input("Bias")}, attrs, {"out": "Out"})


# ---- creation ------------------------------------------------------------------------------------------------------


def fill_value(text: str, number: float, dtype: str) -> float | int | bool:
    """The value of fill_constant: ``str_value`` where the file has one (exact for large integers), else ``value``."""
    if not text:
        text = repr(number)
    integral = "int" in dtype or dtype in ("bool", "size_t")
    try:
        value = int(text) if integral and text.lstrip("+-").isdecimal() else float(text)
    except ValueError:
        raise NoRule(f"the value {text!r} is no number") from None
    if not integral:
        return float(value)
    if not math.isfinite(value):
        raise NoRule(f"the value {text!r} is no integer")
    return bool(value) if dtype == "bool" else int(value)


@legacy("fill_constant", makes="full full_with_tensor")
def _fill_constant(c: Call) -> None:
    dtype = dtype_name(c.attr("dtype", 5))
    shape = c.mutable("shape", [], "ShapeTensor", "ShapeTensorList")
    value: Any = c.input("ValueTensor")
    if value is None:
        value = fill_value(c.attr("str_value", ""), c.attr("value", 0.0), dtype)
        if not isinstance(shape, Value):
            c.emit("full", {}, {"shape": shape, "value": value, "dtype": dtype}, {"out": "Out"})
            return
        value = c.constant(value, dtype)
    c.emit("full_with_tensor", {"value": value, "shape": shape}, {"dtype": dtype}, {"out": "Out"})


@legacy("fill_constant_batch_size_like", makes="full_batch_size_like")
def _fill_constant_batch_size_like(c: Call) -> None:
    dtype = dtype_name(c.attr("dtype", 5))
    attrs = {"shape": c.attr("shape", []), "dtype": dtype, "value": fill_value(c.attr("str_value", ""), c.attr("value", 0.0), dtype),
             "input_dim_idx": c.attr("input_dim_idx", 0), "output_dim_idx": c.attr("output_dim_idx", 0)}  # fmt: skip
    c.emit("full_batch_size_like", {"input": c.need("Input")}, attrs, {"out": "Out"})


@legacy("fill_any_like", "fill_zeros_like", "fill_zeros_like2", makes="full_like")
def _fill_any_like(c: Call) -> None:
    value = c.mutable("value", 0.0) if c.type == "fill_any_like" else 0.0
    c.emit("full_like", {"x": c.need("X"), "value": value}, {"dtype": dtype_name(c.attr("dtype", -1))}, {"out": "Out"})


def attr_values(c: Call, dtype: str) -> list:
    """The contents that assign_value and set_value keep in attributes: ``values``, or one list a dtype in older files."""
    if c.attr("values"):
        return list(c.attr("values"))
    key = {"float32": "fp32_values", "float64": "fp64_values", "float16": "fp16_values"}.get(dtype, f"{dtype}_values")
    return [bool(v) for v in c.attr(key, [])] if dtype == "bool" else list(c.attr(key, []))


@legacy("assign_value", makes="assign_value")
def _assign_value(c: Call) -> None:
    dtype = dtype_name(c.attr("dtype", 5))
    c.emit("assign_value", {}, {"shape": c.attr("shape", []), "dtype": dtype, "values": attr_values(c, dtype)}, {"out": "Out"})


@legacy("range", makes="arange")
def _range(c: Call) -> None:
    operands = {"start": c.need("Start"), "end": c.need("End"), "step": c.need("Step")}
    c.emit("arange", operands, {"dtype": c.dtype_of_output()}, {"out": "Out"})


@legacy("linspace", makes="linspace")
def _linspace(c: Call) -> None:
    operands = {"start": c.need("Start"), "stop": c.need("Stop"), "number": c.need("Num")}
    c.emit("linspace", operands, {"dtype": dtype_name(c.attr("dtype", 5))}, {"out": "Out"})


@legacy("allclose", "isclose", makes="allclose isclose")
def _close(c: Call) -> None:
    """The tolerances are written as texts."""
    operands: dict[str, Any] = {"x": c.need("Input"), "y": c.need("Other")}
    for name, default in (("rtol", "1e-5"), ("atol", "1e-8")):
        value = c.mutable(name, default, tensor=name.capitalize())
        operands[name] = float(value) if isinstance(value, str) else value
    c.emit(c.type, operands, {"equal_nan": c.attr("equal_nan", False)}, {"out": "Out"})


@legacy("tril_triu", makes="tril triu")
def _tril_triu(c: Call) -> None:
    c.emit("tril" if c.attr("lower", False) else "triu", {"x": c.need("X")}, {"diagonal": c.attr("diagonal", 0)}, {"out": "Out"})


_UNARY = """abs acos acosh angle asin asinh atan atanh bitwise_not ceil celu conj cos cosh digamma elu erf erfinv exp expm1 floor gelu
    i0 i0e i1 i1e imag lgamma log log10 log1p log2 logical_not logit logsigmoid log_softmax maxout prelu real reciprocal relu round
    rsqrt selu sigmoid sign silu sin sinh softplus softsign sqrt square stanh tan tanh tanh_shrink thresholded_relu polygamma
    renorm soft_relu rrelu nextafter"""

_SAME = """addmm argsort baddbmm bmm bernoulli bincount cholesky cholesky_solve clip_by_norm cumprod cumsum logcumsumexp dist dot
    eigvals eigvalsh equal_all gumbel_softmax instance_norm kron kthvalue l1_norm lerp logspace lstsq lu lu_unpack
    matrix_power mode multi_dot mv p_norm poisson qr segment_pool sigmoid_cross_entropy_with_logits
    solve squared_l2_norm svd triangular_solve affine_channel spectral_norm lrn
    hinge_loss fft_c2c fft_c2r fft_r2c overlap_add frame stft 
    fused_softmax_mask fused_softmax_mask_upper_triangle unique_consecutive searchsorted gammaln copysign bitwise_left_shift
    bitwise_right_shift uniform_random_batch_size_like multinomial dirichlet"""

RULES: dict[str, Rule] = {
    "accuracy": rename("accuracy", x="Out"),
    "auc": rename("auc", x="Predict"),
    "eig": rename("eig", out_w="Eigenvalues", out_v="Eigenvectors"),
    "eigh": rename("eigh", out_w="Eigenvalues", out_v="Eigenvectors"),
    "einsum": rename("einsum", x="Operands"),
    "matrix_rank": rename("matrix_rank", defaults={"tol": 0.0}),
    "nanmedian": rename("nanmedian", medians="MedianIndex"),
    "range_v2": rename("range_v2"),
    **{name: _binary(pir) for name, pir in _BINARY.items()},
    **{f"reduce_{pir}": _reduce(pir) for pir in ("sum", "mean", "max", "min", "prod", "all", "any", "amax", "amin")},
    **same(_UNARY),
    **same(_SAME),
    "atan2": rename("atan2", x="X1", y="X2"),
    "bce_loss": rename("bce_loss", input="X"),
    "bilinear_tensor_product": rename("bilinear"),
    "brelu": rename("hardtanh"),
    "clip": rename("clip"),
    "complex": rename("complex", real="X", imag="Y"),
    "cross": rename("cross", axis="dim"),
    "determinant": rename("det", x="Input"),
    "diag_v2": rename("diag"),
    "diagonal": rename("diagonal", x="Input"),
    "dropout": rename(
        "dropout", seed_tensor="Seed", p="dropout_prob", mode="dropout_implementation", defaults={"p": 0.5, "mode": "downgrade_in_infer"}
    ),
    "empty": rename("empty", defaults={"shape": []}),
    "eye": rename("eye", defaults={"num_columns": -1}),
    "fill_any": rename("fill"),
    "gaussian_random": rename("gaussian", defaults={"shape": [], "mean": 0.0, "std": 1.0, "seed": 0, "dtype": "float32"}),
    "group_norm": rename("group_norm", data_format="data_layout"),
    "hard_shrink": rename("hardshrink"),
    "hard_sigmoid": rename("hardsigmoid"),
    "hierarchical_sigmoid": rename("hsigmoid_loss", path="PathTable", code="PathCode", defaults={"num_classes": 2, "is_sparse": False}),
    "histogram": rename("histogram", input="X"),
    "huber_loss": rename("huber_loss", input="X", label="Y"),
    "increment": rename("increment", value="step"),
    "inverse": rename("inverse", x="Input", out="Output"),
    "isfinite_v2": rename("isfinite"),
    "isinf_v2": rename("isinf"),
    "isnan_v2": rename("isnan"),
    "kldiv_loss": rename("kldiv_loss", label="Target", out="Loss"),
    "label_smooth": rename("label_smooth", label="X"),
    "layer_norm": rename("layer_norm", out="Y"),
    "leaky_relu": rename("leaky_relu", negative_slope="alpha"),
    "log_loss": rename("log_loss", input="Predicted", label="Labels", out="Loss"),
    "lu_unpack": rename("lu_unpack", y="Pivots"),
    "matmul_v2": rename("matmul", transpose_x="trans_x", transpose_y="trans_y"),
    "mean": rename("mean_all"),
    "mish": rename("mish", **{"lambda": "threshold"}, defaults={"lambda": 20.0}),
    "nll_loss": rename("nll_loss", input="X"),
    "norm": rename("norm", defaults={"epsilon": 1e-10, "is_test": False}),
    "randint": rename("randint", defaults={"shape": []}),
    "randperm": rename("randperm", defaults={"dtype": "int64"}),
    "size": rename("numel", x="Input", size="Out"),
    "slogdeterminant": rename("slogdet", x="Input"),
    "softmax": rename("softmax", defaults={"axis": -1}),
    "softmax_with_cross_entropy": rename("cross_entropy_with_softmax", input="Logits"),
    "softshrink": rename("softshrink", threshold="lambda", defaults={"threshold": 0.5}),
    "sum": rename("add_n", inputs="X"),
    "trace": rename("trace", x="Input"),
    "trunc": rename("trunc", input="X"),
    "uniform_random": rename("uniform", defaults={"shape": [], "min": -1.0, "max": 1.0, "seed": 0, "dtype": "float32"}),
    "truncated_gaussian_random": rename("truncated_gaussian_random", defaults={"mean": 0.0, "std": 1.0, "seed": 0, "a": -2.0, "b": 2.0}),
    "unique": rename("unique", inverse="Index"),
    "viterbi_decode": rename("viterbi_decode", potentials="Input", transition_params="Transition", lengths="Length"),
}

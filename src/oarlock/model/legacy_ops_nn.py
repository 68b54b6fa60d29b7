"""Legacy rules: convolutions, pooling, resizing, quantisation."""

from __future__ import annotations

from typing import Any

from .legacy_ops import Call, Rule, legacy, rename, same

# ---- pooling -------------------------------------------------------------------------------------------------------

_POOL_DEFAULTS: dict[str, Any] = {
    "ceil_mode": False, "exclusive": True, "global_pooling": False, "adaptive": False, "padding_algorithm": "EXPLICIT",
}  # fmt: skip


def _pool(pir: str, spatial: int) -> Rule:
    defaults = {**_POOL_DEFAULTS, "strides": [1] * spatial, "paddings": [0] * spatial, "data_format": "NCHW" if spatial == 2 else "NCDHW"}
    return rename(pir, kernel_size="ksize", defaults=defaults)


# ---- resizing ------------------------------------------------------------------------------------------------------


def _resize(method: str) -> Rule:
    """``scale`` is a list in the second version and one number in the first."""
    spatial = {"linear": 1, "bilinear": 2, "nearest": 2, "bicubic": 2, "trilinear": 3}[method]

    def convert(c: Call) -> None:
        scale = c.attr("scale", [])
        if isinstance(scale, int | float):
            scale = [float(scale)] * spatial if scale > 0 else []
        attrs: dict[str, Any] = {
            "data_format": c.attr("data_layout", "NCHW"),
            **{name: c.attr(name, -1) for name in ("out_d", "out_h", "out_w")},
            "scale": scale,
            "interp_method": c.attr("interp_method", method),
            "align_corners": c.attr("align_corners", True),
            "align_mode": c.attr("align_mode", 1),
        }
        tensors = {"out_size": c.input("OutSize"), "size_tensor": c.inputs("SizeTensor") or None, "scale_tensor": c.input("Scale")}
        c.emit(f"{method}_interp", {"x": c.need("X"), **tensors}, attrs, {"output": "Out"})

    return Rule((f"{method}_interp",), convert)


# ---- convolutions --------------------------------------------------------------------------------------------------

_DEFORMABLE = rename(
    "deformable_conv",
    x="Input",
    out="Output",
    defaults={"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "deformable_groups": 1, "groups": 1, "im2col_step": 64},
)

# ---- quantisation --------------------------------------------------------------------------------------------------

_QUANT = """quantize_linear dequantize_linear fake_channel_wise_dequantize_max_abs fake_channel_wise_quantize_abs_max
    fake_channel_wise_quantize_dequantize_abs_max fake_dequantize_max_abs fake_quantize_abs_max fake_quantize_dequantize_abs_max
    fake_quantize_dequantize_moving_average_abs_max fake_quantize_moving_average_abs_max fake_quantize_range_abs_max
    dequantize_abs_max dequantize_log weight_quantize weight_dequantize weight_only_linear llm_int8_linear"""


@legacy("moving_average_abs_max_scale", makes="assign")
def _observer(c: Call) -> None:
    """Watches a range while training: the data passes through."""
    c.emit("assign", {"x": c.need("X")}, results={"out": "Out"})


RULES: dict[str, Rule] = {
    **same(_QUANT),
    **{f"{m}_interp{v}": _resize(m) for m in ("linear", "bilinear", "nearest", "bicubic", "trilinear") for v in ("", "_v2")},
    "pool2d": _pool("pool2d", 2),
    "pool3d": _pool("pool3d", 3),
    "max_pool2d_with_index": rename("max_pool2d_with_index", kernel_size="ksize"),
    "max_pool3d_with_index": rename("max_pool3d_with_index", kernel_size="ksize"),
    "unpool": rename(
        "unpool", padding="paddings", defaults={"strides": [1, 1], "padding": [0, 0], "data_format": "NCHW", "output_size": [0, 0]}
    ),
    "unpool3d": rename("unpool3d"),
    "conv2d": rename("conv2d", out="Output", ignore="ResidualData"),
    "conv3d": rename("conv3d", out="Output", ignore="ResidualData"),
    "depthwise_conv2d": rename("depthwise_conv2d", out="Output", ignore="ResidualData"),
    "conv2d_transpose": rename("conv2d_transpose", x="Input", out="Output"),
    "conv3d_transpose": rename("conv3d_transpose", x="Input", out="Output"),
    "depthwise_conv2d_transpose": rename("depthwise_conv2d_transpose", x="Input", out="Output"),
    "deformable_conv": _DEFORMABLE,
    "deformable_conv_v1": _DEFORMABLE,  # without a mask
    "unfold": rename("unfold", out="Y"),
    "grid_sampler": rename("grid_sample", out="Output"),
    "affine_grid": rename("affine_grid", input="Theta", output="Output"),
    "correlation": rename("correlation", out="Output"),
    "warpctc": rename("warpctc", labels_length="LabelLength"),
    "cudnn_lstm": rename("cudnn_lstm", x="Input"),
}

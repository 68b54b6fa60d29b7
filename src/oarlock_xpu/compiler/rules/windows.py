"""max_pool2d, avg_pool2d and resizing → the library's."""

from __future__ import annotations

from typing import Any

from ..engine import Fusion, Rule
from ..graph import Graph, Node, dtype_of
from .moves import NO_FUNCTION

WIDEST = 1024  # columns under a window (native/xpu/kernels/src/windows.h)


def _apply(graph: Graph, node: Node) -> Fusion | str:
    (x,) = node.call.args
    attrs, kind = node.call.attrs, node.name.removeprefix("nn.")
    if dtype_of(x) != "float32":
        return f"{kind} of {dtype_of(x)} is not there yet"
    if str(attrs.layout) != "NCHW" or str(attrs.out_layout or "NCHW") != "NCHW":
        return f"{kind} has no layout {attrs.layout}"
    if any(int(d) != 1 for d in attrs.dilation):
        return f"{kind} has no dilation"
    sizes = [int(s) for s in attrs.pool_size]
    if sizes[1] > WIDEST or int(attrs.strides[1]) > WIDEST:
        return f"a window of {sizes[1]} columns is wider than {WIDEST}"
    if kind == "avg_pool2d" and attrs.count_include_pad and attrs.ceil_mode:
        return "avg_pool2d counts no padding beyond the last row or column"
    top, left, bottom, right = (int(p) for p in attrs.padding)
    attributes: dict[str, Any] = {"ksize": sizes, "strides": [int(s) for s in attrs.strides], "paddings": [top, bottom, left, right]}
    if kind == "avg_pool2d":
        attributes["count_include_pad"] = int(attrs.count_include_pad)
    return Fusion(kind, (node,), {"x": x}, attributes)


POOLING = Rule("pooling", ("nn.max_pool2d", "nn.avg_pool2d"), _apply)


def _resize(graph: Graph, node: Node) -> Fusion | str:
    """The importer's resizing of two axes, nearest or bilinear; sizes are those of the tensors at hand."""
    facts = node.means("resize")
    if facts is None:
        return NO_FUNCTION
    if facts["method"] not in ("nearest", "bilinear"):
        return f"resizing is nearest or bilinear, and not {facts['method']}"
    x = node.operand(0)
    if dtype_of(x) != "float32":
        return f"interpolate2d of {dtype_of(x)} is not there yet"
    if len(facts["scales"]) != 2 or facts["first"] != 2:
        return "interpolate2d resizes the last two of four dims"
    mode = 0 if facts["corners"] else 1 if facts["half"] and facts["method"] == "bilinear" else 2
    scales = dict(zip(("scale_h", "scale_w"), facts["scales"], strict=True))
    return Fusion("interpolate2d", (node,), {"x": x}, {"nearest": int(facts["method"] == "nearest"), "trans_mode": mode, **scales})


RESIZING = Rule("resizing", ("call_tir",), _resize)

"""max_pool2d and avg_pool2d → the library's."""

from __future__ import annotations

from typing import Any

from ..engine import Fusion, Rule
from ..graph import Graph, Node, dtype_of

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

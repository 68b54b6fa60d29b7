"""conv2d and conv3d, with what follows them: add(bias), add(branch), activation → conv2d_fusion, conv3d_fusion."""

from __future__ import annotations

from oarlock import compat

from ..engine import Fusion, Rule
from ..graph import Graph, Node, constant_of, dtype_of, static_shape
from .after import grow, is_vector

WIDEST = 256  # columns of a window (native/xpu/kernels/src/conv.cc)


def _apply(graph: Graph, node: Node) -> Fusion | str:
    axes = 3 if node.name == "nn.conv3d" else 2
    api, layouts = f"conv{axes}d_fusion", ("NCDHW", "OIDHW") if axes == 3 else ("NCHW", "OIHW")
    x, w = node.call.args
    attrs = node.call.attrs
    if (str(attrs.data_layout), str(attrs.kernel_layout)) != layouts:
        return f"{api} has no layout {attrs.data_layout}, {attrs.kernel_layout}"
    if not all(d == "float32" for d in (dtype_of(x), dtype_of(w), node.dtype)):
        return f"{api} of {dtype_of(x)} and {dtype_of(w)} is not there yet"
    filters = static_shape(w)
    if filters is None:
        return "the filter's shape is known at run time only"
    if filters[-1] > WIDEST:
        return f"a window of {filters[-1]} columns is wider than {WIDEST}"
    nodes, inputs, act = grow(graph, node, lambda other: is_vector(other, filters[0], axes + 1), branches=True)
    before, after = attrs.padding[:axes], attrs.padding[axes:]
    attributes = {
        "strides": [int(s) for s in attrs.strides],
        "paddings": [int(p) for pair in zip(before, after, strict=True) for p in pair],
        "dilations": [int(d) for d in attrs.dilation],
        "groups": int(attrs.groups),
        **act,
    }
    return Fusion(api, tuple(nodes), {"x": x, "w": w, **inputs}, attributes)


def _transposed(graph: Graph, node: Node) -> Fusion | str:
    """conv2d_transpose, with bias and activation; its filter is turned once, when the model is compiled."""
    x, w = node.call.args
    attrs, filters = node.call.attrs, constant_of(w)
    if str(attrs.data_layout) != "NCHW" or str(attrs.kernel_layout) != "IOHW":
        return f"conv2d_transpose_fusion has no layout {attrs.data_layout}, {attrs.kernel_layout}"
    if filters is None or filters.dtype != "float32" or dtype_of(x) != "float32":
        return "the filter is known at run time only, or is not float32"
    groups = int(attrs.groups)
    inputs, outputs, height, width = filters.shape
    # [groups, inputs, outputs, kh, kw] → [groups · outputs, kh, kw, inputs]
    turned = filters.reshape(groups, inputs // groups, outputs, height, width).transpose(0, 2, 3, 4, 1)
    turned = turned.reshape(groups * outputs, height, width, inputs // groups)
    nodes, given, act = grow(graph, node, lambda other: is_vector(other, groups * outputs, 3), branches=False)
    top, left, bottom, right = (int(p) for p in attrs.padding)
    attributes = {
        "strides": [int(s) for s in attrs.strides],
        "paddings": [top, bottom, left, right],
        "dilations": [int(d) for d in attrs.dilation],
        "groups": groups,
        **act,
    }
    return Fusion("conv2d_transpose_fusion", tuple(nodes), {"x": x, "w": compat.constant(turned), **given}, attributes)


TRANSPOSED = Rule("transposed convolution", ("nn.conv2d_transpose",), _transposed)
CONVOLUTION = Rule("convolution", ("nn.conv2d", "nn.conv3d"), _apply)

"""Legacy rules: shapes, slices, gathers and scatters, padding, tensor arrays, moving data about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .legacy_ops import Call, NoRule, Rule, dtype_name, legacy, rename, same
from .legacy_ops_math import attr_values
from .program import ArrayType, TensorType, Value

# ---- reshaping -----------------------------------------------------------------------------------------------------


@legacy("flatten", "flatten2", makes="flatten reshape")
def _flatten(c: Call) -> None:
    """To 2-D: the dims before ``axis`` and those from it on."""
    x, axis = c.need("X"), c.attr("axis", 1)
    rank = c.rank(x)
    if axis < 0:
        axis += rank
    if axis == 0:
        c.emit("reshape", {"x": x, "shape": [1, -1]}, results={"out": "Out"})
        return
    if axis >= rank:
        c.emit("reshape", {"x": x, "shape": [-1, 1]}, results={"out": "Out"})
        return
    assert isinstance(x.type, TensorType)
    tail = TensorType(x.type.dtype, (*x.type.shape[:axis], _product(x.type.shape[axis:])))
    x = c.value("flatten", {"x": x}, {"start_axis": axis, "stop_axis": rank - 1}, tail)
    c.emit("flatten", {"x": x}, {"start_axis": 0, "stop_axis": axis - 1}, {"out": "Out"})


def _product(dims: Sequence[int]) -> int:
    out = 1
    for d in dims:
        out = -1 if d < 0 or out < 0 else out * d
    return out


@legacy("split", makes="split split_with_num")
def _split(c: Call) -> None:
    axis = c.mutable("axis", 0, tensor="AxisTensor")
    num, sections = c.attr("num", 0), c.mutable("sections", [], tensors="SectionsTensorList")
    if num and not isinstance(sections, Value):
        c.emit("split_with_num", {"x": c.need("X"), "axis": axis}, {"num": num}, {"out": "Out"})
    else:
        c.emit("split", {"x": c.need("X"), "sections": sections, "axis": axis}, {}, {"out": "Out"})


@legacy("expand", makes="tile")
def _expand(c: Call) -> None:
    """v1: how often to repeat each dim."""
    times = c.mutable("expand_times", [], "ExpandTimes", "expand_times_tensor")
    c.emit("tile", {"x": c.need("X"), "repeat_times": times}, {}, {"out": "Out"})


@legacy("expand_as", "expand_as_v2", makes="expand_as")
def _expand_as(c: Call) -> None:
    target = c.input("Y") or c.input("target_tensor")
    c.emit("expand_as", {"x": c.need("X"), "y": target}, {"target_shape": c.attr("target_shape", [])}, {"out": "Out"})


@legacy("unstack", makes="unstack")
def _unstack(c: Call) -> None:
    names = c.desc.outputs.get("Y", [])
    c.emit("unstack", {"x": c.need("X")}, {"axis": c.attr("axis", 0), "num": c.attr("num", 0) or len(names)}, {"out": "Y"})


@legacy("unsqueeze", "unsqueeze2", "squeeze", "squeeze2", makes="unsqueeze squeeze")
def _squeeze(c: Call) -> None:
    axis = c.mutable("axes", [], "AxesTensor", "AxesTensorList")
    c.emit(c.type.removesuffix("2"), {"x": c.need("X"), "axis": axis}, {}, {"out": "Out"})


# ---- slices --------------------------------------------------------------------------------------------------------


@legacy("slice", makes="slice slice_array slice_array_dense")
def _slice(c: Call) -> None:
    x = c.need("Input")
    starts = c.mutable("starts", [], "StartsTensor", "StartsTensorList")
    ends = c.mutable("ends", [], "EndsTensor", "EndsTensorList")
    if isinstance(x.type, ArrayType):
        if isinstance(c.declared("Out"), ArrayType):
            c.emit("slice_array", {"input": x, "starts": starts, "ends": ends}, {}, {"out": "Out"})
        else:
            c.emit("slice_array_dense", {"input": x, "starts": starts}, {}, {"out": "Out"})
        return
    axes = c.attr("axes", [])
    tensors = isinstance(starts, Value) or isinstance(ends, Value)
    flags = c.attr("infer_flags", []) or [-1 if tensors else 1] * len(axes)
    attrs = {"axes": axes, "infer_flags": flags, "decrease_axis": c.attr("decrease_axis", [])}
    c.emit("slice", {"input": x, "starts": starts, "ends": ends}, attrs, {"out": "Out"})


@legacy("strided_slice", makes="strided_slice slice")
def _strided_slice(c: Call) -> None:
    x, axes, dropped = c.need("Input"), c.attr("axes", []), c.attr("decrease_axis", [])
    operands: dict[str, Any] = {"x": x}
    for name in ("starts", "ends", "strides"):
        slot = name.capitalize()
        operands[name] = c.mutable(name, [], f"{slot}Tensor", f"{slot}TensorList")
    if not dropped:
        c.emit("strided_slice", operands, {"axes": axes}, {"out": "Out"})
        return
    out = c.declared("Out")
    if not isinstance(x.type, TensorType) or not isinstance(out, TensorType):
        raise NoRule("strided_slice of something that is no tensor")
    kept = TensorType(out.dtype, tuple(1 if a in dropped else -1 if a in axes else d for a, d in enumerate(x.type.shape)))
    y = c.value("strided_slice", operands, {"axes": axes}, kept)
    c.emit("squeeze", {"x": y, "axis": list(dropped)}, {}, {"out": "Out"})


@legacy("set_value", makes="set_value set_value_with_tensor")
def _set_value(c: Call) -> None:
    operands: dict[str, Any] = {"x": c.need("Input")}
    for name in ("starts", "ends", "steps"):
        operands[name] = c.mutable(name, [], tensors=f"{name.capitalize()}TensorList")
    attrs = {name: c.attr(name, []) for name in ("axes", "decrease_axes", "none_axes")}
    values = c.input("ValueTensor")
    if values is not None:
        c.emit("set_value_with_tensor", {**operands, "values": values}, attrs, {"out": "Out"})
        return
    attrs |= {"shape": c.attr("shape", []), "values": attr_values(c, dtype_name(c.attr("dtype", 5)))}
    c.emit("set_value", operands, attrs, {"out": "Out"})


# ---- lookups -------------------------------------------------------------------------------------------------------


@legacy("lookup_table", makes="embedding")
def _lookup_table(c: Call) -> None:
    """v1: the ids have a trailing dim of 1, which the result has not."""
    ids = _without_last(c, c.need("Ids"))
    attrs = {"padding_idx": c.attr("padding_idx", -1), "sparse": c.attr("is_sparse", False)}
    c.emit("embedding", {"x": ids, "weight": c.need("W")}, attrs, {"out": "Out"})


def _without_last(c: Call, x: Value) -> Value:
    rank = c.rank(x)
    assert isinstance(x.type, TensorType)
    return c.value("squeeze", {"x": x, "axis": [rank - 1]}, {}, TensorType(x.type.dtype, x.type.shape[:-1], x.type.lod_level))


@legacy("one_hot", "one_hot_v2", makes="one_hot cast")
def _one_hot(c: Call) -> None:
    """v1 replaces the trailing dim of 1; PIR's result is float32."""
    x, depth, out = c.need("X"), c.mutable("depth", -1, tensor="depth_tensor"), c.declared("Out")
    if c.type == "one_hot":
        x = _without_last(c, x)
    dtype = dtype_name(c.attr("dtype", 5))
    if dtype == "float32" or not isinstance(out, TensorType):
        c.emit("one_hot", {"x": x, "num_classes": depth}, {}, {"out": "Out"})
        return
    hot = c.value("one_hot", {"x": x, "num_classes": depth}, {}, TensorType("float32", out.shape))
    c.emit("cast", {"x": hot}, {"dtype": dtype}, {"out": "Out"})


@legacy("repeat_interleave", makes="repeat_interleave repeat_interleave_with_tensor_index")
def _repeat_interleave(c: Call) -> None:
    repeats, axis = c.input("RepeatTensor") or c.input("RepeatsTensor"), c.attr("dim", 0)
    if repeats is None:
        c.emit("repeat_interleave", {"x": c.need("X")}, {"repeats": c.attr("Repeats", 0), "axis": axis}, {"out": "Out"})
    else:
        c.emit("repeat_interleave_with_tensor_index", {"x": c.need("X"), "repeats": repeats}, {"axis": axis}, {"out": "Out"})


# ---- padding -------------------------------------------------------------------------------------------------------


@legacy("pad2d", makes="pad3d")
def _pad2d(c: Call) -> None:
    """[top, bottom, left, right] of an image, as pad3d ([left, right, top, bottom, front, back]) of a volume of depth 1."""
    if c.has("Paddings"):
        raise NoRule("the paddings are a tensor")
    x, layout = c.need("X"), c.attr("data_format", "NCHW")
    top, bottom, left, right = c.attr("paddings", [0, 0, 0, 0])
    _pad_volume(c, x, [left, right, top, bottom, 0, 0], 2 if layout == "NCHW" else 1, 1, layout)


@legacy("pad1d", makes="pad3d")
def _pad1d(c: Call) -> None:
    x, layout = c.need("X"), c.attr("data_format", "NCL")
    _pad_volume(c, x, [*c.attr("paddings", [0, 0]), 0, 0, 0, 0], 2 if layout == "NCL" else 1, 2, layout)


def _pad_volume(c: Call, x: Value, paddings: list[int], axis: int, new: int, layout: str) -> None:
    if not isinstance(x.type, TensorType):
        raise NoRule("padding of something that is no tensor")
    mode = {"edge": "replicate"}.get(c.attr("mode", "constant"), c.attr("mode", "constant"))
    attrs = {
        "mode": mode,
        "pad_value": c.attr("pad_value", c.attr("value", 0.0)),
        "data_format": "NCDHW" if layout.startswith("NC") else "NDHWC",
    }
    axes = list(range(axis, axis + new))
    shape = x.type.shape
    volume = c.value("unsqueeze", {"x": x, "axis": axes}, {}, TensorType(x.type.dtype, (*shape[:axis], *[1] * new, *shape[axis:])))
    unknown = TensorType(x.type.dtype, (-1,) * (len(shape) + new))
    padded = c.value("pad3d", {"x": volume, "paddings": paddings}, attrs, unknown)
    c.emit("squeeze", {"x": padded, "axis": axes}, {}, {"out": "Out"})


# ---- tensor arrays -------------------------------------------------------------------------------------------------


@legacy("write_to_array", makes="array_write")
def _write_to_array(c: Call) -> None:
    """The array is a mutable variable: each write makes a new value, from an empty one the first time."""
    name = c.desc.outputs["Out"][0] if c.desc.outputs.get("Out") else ""
    if not isinstance(c.declared("Out"), ArrayType):
        raise NoRule("the output is no tensor array")
    array = c.scope.lookup(name)  # creates an empty array for a name that has none
    c.emit("array_write", {"array": array, "x": c.need("X"), "i": c.need("I")}, {}, {"out": "Out"})


@legacy("read_from_array", makes="array_read")
def _read_from_array(c: Call) -> None:
    c.emit("array_read", {"array": c.need("X"), "i": c.need("I")}, {}, {"out": "Out"})


@legacy("tensor_array_to_tensor", makes="array_to_tensor")
def _tensor_array_to_tensor(c: Call) -> None:
    attrs = {"axis": c.attr("axis", 0), "use_stack": c.attr("use_stack", False)}
    c.emit("array_to_tensor", {"x": c.need("X")}, attrs, {"out": "Out", "out_index": "OutIndex"})


@legacy("lod_array_length", makes="array_length")
def _lod_array_length(c: Call) -> None:
    c.emit("array_length", {"x": c.need("X")}, {}, {"out": "Out"})


@legacy("assign", makes="assign")
def _assign(c: Call) -> None:
    """A tensor array is assigned as a value: arrays are immutable here."""
    x = c.need("X")
    if isinstance(x.type, ArrayType):
        c.bind("Out", x)
    else:
        c.emit("assign", {"x": x}, results={"out": "Out"})


_SAME = """as_complex as_real diag_embed fill_diagonal fill_diagonal_tensor flip gather gather_nd gather_tree index_add index_sample
    is_empty lod_reset memcpy memcpy_d2h memcpy_h2d partial_concat partial_sum pixel_shuffle pixel_unshuffle print scatter_nd_add
    sequence_mask sequence_expand sequence_softmax sequence_pool im2sequence shuffle_channel channel_shuffle
    temporal_shift where share_data view_shape index_put roll tile crf_decoding ctc_align edit_distance
    gru_unit lookup_table_dequant hash assert row_conv add_position_encoding"""

RULES: dict[str, Rule] = {
    **same(_SAME),
    "broadcast_tensors": rename("broadcast_tensors", input="X"),
    "cvm": rename("cvm", out="Y"),
    "cast": rename("cast", dtype="out_dtype"),
    "concat": rename("concat"),
    "crop_tensor": rename("crop", shape=("Shape", "shape"), offsets=("Offsets", "offsets")),
    "crop": rename("crop", ignore="Y"),
    "expand_v2": rename("expand", shape=("Shape", "expand_shapes_tensor")),
    "flatten_contiguous_range": rename("flatten"),
    "fold": rename("fold", out="Y"),
    "gru": rename("gru"),
    "lstm": rename("lstm"),
    "index_select": rename("index_select", axis="dim"),
    "lookup_table_v2": rename("embedding", x="Ids", weight="W", sparse="is_sparse"),
    "masked_select": rename("masked_select", out="Y"),
    "meshgrid": rename("meshgrid", inputs="X"),
    "multiplex": rename("multiplex", inputs="X", index="Ids"),
    "pad": rename("pad", defaults={"pad_value": 0.0}),
    "pad3d": rename("pad3d", pad_value="value", defaults={"mode": "constant", "pad_value": 0.0, "data_format": "NCDHW"}),
    "put_along_axis": rename("put_along_axis", arr="Input", indices="Index", values="Value", out="Result", axis="Axis", reduce="Reduce"),
    "reshape": rename("reshape", shape=("ShapeTensor", "Shape", "shape")),
    "reshape2": rename("reshape", shape=("ShapeTensor", "Shape", "shape")),
    "reverse": rename("reverse"),
    "rnn": rename("rnn", x="Input", dropout_state_out="DropoutState", defaults={"mode": "RNN_TANH"}),
    "scale": rename("scale"),
    "scatter": rename("scatter", index="Ids"),
    "sequence_conv": rename(
        "sequence_conv",
        padding_trainable="paddingTrainable",
        context_length="contextLength",
        context_start="contextStart",
        context_stride="contextStride",
    ),
    "shape": rename("shape"),
    "shard_index": rename("shard_index", input="X"),
    "share_buffer": rename("share_data"),
    "stack": rename("stack", out="Y", defaults={"axis": 0}),
    "take_along_axis": rename("take_along_axis", arr="Input", indices="Index", out="Result", axis="Axis"),
    "tile": rename("tile", repeat_times=("RepeatTimes", "repeat_times_tensor", "repeat_times")),
    "transpose": rename("transpose", perm="axis"),
    "transpose2": rename("transpose", perm="axis"),
    "unbind": rename("unbind", input="X"),
    "where_index": rename("nonzero"),
    "graph_send_recv": rename("send_u_recv", out_size="Out_size"),
    "graph_send_ue_recv": rename("send_ue_recv", out_size="Out_size"),
    "graph_send_uv": rename("send_uv"),
    "graph_reindex": rename("reindex_graph"),
}

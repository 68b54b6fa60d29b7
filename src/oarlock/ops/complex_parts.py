"""Operators that a complex tensor goes through part by part: what moves elements, and what is linear with real coefficients.

The operator of real tensors runs twice, on the real and on the imaginary parts.  The table says which operands hold numbers; a
real one among them has an imaginary part of 0, and other operands (indices, masks, sizes) are the same for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import UnsupportedError
from .builder import Builder
from .complex_pair import Complex, common_dtype
from .dtypes import is_complex, part_dtype
from .tensor import Tensor
from .tensor_array import TensorArray

PARTWISE: dict[str, tuple[str, ...]] = {
    name: tuple(operands.split())
    for operands, names in {
        "x": """reshape flatten squeeze unsqueeze transpose trans_layout strided_slice crop concat stack split split_with_num unstack
            assign share_data npu_identity memcpy memcpy_d2h memcpy_h2d shadow_feed copy_to nop c_identity shadow_feed_tensors depend
            assign_out diag diagonal tril triu expand expand_as tile flip reverse roll channel_shuffle shuffle_channel gather
            index_select index_select_strided gather_nd index_sample masked_select repeat_interleave
            repeat_interleave_with_tensor_index pad pad3d frame overlap_add trace sum mean mean_all reduce_as cumsum
            assign_array pixel_shuffle pixel_unshuffle unfold fold temporal_shift full_like empty_like fill fill_diagonal""",
        "input": "view_shape slice view_slice unbind broadcast_tensors diag_embed as_strided slice_array slice_array_dense array_pop",
        "inputs": "meshgrid multiplex add_n add_n_array",
        "x y": "where subtract fill_diagonal_tensor",
        "x value": "masked_fill index_put",
        "x values": "set_value_with_tensor",
        "x updates": "scatter scatter_nd_add",
        "x add_value": "index_add",
        "arr": "take_along_axis",
        "arr values": "put_along_axis",
        "weight": "embedding embedding_with_scaled_gradient c_embedding",
        "array": "array_read",
        "array x": "array_write",
        "in_": "print",
        "": "full empty create_array assign_value",
    }.items()
    for name in names.split()
} | {"array_to_tensor": ("x",), "set_value": ("x",), "full_with_tensor": ("value",), "create_array_like": ("input",)}

# attributes that are numbers of the result's dtype
_NUMBERS = frozenset("value values val pad_value padding_value".split())
# results that are no numbers of the input's dtype: the real part's run gives them
_PLAIN_RESULTS = {"array_to_tensor": (1,)}
# reductions of put_along_axis that are linear
_LINEAR = frozenset(["assign", "add", "mean"])
# what asks for the shape only
SHAPE_ONLY = frozenset("shape shape64 numel array_length is_empty".split())


def by_parts(b: Builder, name: str, call: Callable[[dict[str, Any]], tuple[Any, ...]], arguments: dict[str, Any]) -> tuple[Any, ...]:
    """Run ``call`` on the arguments' real parts and on their imaginary parts → the results put together."""
    if name == "put_along_axis" and arguments.get("reduce", "assign") not in _LINEAR:
        raise UnsupportedError(f"put_along_axis of complex tensors with reduce={arguments['reduce']!r} is not supported")
    numbers = PARTWISE[name]
    given = [leaf for operand in numbers for leaf in _tensors(arguments.get(operand))]
    if (asked := next((v for v in arguments.values() if is_complex(v)), None)) is not None:
        dtype = asked
    else:
        dtype = common_dtype(*given) if given else "complex64"
    part = part_dtype(dtype)

    def side(key: str, value: Any, imaginary: bool) -> Any:
        if key in numbers:
            return _side(b, value, part, imaginary)
        if key in _NUMBERS:
            return _number(value, imaginary)
        return part if is_complex(value) else value

    sides = [call({key: side(key, value, imaginary) for key, value in arguments.items()}) for imaginary in (False, True)]
    plain = _PLAIN_RESULTS.get(name, ())
    return tuple(re if i in plain else _together(re, im) for i, (re, im) in enumerate(zip(*sides, strict=True)))


def _tensors(value: Any) -> list[Any]:
    """The tensors, real or complex, that a value consists of."""
    if isinstance(value, Complex) and isinstance(value.re, TensorArray):
        return [Complex(re, im) for re, im in zip(_tensors(value.re), _tensors(value.im), strict=True)]
    if isinstance(value, TensorArray):
        return list(value.items) if value.items is not None else [value.stack]
    if isinstance(value, list):
        return [leaf for v in value for leaf in _tensors(v)]
    return [value] if isinstance(value, Tensor | Complex) else []


def _side(b: Builder, value: Any, dtype: str, imaginary: bool) -> Any:
    """The real or the imaginary part of a value that holds numbers."""
    if isinstance(value, list):
        return [_side(b, v, dtype, imaginary) for v in value]
    if isinstance(value, Complex):
        return _side(b, value.im if imaginary else value.re, dtype, False)
    if isinstance(value, TensorArray):
        if value.items is not None:
            return TensorArray([_side(b, t, dtype, imaginary) for t in value.items])
        return TensorArray(stack=_side(b, value.stack, dtype, imaginary))
    if isinstance(value, Tensor):
        return b.full(value.shape, 0, dtype) if imaginary else value.astype(dtype)
    return _number(value, imaginary)


def _number(value: Any, imaginary: bool) -> Any:
    """The part of a number, or of each of a list of them."""
    if isinstance(value, Complex):
        return value.im if imaginary else value.re
    if isinstance(value, list | tuple):
        return [_number(v, imaginary) for v in value]
    if isinstance(value, complex):
        return value.imag if imaginary else value.real
    if isinstance(value, Tensor | int | float):
        return 0 if imaginary else value
    return value


def _together(re: Any, im: Any) -> Any:
    if isinstance(re, list):
        return [_together(p, q) for p, q in zip(re, im, strict=True)]
    return Complex(re, im) if isinstance(re, Tensor | TensorArray) else re

"""The registry: an operator is one function, named as in Paddle, whose signature is the operator's inputs and attributes.

    @operator
    def leaky_relu(b: Builder, x: Tensor, negative_slope: float = 0.02) -> Tensor:
        return b.where(x >= 0.0, x, x * negative_slope)

The parameters after ``b`` are Paddle's own names (PIR's; legacy programs are normalised to them), Python's keywords and
``b`` with an underscore after them.  Annotations say how each
is bound:

    Tensor, Tensor | None              an operand
    list[Tensor], list[Tensor] | None  an operand that is a list
    Ints                               sizes, axes, indices: list of Dim, from an operand or an attribute of that name
    Scalar                             a number, a symbolic expression, or a 0-D Tensor when only known at run time
    Complex, list[Complex]             a complex operand (a real one gets an imaginary part of 0), a list of them
    Value                              a tensor, real or complex
    Op                                 the operation itself (its regions, its declared result types)
    anything else                      an attribute; without a default it must be in the file (``lambda_`` is Paddle's ``lambda``)

An attribute that the file has, the function has not, and whose value is not Paddle's default is reported as unsupported.
Results are returned in Paddle's order: one Tensor or Complex, a list of them for a list-typed result, or a tuple (None: not computed).

An operation on complex operands, or with a complex dtype, is done by the function that ``complex_operator`` registered under
the operator's name; else by parts, where complex_parts.py lists it; else by the operator's own function when that takes Complex.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import pkgutil
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any

import numpy as np

from ..errors import InternalError, UnsupportedError
from ..model.program import Op
from .builder import Builder
from .complex_pair import Complex, common_dtype, to_complex
from .complex_parts import PARTWISE, SHAPE_ONLY, by_parts
from .dtypes import is_complex
from .tensor import Dim, Tensor, as_dim

Ints = Annotated[list[Dim], "ints"]
Scalar = Annotated[Any, "scalar"]
Value = Annotated[Any, "value"]


class NotKnown(Exception):
    """Raised by a fold function: these contents cannot be computed at import time."""


@dataclass
class Operator:
    """One registered operator function and how its parameters are bound."""

    name: str
    function: Callable[..., Any]
    parameters: dict[str, Parameter]
    fold: Callable[..., Any] | None = None
    user: bool = False

    @property
    def doc(self) -> str:
        return (inspect.getdoc(self.function) or "").split("\n")[0]


@dataclass(frozen=True)
class Parameter:
    kind: str  # tensor, tensors, complex, complexes, value, ints, scalar, op, attribute
    optional: bool
    default: Any = inspect.Parameter.empty


_REGISTRY: dict[str, Operator] = {}
_COMPLEX: dict[str, Operator] = {}

# operators whose own functions take complex tensors in place of real ones, all of them of one dtype
GENERIC = frozenset(
    "matmul legacy_matmul matmul_with_flatten bmm mv dot addmm baddbmm multi_dot einsum cross kron matrix_power".split(),
)

# attributes that say nothing about the result
IGNORED_ATTRIBUTES = frozenset(
    """op_role op_role_var op_namescope op_callstack op_device with_quant_attr use_mkldnn use_cudnn use_quantizer
    mkldnn_data_type is_test stop_gradient persistable struct_name place name col x_data_format y_data_format use_xpu
    force_fp32_output workspace_size_MB exhaustive_search trainable_statistics is_persistable
    cudnn_deterministic enable_cache deterministic quantization_type skip_quant use_global_beta_pow""".split()
)


def operator(*names: Any, fold: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Register an operator function under its own name, or under the names given.

    ``fold(**same arguments, tensors as numpy arrays)`` computes known contents at import time: shape arithmetic.  It may
    meet object arrays of symbolic expressions; it raises NotKnown to decline.  Users register operators of their own the
    same way (``oarlock.operator("my_op")``); a user's operator replaces a built-in one, two built-in ones of a name are an error.
    """
    if len(names) == 1 and callable(names[0]):
        return operator()(names[0])

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = _classify(function)
        user = not function.__module__.startswith(__package__ or "oarlock.ops")
        for name in names or (function.__name__,):
            known = _REGISTRY.get(name)
            if known and not user and not known.user:
                raise InternalError(f"the operator {name!r} is registered twice: {known.function.__module__} and {function.__module__}")
            _REGISTRY[name] = Operator(name, function, parameters, fold, user)
        return function

    return register


def complex_operator(*names: Any) -> Callable[..., Any]:
    """Register what operators of these names (default: the function's) do when an operand, or the dtype asked for, is complex."""
    if len(names) == 1 and callable(names[0]):
        return complex_operator()(names[0])

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = _classify(function)
        for name in names or (function.__name__,):
            if name in _COMPLEX:
                raise InternalError(f"the operator {name!r} is registered twice for complex tensors, now by {function.__module__}")
            _COMPLEX[name] = Operator(name, function, parameters)
        return function

    return register


def _classify(function: Callable[..., Any]) -> dict[str, Parameter]:
    hints = typing.get_type_hints(function, include_extras=True)
    out: dict[str, Parameter] = {}
    for name, p in list(inspect.signature(function).parameters.items())[1:]:
        kind, optional = _kind(hints.get(name, Any))
        out[name] = Parameter(kind, optional or p.default is not inspect.Parameter.empty, p.default)
    return out


def _kind(hint: Any) -> tuple[str, bool]:
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [h for h in typing.get_args(hint) if h is not type(None)]
        optional = len(inner) < len(typing.get_args(hint))
        hint = inner[0] if len(inner) == 1 else hint
    if hint is Tensor or hint is Complex:
        return "tensor" if hint is Tensor else "complex", optional
    if typing.get_origin(hint) is list and typing.get_args(hint)[0] is Tensor:
        return "tensors", optional
    if typing.get_origin(hint) is list and typing.get_args(hint)[0] is Complex:
        return "complexes", optional
    if hint == Value:
        return "value", optional
    if hint == Ints:
        return "ints", optional
    if hint == Scalar:
        return "scalar", optional
    if hint is Op:
        return "op", optional
    return "attribute", optional


@functools.cache
def signatures() -> dict[str, dict]:
    """Paddle's own operator signatures, by PIR name without a trailing underscore."""
    text = resources.files("oarlock.model").joinpath("signatures.json").read_text()
    return {name.split(".", 1)[1].rstrip("_"): entry for name, entry in json.loads(text)["operators"].items()}


@functools.cache
def load_builtin() -> None:
    """Import every operator family once."""
    package = importlib.import_module("oarlock.ops")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name == "samples":
            continue
        importlib.import_module(f"oarlock.ops.{module.name}")


def lookup(name: str) -> Operator | None:
    """The operator of a PIR name, with or without the dialect and the in-place underscore."""
    load_builtin()
    if name in _REGISTRY:
        return _REGISTRY[name]
    short = name.split(".", 1)[-1] if name.startswith(("pd_op.", "builtin.", "cf.", "custom_op.")) else name
    return _REGISTRY.get(short) or _REGISTRY.get(short.rstrip("_"))


def registered() -> dict[str, Operator]:
    load_builtin()
    return dict(sorted(_REGISTRY.items()))


# ---- calling an operator -------------------------------------------------------------------------------------------


def apply(b: Builder, spec: Operator, op: Op, operands: dict[str, Any]) -> tuple[Any, ...]:
    """Bind an operation's operands and attributes to its operator function and call it → one entry a result."""
    complex_ = any(_is_complex(v) for v in operands.values()) or any(is_complex(v) or isinstance(v, complex) for v in op.attrs.values())
    if complex_ and not spec.user:
        return _apply_complex(b, spec, op, operands)
    return _call(b, spec, _bind(b, spec, op, operands))


def _call(b: Builder, spec: Operator, arguments: dict[str, Any]) -> tuple[Any, ...]:
    if spec.fold is not None and not any(map(_is_complex, arguments.values())):
        folded = _fold(b, spec, arguments)
        if folded is not None:
            return folded
    result = spec.function(b, **arguments)
    return result if isinstance(result, tuple) else (result,)


def _apply_complex(b: Builder, spec: Operator, op: Op, operands: dict[str, Any]) -> tuple[Any, ...]:
    """The same where a complex tensor or dtype takes part."""
    if (own := _COMPLEX.get(spec.name)) is not None:
        return _call(b, own, _bind(b, own, op, operands))
    if spec.name in PARTWISE:
        arguments = _bind(b, spec, op, operands, PARTWISE[spec.name])
        return by_parts(b, spec.name, lambda given: _call(b, spec, given), arguments)
    if spec.name in GENERIC:
        return _call(b, spec, _all_complex(b, _bind(b, spec, op, operands, tuple(spec.parameters))))
    if spec.name in SHAPE_ONLY:
        operands = {name: value.re if isinstance(value, Complex) else value for name, value in operands.items()}
    return _call(b, spec, _bind(b, spec, op, operands))


def _all_complex(b: Builder, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with every tensor complex, of the common dtype."""
    tensors = [v for value in arguments.values() for v in (value if isinstance(value, list) else [value])]
    dtype = common_dtype(*[v for v in tensors if isinstance(v, Tensor | Complex)])

    def raised(value: Any) -> Any:
        if isinstance(value, list):
            return [raised(v) for v in value]
        return to_complex(b, value, dtype) if isinstance(value, Tensor | Complex) else value

    return {name: raised(value) for name, value in arguments.items()}


def _is_complex(value: Any) -> bool:
    return isinstance(value, Complex) or (isinstance(value, list) and any(map(_is_complex, value)))


def _bind(b: Builder, spec: Operator, op: Op, operands: dict[str, Any], any_number: tuple[str, ...] = ()) -> dict[str, Any]:
    """The arguments of an operator's function; ``any_number``: parameters that may be complex whatever they say."""
    out: dict[str, Any] = {}
    positional = iter(operands.values()) if operands and all(k.startswith("operand_") for k in operands) else None
    for name, p in spec.parameters.items():
        if p.kind == "op":
            out[name] = op
            continue
        if p.kind == "attribute":
            if (paddle_name := _paddle_name(name)) in op.attrs:
                out[name] = op.attrs[paddle_name]
            elif p.default is inspect.Parameter.empty:
                raise UnsupportedError(
                    f"the attribute {name!r} is missing in the model", todo="export the model again with a current Paddle"
                )
            continue
        value = next(positional, None) if positional is not None else operands.get(_paddle_name(name))
        if value is None and p.kind in ("ints", "scalar") and _paddle_name(name) in op.attrs:
            value = op.attrs[_paddle_name(name)]
        if value is None:
            if not p.optional:
                raise UnsupportedError(f"the operand {name!r} is missing in the model")
            if p.default is inspect.Parameter.empty:
                out[name] = None
            continue
        if p.kind in ("tensor", "tensors", "ints") and name not in any_number and _is_complex(value):
            raise UnsupportedError(f"{name!r} is complex, which {spec.name} does not take: {_NO_COMPLEX}")
        out[name] = _convert(b, p.kind, value)
    _check_leftovers(spec, op, operands)
    return out


_NO_COMPLEX = "give it paddle.real and paddle.imag, and put the results together with paddle.complex"


def _paddle_name(parameter: str) -> str:
    """Paddle's name of a parameter: where it cannot be one (a Python keyword, the builder's ``b``) it has an underscore here."""
    return parameter.removesuffix("_")


def _convert(b: Builder, kind: str, value: Any) -> Any:
    if kind == "tensors":
        return list(value) if isinstance(value, list | tuple) else [value]
    if kind == "complex":
        return to_complex(b, value)
    if kind == "complexes":
        return [to_complex(b, v) for v in (value if isinstance(value, list) else [value])]
    if kind == "ints":
        return b.dims(value if isinstance(value, Tensor) else list(value) if isinstance(value, list | tuple | np.ndarray) else [value])
    if kind == "scalar":
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        if isinstance(value, Complex):
            return value.reshape([])
        if isinstance(value, Tensor):
            if value.known is not None and value.known.size == 1:
                item = value.known.reshape(-1)[0]
                return item.item() if isinstance(item, np.generic) else as_dim(item)
            return value.reshape([])
        return value
    return value


def _check_leftovers(spec: Operator, op: Op, operands: dict[str, Any]) -> None:
    entry = signatures().get(op.short_name.rstrip("_"), {})
    defaults = entry.get("defaults", {})
    taken = {_paddle_name(name) for name in spec.parameters}
    for name, value in op.attrs.items():
        if name in taken or name in IGNORED_ATTRIBUTES or name.startswith("__") or spec.user:
            continue
        if name in defaults and (value == defaults[name] or value in (None, "", [], False, 0)):
            continue
        if name in operands or value in (None, "", [], False):
            continue
        raise UnsupportedError(f"the attribute {name}={value!r} is not supported")
    for name, value in operands.items():
        if value is not None and name not in taken and not name.startswith("operand_") and not spec.user:
            raise UnsupportedError(f"the operand {name!r} is not supported")


def _fold(b: Builder, spec: Operator, arguments: dict[str, Any]) -> tuple[Any, ...] | None:
    assert spec.fold is not None
    known: dict[str, Any] = {}
    dtype = ""
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            if value.known is None:
                return None
            known[name], dtype = value.known, dtype or value.dtype
        elif isinstance(value, list) and any(isinstance(v, Tensor) for v in value):
            if not all(isinstance(v, Tensor) and v.known is not None for v in value):
                return None
            known[name], dtype = [v.known for v in value], dtype or value[0].dtype
        else:
            known[name] = value
    try:
        with np.errstate(all="ignore"):
            result = spec.fold(**known)
    except NotKnown:
        return None
    results = result if isinstance(result, tuple) else (result,)
    return tuple([_folded(b, r, dtype) for r in res] if isinstance(res, list) else _folded(b, res, dtype) for res in results)


def _folded(b: Builder, result: Any, dtype: str) -> Tensor:
    array = np.asarray(result)
    if array.dtype == object:
        simple = np.frompyfunc(b.simplify, 1, 1)(array) if array.size else array
        return b.known(simple, dtype or "int64")
    return b.known(array, str(array.dtype))

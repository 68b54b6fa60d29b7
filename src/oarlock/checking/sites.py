"""The kernel calls of a compiled program: which results of the model's operations each reads and gives, and in what layout they are."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from ..rules.origins import bindings, called, is_kernel_call, result
from ..runtime import dtypes

Held = tuple[int, int]  # an operation (its number in Program.walk), and which of its results


@dataclass(frozen=True)
class Site:
    """A call of a kernel in ``main``.  ``reads``, ``gives``: of its tensor operands and results those that are results of operations.

    ``comparable``: false where it writes into what it reads.  ``host``: it is a call of the host, which returns what it gives.
    """

    kernel: str
    reads: tuple[Held | None, ...]
    gives: tuple[Held | None, ...]
    comparable: bool = True
    host: bool = False


def sites(mod: tvm.IRModule) -> list[Site]:
    """The calls of ``main``, in order: those that manifest["calls"] has."""
    main = mod["main"]
    parts: dict[relax.Var, dict[int, Held | None]] = {}
    views: dict[relax.Expr, Held] = {}  # what other names and shapes of a variable hold
    holds: dict[relax.Expr, Held | None] = {}
    for binding in bindings(main):
        value, held = binding.value, result(binding.var.name)
        if isinstance(value, relax.TupleGetItem):
            parts.setdefault(value.tuple_value, {})[value.index] = held
        elif isinstance(value, relax.Call) and getattr(value.op, "name", "") == "relax.reshape":
            value = value.args[0]
        holds[binding.var] = held or holds.get(value)
        if held is not None:
            views.setdefault(value, held)
    out = []
    for binding in bindings(main):
        call = binding.value
        kernel = called(call)
        if not kernel:
            continue
        host = not is_kernel_call(call)
        given = relax.Tuple(call.args[1:]) if host else call.args[1]
        fields = given.fields if isinstance(given, relax.Tuple) else [given]
        reads = [holds.get(f) for f in fields if isinstance(f.ty, relax.TensorType)]
        single = not isinstance(call.ty, relax.TupleType)
        made = parts.get(binding.var, {})
        own = result(binding.var.name) or views.get(binding.var)
        gives = [own] if single else [made.get(i) for i in range(len(call.ty.fields))]
        out.append(Site(kernel, tuple(reads), tuple(gives), host or call.op.name == "relax.call_tir", host))
    return out


def tensor_view(tensor: Any) -> np.ndarray | None:
    """A dense CPU tensor of the VM as an array on its memory, which may be written; None for any other."""
    try:
        dtype = dtypes.numpy_dtype(str(tensor.dtype))
    except KeyError:
        return None
    shape = tuple(int(d) for d in tensor.shape)
    if not tensor.is_contiguous() or str(tensor.device) != "cpu:0":
        return None
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    memory = memoryview((ctypes.c_char * size).from_address(tensor.data_ptr()))
    return np.frombuffer(memory, dtype).reshape(shape)


def in_layout(reference: np.ndarray, like: np.ndarray) -> np.ndarray | None:
    """``reference``, a result of an operation as the model has it, in the layout and type of ``like``, which should hold the same.

    Layouts are the model's own and channels last, in any shape of as many elements; the one that ``like`` is nearest to.
    None where there are more or fewer elements.
    """
    if reference.size != like.size or reference.dtype.kind == "c" or (reference.dtype.kind == "b") != (like.dtype.kind == "b"):
        return None
    found = [a.reshape(like.shape) for a in _layouts(reference)]
    if len(found) > 1:
        mine = like.astype("float64")
        with np.errstate(all="ignore"):
            found.sort(key=lambda a: float(np.nan_to_num(np.abs(a.astype("float64") - mine), nan=0.0, posinf=0.0).sum()))
    return found[0].astype(like.dtype)


def _layouts(reference: np.ndarray) -> list[np.ndarray]:
    return [reference, reference.transpose(0, 2, 3, 1)] if reference.ndim == 4 else [reference]

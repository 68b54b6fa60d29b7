"""Dot products of a few narrow numbers in one instruction: what a product is made of when its operands are bfloat16 or int8.

``tensorize`` matches lanes × group multiply-adds of a scheduled kernel and puts one call in their place; the call's function is a few
lines of LLVM IR that come with the kernel and are inlined.  (TVM cannot say a bfloat16 vector to LLVM itself.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from tvm import relax, tirx
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T

from ... import compat

GROUP = {"bfloat16": 2, "uint8": 4}  # operand type → elements of the depth that one step takes; 1 for all others
HELD = ("bfloat16", "uint16", "uint8", "int8")  # types of operands as kernels read them
EXTENDED = 3  # channels of an image: from here on a depth that fills no group is extended by zeros where that costs no copy
TILE_REGISTERS = {"bfloat16": "amx-bf16", "uint8": "amx-int8"}  # operand → the LLVM feature that multiplies it in tile registers (amx.py)
LANES = (16, 8, 4)  # sums that one instruction adds to
BITS = compat.vector_op("oarlock.bfloat16_bits")  # float32 → the bits of the nearest bfloat16 (uint16)
WORD = compat.vector_op("oarlock.dot_uint8")  # (sum, four bytes without a sign, four with one), all int32 → sum and products
BIAS = 128  # int8 operands are held as uint8, this much larger: the instruction wants one operand without a sign


@dataclass(frozen=True)
class Narrow:
    """What a target option ``precision`` means for products of tensors of ``dtype``.

    ``operand``: what the data is held as.  ``features``: LLVM features, any of which has the instruction.
    """

    dtype: str
    operand: str
    features: tuple[str, ...]

    def narrow(self, expr: relax.Expr) -> relax.Expr:
        """A tensor of ``dtype`` as ``operand``."""
        if self.dtype == "float32":
            return relax.op.astype(expr, self.operand)
        return relax.op.astype(relax.op.add(relax.op.astype(expr, "int32"), relax.const(BIAS, "int32")), self.operand)

    def widen(self, expr: relax.Expr) -> relax.Expr:
        """What ``narrow`` made as ``dtype`` again."""
        if self.dtype == "float32":
            return relax.op.astype(expr, self.dtype)
        return relax.op.astype(relax.op.subtract(relax.op.astype(expr, "int32"), relax.const(BIAS, "int32")), self.dtype)


PRECISIONS = {
    "float32": None,
    "bfloat16": Narrow("float32", "bfloat16", ("avx512bf16",)),
    "int8": Narrow("int8", "uint8", ("avx512vnni", "avxvnni")),
}

_DOT = """
declare <{n} x {sum}> @llvm.x86.{instruction}.{bits}(<{n} x {sum}>, <{m} x {type}>, <{m} x {type}>)
define linkonce_odr <{n} x {sum}> @oarlock_dot_{left}_x{n}(<{n} x {sum}> %sum, <{n} x i32> %a, <{n} x i32> %b) alwaysinline {{
  %x = bitcast <{n} x i32> %a to <{m} x {type}>
  %y = bitcast <{n} x i32> %b to <{m} x {type}>
  %r = call <{n} x {sum}> @llvm.x86.{instruction}.{bits}(<{n} x {sum}> %sum, <{m} x {type}> %x, <{m} x {type}> %y)
  ret <{n} x {sum}> %r
}}
"""
_DOTS = {
    "bfloat16": {"sum": "float", "type": "bfloat", "instruction": "avx512bf16.dpbf16ps"},
    "uint8": {"sum": "i32", "type": "i8", "instruction": "avx512.vpdpbusd"},
}
_ROUND = """
define linkonce_odr {i16} @oarlock_bfloat16_bits_x{n}({float} %x) alwaysinline {{
  %y = fptrunc {float} %x to {bfloat}
  %r = bitcast {bfloat} %y to {i16}
  ret {i16} %r
}}
"""


@cache
def functions(operand: str) -> str:
    """The LLVM IR of all functions that kernels on such operands may call."""
    text = "".join(_DOT.format(n=n, m=GROUP[operand] * n, bits=32 * n, left=operand, **_DOTS[operand]) for n in LANES)
    for n in compat.LLVM_LANES if operand == "bfloat16" else ():
        text += _ROUND.format(n=n, **compat.llvm_types(n, "i16", "float", "bfloat"))
    return text


def finish(function: tirx.PrimFunc, operand: str) -> tirx.PrimFunc:
    """A scheduled kernel with its conversions to bfloat16 as one instruction, and with the functions that it calls."""

    def convert(cast: tirx.Cast) -> Any:
        if str(cast.ty) != "bfloat16" or str(cast.value.ty) != "float32":
            return cast
        return tirx.reinterpret("bfloat16", tirx.call_intrin("uint16", BITS, cast.value))

    function = compat.map_casts(function, convert) if operand == "bfloat16" else function
    return compat.add_llvm_ir(function, functions(operand))


def zero(dtype: str) -> Any:
    """What an operand held as ``dtype`` is padded with."""
    return tirx.const(BIAS if dtype == "uint8" else 0, dtype)


def held(value: Any) -> Any:
    """An operand as a kernel's own tensors hold it: TVM makes float32 of a kernel's own bfloat16 tensors, but not of their bits."""
    return tirx.reinterpret("uint16", value) if str(value.ty) == "bfloat16" else value


def wide(value: Any) -> Any:
    """An operand, or its bits, as what is multiplied and summed."""
    dtype = str(value.ty)
    if dtype in ("uint8", "int8"):
        return tirx.Cast("int32", value)
    if dtype not in ("bfloat16", "uint16"):
        return value
    return tirx.Cast("float32", value if dtype == "bfloat16" else tirx.reinterpret("bfloat16", value))


@cache
def intrinsic(lanes: int, left: str, right: str) -> str:
    """The name of the registered tensor intrinsic: sums[lanes] += a[group] · b[lanes, group].

    ``lanes``: one of LANES.  ``left``, ``right``: the operands' types: "bfloat16", or "uint16" where one is held as bits, or
    "uint8" and "int8".
    """
    integers = left == "uint8"
    operand, total = ("uint8", "int32") if integers else ("bfloat16", "float32")
    group, function = GROUP[operand], f"oarlock_dot_{operand}_x{lanes}"
    vector, few, many, words = f"{total}x{lanes}", f"{left}x{group}", f"{right}x{group * lanes}", f"int32x{lanes}"

    @T.prim_func(private=True, s_tir=True)
    def what(
        a: T.Buffer((group,), left, offset_factor=1),  # type: ignore[valid-type]
        b: T.Buffer((lanes, group), right, offset_factor=1),  # type: ignore[valid-type]
        sums: T.Buffer((lanes,), total, offset_factor=1, scope="local"),  # type: ignore[valid-type]
    ) -> None:
        with T.sblock("root"):
            T.reads(sums[0:lanes], a[0:group], b[0:lanes, 0:group])
            T.writes(sums[0:lanes])
            for i, k in T.grid(lanes, group):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    sums[vi] = sums[vi] + wide(a[vk]) * wide(b[vi, vk])

    @T.prim_func(private=True, s_tir=True)
    def how(
        a: T.Buffer((group,), left, offset_factor=1),  # type: ignore[valid-type]
        b: T.Buffer((lanes, group), right, offset_factor=1),  # type: ignore[valid-type]
        sums: T.Buffer((lanes,), total, offset_factor=1, scope="local"),  # type: ignore[valid-type]
    ) -> None:
        with T.sblock("root"):
            T.reads(sums[0:lanes], a[0:group], b[0:lanes, 0:group])
            T.writes(sums[0:lanes])
            sums[T.ramp(0, 1, lanes)] = T.call_extern(
                vector,
                function,
                sums.vload([0], vector),
                T.broadcast(T.reinterpret(a.vload([0], few), dtype="int32"), lanes),
                T.reinterpret(b.vload([0, 0], many), dtype=words),
            )

    name = f"oarlock.{function}.{left}.{right}"
    TensorIntrin.register(name, what, how, override=True)
    return name

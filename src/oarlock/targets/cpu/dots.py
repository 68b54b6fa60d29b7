"""Dot products of a few narrow numbers in one instruction: what a product is made of when its operands are bfloat16.

``tensorize`` matches lanes × group multiply-adds of a scheduled kernel and puts one call in their place; the call's function is a few
lines of LLVM IR that come with the kernel and are inlined.  (TVM cannot say a bfloat16 vector to LLVM itself.)
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T

from ... import compat

GROUP = {"float32": 1, "float64": 1, "bfloat16": 2}  # elements of the depth that one step takes
LANES = (16, 8, 4)  # sums that one instruction adds to
FEATURE = "avx512bf16"  # the LLVM feature without which there is no such instruction
BITS = compat.vector_op("oarlock.bfloat16_bits")  # float32 → the bits of the nearest bfloat16 (uint16)

_DOT = """
declare <{n} x float> @llvm.x86.avx512bf16.dpbf16ps.{bits}(<{n} x float>, <{m} x bfloat>, <{m} x bfloat>)
define linkonce_odr <{n} x float> @oarlock_dot_bf16_x{n}(<{n} x float> %sum, <{n} x i32> %a, <{n} x i32> %b) alwaysinline {{
  %x = bitcast <{n} x i32> %a to <{m} x bfloat>
  %y = bitcast <{n} x i32> %b to <{m} x bfloat>
  %r = call <{n} x float> @llvm.x86.avx512bf16.dpbf16ps.{bits}(<{n} x float> %sum, <{m} x bfloat> %x, <{m} x bfloat> %y)
  ret <{n} x float> %r
}}
"""
_ROUND = """
define linkonce_odr {i16} @oarlock_bfloat16_bits_x{n}({float} %x) alwaysinline {{
  %y = fptrunc {float} %x to {bfloat}
  %r = bitcast {bfloat} %y to {i16}
  ret {i16} %r
}}
"""


def _functions() -> str:
    text = "".join(_DOT.format(n=n, m=2 * n, bits=32 * n) for n in LANES)
    for n in (1, 2, 4, 8, 16, 32, 64):
        types = {t: t if n == 1 else f"<{n} x {t}>" for t in ("i16", "float", "bfloat")}
        text += _ROUND.format(n=n, **types)
    return text


FUNCTIONS = _functions()  # the LLVM IR of all functions that kernels on narrow numbers may call


def finish(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A scheduled kernel with its conversions to bfloat16 as one instruction, and with the functions that it calls."""

    def convert(cast: tirx.Cast) -> Any:
        if str(cast.ty) != "bfloat16" or str(cast.value.ty) != "float32":
            return cast
        return tirx.reinterpret("bfloat16", tirx.call_intrin("uint16", BITS, cast.value))

    return compat.map_casts(function, convert).with_attr(compat.LLVM_IR, FUNCTIONS)


def held(value: Any) -> Any:
    """An operand as a kernel's own tensors hold it: TVM makes float32 of a kernel's own bfloat16 tensors, but not of their bits."""
    return tirx.reinterpret("uint16", value) if str(value.ty) == "bfloat16" else value


def wide(value: Any) -> Any:
    """An operand, or its bits, as what is multiplied and summed."""
    if str(value.ty) not in ("bfloat16", "uint16"):
        return value
    return tirx.Cast("float32", value if str(value.ty) == "bfloat16" else tirx.reinterpret("bfloat16", value))


@cache
def intrinsic(lanes: int, left: str, right: str) -> str:
    """The name of the registered tensor intrinsic: sums[lanes] += a[2] · b[lanes, 2], bfloat16 to float32.

    ``lanes``: one of LANES.  ``left``, ``right``: "bfloat16", or "uint16" where the operand is held as bits.
    """
    vector, pair, pairs, words, function = (
        f"float32x{lanes}",
        f"{left}x2",
        f"{right}x{2 * lanes}",
        f"int32x{lanes}",
        f"oarlock_dot_bf16_x{lanes}",
    )

    @T.prim_func(private=True, s_tir=True)
    def what(
        a: T.Buffer((2,), left, offset_factor=1),  # type: ignore[valid-type]
        b: T.Buffer((lanes, 2), right, offset_factor=1),  # type: ignore[valid-type]
        sums: T.Buffer((lanes,), "float32", offset_factor=1, scope="local"),  # type: ignore[valid-type]
    ) -> None:
        with T.sblock("root"):
            T.reads(sums[0:lanes], a[0:2], b[0:lanes, 0:2])
            T.writes(sums[0:lanes])
            for i, k in T.grid(lanes, 2):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    sums[vi] = sums[vi] + wide(a[vk]) * wide(b[vi, vk])

    @T.prim_func(private=True, s_tir=True)
    def how(
        a: T.Buffer((2,), left, offset_factor=1),  # type: ignore[valid-type]
        b: T.Buffer((lanes, 2), right, offset_factor=1),  # type: ignore[valid-type]
        sums: T.Buffer((lanes,), "float32", offset_factor=1, scope="local"),  # type: ignore[valid-type]
    ) -> None:
        with T.sblock("root"):
            T.reads(sums[0:lanes], a[0:2], b[0:lanes, 0:2])
            T.writes(sums[0:lanes])
            sums[T.ramp(0, 1, lanes)] = T.call_extern(
                vector,
                function,
                sums.vload([0], vector),
                T.broadcast(T.reinterpret(a.vload([0], pair), dtype="int32"), lanes),
                T.reinterpret(b.vload([0, 0], pairs), dtype=words),
            )

    name = f"oarlock.{function}.{left}.{right}"
    TensorIntrin.register(name, what, how, override=True)
    return name

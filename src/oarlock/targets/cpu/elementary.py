"""exp, log, sigmoid, tanh and erf in float32 as arithmetic: LLVM has no vector version of them and would call libm element by element.

Errors are within 2 units in the last place (sigmoid 3, tanh 4, erf 5); infinities, zeros and NaN come out as libm has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from ... import compat

Expr = Any


def _f(value: float) -> Expr:
    return tirx.const(value, "float32")


def _polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    """Horner's scheme; the highest power first."""
    value = _f(coefficients[0])
    for c in coefficients[1:]:
        value = value * x + _f(c)
    return value


def _bind(value: Expr, body: Callable[[Expr], Expr], name: str = "t") -> Expr:
    """``body`` of a variable that is computed once."""
    var = tirx.Var(name, value.ty if not isinstance(value, float) else "float32")
    return tirx.Let(var, value, body(var))


def _power_of_two(n: Expr) -> Expr:
    """2 to the n for whole numbers n (int32) from -126 to 127."""
    return tirx.reinterpret("float32", (n + tirx.const(127, "int32")) << tirx.const(23, "int32"))


def _clamp(v: Expr, low: float, high: float) -> Expr:
    """``v`` within the bounds; NaN stays NaN (TVM's min and max would give the bound)."""
    below = tirx.Select(v > _f(high), _f(high), v)
    return _bind(below, lambda t: tirx.Select(t < _f(low), _f(low), t))


def _saturated(v: Expr, value: Expr, limit: float) -> Expr:
    """``value``, but exactly ±1 for ``v`` past ±limit."""
    return tirx.Select(v > _f(limit), _f(1.0), tirx.Select(v < _f(-limit), _f(-1.0), value))


def exp(x: Expr) -> Expr:
    """e^x = 2^n · e^r with |r| ≤ ln 2 / 2; 2^n in two factors, so that results near the ends of the range are right."""
    poly = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)

    def reduced(t: Expr, n: Expr) -> Expr:
        r = t - n * _f(0.693359375) - n * _f(-2.12194440e-4)
        return _bind(r, lambda r: _bind(tirx.Cast("int32", n), lambda i: scaled(_polynomial(r, poly) * r * r + r + _f(1.0), i)))

    def scaled(value: Expr, i: Expr) -> Expr:
        half = i >> tirx.const(1, "int32")
        return value * _power_of_two(half) * _power_of_two(i - half)

    def whole(t: Expr) -> Expr:
        return _bind(tirx.floor(t * _f(1.44269504088896341) + _f(0.5)), lambda n: reduced(t, n))

    return _bind(x, lambda v: _bind(_clamp(v, -104.0, 89.0), whole))


def log(x: Expr) -> Expr:
    """ln x = ln m + e · ln 2 with x = m · 2^e and m from √½ to √2; of a subnormal x, by 2^23 times it."""
    poly = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1,
            -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip
    root, shift = tirx.const(0x3F3504F3, "int32"), tirx.const(23, "int32")

    def special(v: Expr) -> Expr:
        small = v < _f(1.17549435e-38)
        bits = tirx.reinterpret("int32", tirx.Select(small, v * _f(8388608.0), v))
        # the exponent is no variable: in an index TVM finds its bounds inside of the Let, and none outside, and takes that for a conflict
        value = _bind(bits, lambda b: parts(b, (b - root) >> shift, tirx.Select(small, _f(23.0), _f(0.0))))
        out = tirx.Select(v > _f(0.0), value, tirx.Select(v.equal(_f(0.0)), _f(-math.inf), _f(math.nan)))
        return tirx.Select(v.equal(_f(math.inf)), v, out)

    def parts(bits: Expr, e: Expr, more: Expr) -> Expr:
        m = tirx.reinterpret("float32", bits - (e << shift))
        return _bind(m - _f(1.0), lambda t: _bind(tirx.Cast("float32", e) - more, lambda n: joined(t, n)))

    def joined(t: Expr, n: Expr) -> Expr:
        square = t * t
        return t + (square * t * _polynomial(t, poly) + n * _f(-2.12194440e-4) - _f(0.5) * square) + n * _f(0.693359375)

    return _bind(x, special)


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e^−x)."""
    return _f(1.0) / (_f(1.0) + exp(_f(0.0) - x))


def tanh(x: Expr) -> Expr:
    """An odd rational function of x on |x| ≤ 7.9, where tanh is 1 to the last bit; the identity near 0."""
    top = (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05,
           6.37261928875436e-04, 4.89352455891786e-03)  # fmt: skip
    bottom = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)

    def rational(t: Expr) -> Expr:
        return _bind(t * t, lambda s: t * _polynomial(s, top) / _polynomial(s, bottom))

    def clamped(v: Expr) -> Expr:
        value = _bind(_clamp(v, -7.90531110763549805, 7.90531110763549805), rational)
        return tirx.Select(tirx.abs(v) < _f(0.0004), v, _saturated(v, value, 7.9))

    return _bind(x, clamped)


def erf(x: Expr) -> Expr:
    """An odd rational function of x on |x| ≤ 3.83, where erf is 1 to the last bit."""
    top = (0.00022905065861350646, 0.0034082910107109506, 0.050955695062380861, 0.18520832239976145, 1.128379143519084)
    bottom = (-1.1791602954361697e-7, 0.000023547966471313185, 0.0010179625278914885, 0.014070470171167667, 0.11098505178285362,
              0.49746925110067538, 1.0)  # fmt: skip

    def rational(t: Expr) -> Expr:
        return _bind(t * t, lambda s: t * _polynomial(s, top) / _polynomial(s, bottom))

    def clamped(v: Expr) -> Expr:
        value = _bind(_clamp(v, -3.832506856900711, 3.832506856900711), rational)
        return _saturated(v, value, 3.83)

    return _bind(x, clamped)


_FUNCTIONS = {"tirx.exp": exp, "tirx.log": log, "tirx.sigmoid": sigmoid, "tirx.tanh": tanh, "tirx.erf": erf}


# TVM 0.27 lowers these for one element, and gives up on vectors of them ("unknown intrinsic"): loops over them stay loops
_SCALAR = frozenset({"tirx.sinh", "tirx.cosh", "tirx.fmod"})


def expand(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Every float32 call of an elementary function in a kernel → arithmetic; no vectors of functions that have none."""

    def replace(call: tvm.ir.Call) -> Expr:
        made = _FUNCTIONS.get(getattr(call.op, "name", ""))
        return made(call.args[0]) if made is not None and str(call.ty.dtype) == "float32" else call

    return compat.serial_loops(_bfloat16_as_bits(compat.map_calls(_in_float32(function), replace)), _SCALAR)


_MOVES = ("if_then_else", "reinterpret", "likely", "ret")  # calls that compute nothing


def _in_float32(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """What computes with bfloat16, or compares, in float32, rounded after each step, as Paddle does it.

    TVM 0.27 does that later, but not to what variables are bound to: LLVM got sums of integers and numbers.
    """

    def wide(value: Expr) -> Expr:
        return tirx.Cast("float32", value)

    def arithmetic(node: Any) -> Expr:
        return tirx.Cast("bfloat16", type(node)(wide(node.a), wide(node.b))) if str(node.ty) == "bfloat16" else node

    def comparison(node: Any) -> Expr:
        return type(node)(wide(node.a), wide(node.b)) if str(node.a.ty) == "bfloat16" else node

    def call(node: tvm.ir.Call) -> Expr:
        name, dtype = getattr(node.op, "name", ""), str(node.ty)
        computes = name.startswith("tirx.") and not name.startswith("tirx.call") and name.removeprefix("tirx.") not in _MOVES
        if (
            not computes
            or not node.args
            or dtype not in ("bfloat16", "bool")
            or any(str(getattr(a, "ty", "")) != "bfloat16" for a in node.args)
        ):
            return node
        made = tirx.call_intrin("float32" if dtype == "bfloat16" else dtype, name, *map(wide, node.args))
        return tirx.Cast(dtype, made) if dtype == "bfloat16" else made

    made = [(kind, arithmetic) for kind in (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Min, tirx.Max)]
    told = [(kind, comparison) for kind in (tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.EQ, tirx.NE)]
    return tvm_ffi.structural_map(function, [*made, *told, (tvm.ir.Call, call)])


_ROUNDED = compat.vector_op("oarlock.bfloat16_rounded")  # float32 → the bits of the nearest bfloat16 (uint16) on any CPU
_ROUND = """
define linkonce_odr {i16} @oarlock_bfloat16_rounded_x{n}({float} %x) alwaysinline {{
  %bits = bitcast {float} %x to {i32}
  %high = lshr {i32} %bits, {sixteen}
  %odd = and {i32} %high, {one}
  %half = add {i32} %odd, {below}
  %sum = add {i32} %bits, %half
  %even = lshr {i32} %sum, {sixteen} ; ties to even
  %quiet = or {i32} %high, {quiet} ; rounded up, NaN may become infinity or -0
  %nan = fcmp uno {float} %x, {zero}
  %chosen = select {i1} %nan, {i32} %quiet, {i32} %even
  %r = trunc {i32} %chosen to {i16}
  ret {i16} %r
}}
"""
_NUMBERS = {"sixteen": "i32 16", "one": "i32 1", "below": "i32 32767", "quiet": "i32 64", "zero": "float 0.0"}


def _rounding(n: int) -> str:
    numbers = {name: text.split()[1] if n == 1 else f"splat ({text})" for name, text in _NUMBERS.items()}
    return _ROUND.format(n=n, **compat.llvm_types(n, "i1", "i16", "i32", "float"), **numbers)


_ROUNDING = "".join(map(_rounding, compat.LLVM_LANES))


def _bfloat16_as_bits(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Conversions from and to bfloat16 as arithmetic on bits.

    TVM 0.27 would do the same later, but leaves out what a variable is bound to (a number was made of the bits there), and copies what
    it rounds three times, whose variables then have several definitions.  Bound to a variable and used five times, what is rounded would
    be simplified five times, for each step of a chain: a function takes it once.
    """
    sixteen = tirx.const(16, "uint32")
    rounds: list[bool] = []

    def widened(value: Expr) -> Expr:
        """A value of bfloat16 as float32."""
        name = getattr(getattr(value, "op", None), "name", "")
        if isinstance(value, tirx.FloatImm):
            return _f(value.value)
        if isinstance(value, tirx.Select):
            return tirx.Select(value.condition, widened(value.true_value), widened(value.false_value))
        if name.endswith(".if_then_else"):
            return tirx.if_then_else(value.args[0], widened(value.args[1]), widened(value.args[2]))
        if isinstance(value, compat.Load) or name.endswith(".reinterpret"):  # of the latter: what was rounded here
            return tirx.reinterpret("float32", tirx.Cast("uint32", tirx.reinterpret("uint16", value)) << sixteen)
        return tirx.Cast("float32", value)

    def convert(cast: tirx.Cast) -> Expr:
        types = str(cast.value.ty), str(cast.ty)
        if types == ("bfloat16", "float32"):
            return widened(cast.value)
        if types == ("float32", "bfloat16"):
            rounds.append(True)
            return tirx.reinterpret("bfloat16", tirx.call_intrin("uint16", _ROUNDED, cast.value))
        return cast

    function = compat.map_casts(function, convert)
    return compat.add_llvm_ir(function, _ROUNDING) if rounds else function

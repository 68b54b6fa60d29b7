"""Samples of operators on complex tensors: conversions, arithmetic, elementary functions, and what moves elements."""

import numpy as np

from .base import boolean, c64, c128, f32, f64, i64, sample

_NUMBERS = np.array([0, 1, -1, 1j, -2j, 3 + 4j, -0.5 - 0.25j, 1e-3 - 2e-3j, 8 + 1j], "complex128")


def _special(dtype: str = "complex64") -> np.ndarray:
    inf, nan = np.inf, np.nan
    return np.array([1 + 2j, complex(inf, 0), complex(0, -inf), complex(nan, 1), complex(1, nan), 0], dtype)


# ---- conversions -------------------------------------------------------------------------------------------------------

sample("complex", lambda paddle, x, y: paddle.complex(x, y), x=f32(2, 3), y=f32(2, 3, seed=1))
sample("complex", lambda paddle, x, y: paddle.complex(x, y), x=f64(2, 1), y=f64(3))
sample("complex", lambda paddle, x, y: paddle.complex(x, y), x=f32(), y=f32(seed=1))
sample("complex", lambda paddle, x, y: paddle.polar(x, y), x=f32(0, 3), y=f32(0, 3))
sample("as_complex", lambda paddle, x: paddle.as_complex(x), x=f32(3, 2), static=(-1,))
sample("as_complex", lambda paddle, x: paddle.as_complex(x), x=f64(2, 3, 2), static=(-1,))
sample("as_complex", lambda paddle, x: paddle.as_complex(x), x=f32(2), static=(-1,))
sample("as_real", lambda paddle, x: paddle.as_real(x), x=c64(2, 3))
sample("as_real", lambda paddle, x: paddle.as_real(x), x=c128())
sample("as_real", lambda paddle, x: paddle.as_real(x), x=c64(0, 3))
for _name in ("real", "imag", "conj", "angle", "abs", "sgn"):
    for _x in (c64(2, 3), _NUMBERS, c128()):
        # Paddle's sgn is several operators
        sample("as_complex" if _name == "sgn" else _name, lambda paddle, x, n=_name: getattr(paddle, n)(x), x=_x)
sample("cast", lambda paddle, x: [paddle.cast(x, "complex128"), paddle.cast(x, "float32"), paddle.cast(x, "bool")], x=_NUMBERS)
sample("cast", lambda paddle, x: [paddle.cast(x, "complex64"), paddle.cast(x, "complex128")], x=i64(2, 3))
sample("full", lambda paddle: [paddle.zeros([2, 3], "complex64"), paddle.ones([2], "complex128"), paddle.full([2], 1.5 - 2j, "complex64")])
sample("full_like", lambda paddle, x: [paddle.full_like(x, 1.5), paddle.zeros_like(x), paddle.ones_like(x)], x=c64(2, 3))
sample("eye", lambda paddle: paddle.eye(3, 2, "complex64"))
sample("assign", lambda paddle, x: paddle.assign(x), x=c64(2, 3))

# ---- arithmetic --------------------------------------------------------------------------------------------------------

for _name in ("add", "subtract", "multiply", "divide", "pow"):
    sample(_name, lambda paddle, x, y, n=_name: getattr(paddle, n)(x, y), x=c64(2, 3), y=c64(3, seed=1))
    sample(_name, lambda paddle, x, y, n=_name: getattr(paddle, n)(x, y), x=c128(2, 1, 2), y=c128(3, 1, seed=1), rtol=1e-13, atol=1e-14)
sample("divide", lambda paddle, x, y: paddle.divide(x, y), x=c64(2, 3), y=f32(3, low=0.5))
sample("remainder", lambda paddle, x, y: paddle.remainder(x, y), x=c64(2, 3), y=c64(2, 3, seed=1), rtol=1e-4)
sample("pow", lambda paddle, x: [paddle.pow(x, 2), paddle.pow(x, -3.0), paddle.pow(x, 0.5)], x=c64(2, 3))
sample("scale", lambda paddle, x: [paddle.scale(x, 2.5, 0.5), paddle.scale(x, -1.5, 2.0, bias_after_scale=False), -x], x=c64(2, 3))
sample("add_n", lambda paddle, x, y: paddle.add_n([x, y]), x=c64(2, 3), y=c64(2, 3, seed=1))
for _name in """acos acosh asin asinh atan atanh cos cosh exp expm1 log log10 log1p log2 reciprocal sin sinh sqrt square tan
    tanh""".split():
    sample(_name, lambda paddle, x, n=_name: getattr(paddle, n)(x), x=c64(3, 4))
    _rtol = 1e-6 if _name == "exp" else 1e-12  # Paddle's exp of complex128 is good to 7e-8 only; ours to 1e-16 (numpy's)
    sample(_name, lambda paddle, x, n=_name: getattr(paddle, n)(x), x=c128(5, low=-6.0, high=6.0), rtol=_rtol, atol=1e-14)
for _name in ("sigmoid", "silu", "log_sigmoid", "softsign"):  # of complex128 Paddle's exp is what it is (see above)
    sample(_name.replace("log_", "log"), lambda paddle, x, n=_name: getattr(paddle.nn.functional, n)(x), x=c128(3, 4), rtol=1e-6)

# ---- comparisons -------------------------------------------------------------------------------------------------------

_A, _B = c64(6), np.where(boolean(6), c64(6), c64(6).conj())
for _name in ("equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal"):
    sample(_name, lambda paddle, x, y, n=_name: getattr(paddle, n)(x, y), x=_A, y=_B)
for _name in ("logical_and", "logical_or", "logical_xor"):
    sample(_name, lambda paddle, x, y, n=_name: getattr(paddle, n)(x, y), x=_NUMBERS, y=_NUMBERS[::-1].copy())
sample("less_equal", lambda paddle, x, y: [x <= y, x > y], x=_special(), y=_special()[::-1].copy())
sample("logical_not", lambda paddle, x: paddle.logical_not(x), x=_NUMBERS)
for _name in ("isnan", "isinf", "isfinite"):
    sample(_name, lambda paddle, x, n=_name: getattr(paddle, n)(x), x=_special())
sample("isclose", lambda paddle, x, y: paddle.isclose(x, y, rtol=0.3), x=c64(6), y=c64(6) + np.complex64(0.2 - 0.3j))
sample("isclose", lambda paddle, x: paddle.isclose(x, x, equal_nan=True), x=_special("complex128"))
sample("allclose", lambda paddle, x, y: paddle.isclose(x, y).all(), x=c64(6), y=c64(6))
sample("where", lambda paddle, c, x, y: paddle.where(c, x, y), c=boolean(2, 3), x=c64(2, 3), y=c64(2, 3, seed=1))

# ---- reductions --------------------------------------------------------------------------------------------------------

sample("sum", lambda paddle, x: [paddle.sum(x), paddle.sum(x, axis=[0, -1], keepdim=True)], x=c64(2, 3, 4))
sample("mean", lambda paddle, x: [paddle.mean(x), paddle.mean(x, axis=1)], x=c128(2, 3))
sample("prod", lambda paddle, x: [paddle.prod(x), paddle.prod(x, axis=[0, 2], keepdim=True), paddle.prod(x, axis=1)], x=c64(2, 3, 2))
sample("cumsum", lambda paddle, x: [paddle.cumsum(x, axis=1), paddle.cumsum(x)], x=c64(2, 3))
sample("cumprod", lambda paddle, x: paddle.cumprod(x, dim=1), x=c128(2, 3, 2))
sample("any", lambda paddle, x: [paddle.any(x, axis=1), paddle.all(x)], x=np.array([[0, 1j], [0, 0]], "complex64"))

# ---- moving elements ---------------------------------------------------------------------------------------------------

_MOVES = {
    "reshape": lambda paddle, x: paddle.reshape(x, [-1, 2]),
    "transpose": lambda paddle, x: paddle.transpose(x, [2, 0, 1]),
    "squeeze": lambda paddle, x: paddle.squeeze(paddle.unsqueeze(x, [0, -1]), 0),
    "concat": lambda paddle, x: paddle.concat([x, x * 2.0], -1),
    "stack": lambda paddle, x: paddle.stack([x, -x], 1),
    "split": lambda paddle, x: paddle.split(x, [1, 3], -1),
    "slice": lambda paddle, x: x[:, 1:, -1],
    "strided_slice": lambda paddle, x: x[:, ::-1, ::2],
    "tile": lambda paddle, x: paddle.tile(x, [2, 1, 2]),
    "expand": lambda paddle, x: paddle.expand(x, [2, -1, -1, -1]),
    "flip": lambda paddle, x: paddle.flip(x, [0, -1]),
    "roll": lambda paddle, x: paddle.roll(x, [1, 2], [0, 2]),
    "tril": lambda paddle, x: [paddle.tril(x, 1), paddle.triu(x)],
    "diagonal": lambda paddle, x: [paddle.diagonal(x, 1), paddle.trace(x, 0, 1, 2)],
    "pad": lambda paddle, x: paddle.nn.functional.pad(x, [1, 0, 2, 1, 0, 1], value=2.0),
    "unbind": lambda paddle, x: paddle.unbind(x, 1),
    "numel": lambda paddle, x: [paddle.numel(x), paddle.shape(x)],
}
for _name, _call in _MOVES.items():
    sample(_name, _call, x=c64(2, 3, 4), dynamic=True if _name != "unbind" else "Paddle wants a static size")
sample("gather", lambda paddle, x, i: [paddle.gather(x, i, 1), paddle.index_select(x, i, 1)], x=c64(2, 3), i=i64(4, high=3))
sample("gather_nd", lambda paddle, x, i: paddle.gather_nd(x, i), x=c128(3, 4), i=i64(5, 2, high=3), dynamic="columns")
sample("masked_select", lambda paddle, x, m: [paddle._C_ops.masked_select(x, m), paddle.nonzero(x)], x=c64(2, 3), m=boolean(2, 3))
sample("diag", lambda paddle, x: [paddle.diag(x, 1), paddle.diag(x, padding_value=2.0)], x=c64(3))
sample("meshgrid", lambda paddle, x, y: paddle.meshgrid(x, y), x=c64(3), y=c64(2))
sample("index_put", lambda paddle, x, i, v: paddle.index_put(x, (i,), v), x=c64(4, 2), i=np.array([2, 0]), v=c64(2, 2, seed=1))
sample("set_value_with_tensor", lambda paddle, x, v: paddle.static.setitem(x, (slice(None), 1), v), x=c64(2, 3), v=c64(2, seed=1))
sample("set_value", lambda paddle, x: paddle.static.setitem(x, (0, slice(0, 2)), 1.5), x=c64(2, 3))

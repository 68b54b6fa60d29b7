"""Samples of ops/quant.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import f32, f64, sample


def _op(name: str, *args: Any, results: int = 1) -> Any:
    def call(paddle: Any, *tensors: Any) -> Any:
        out = getattr(paddle._C_ops, name)(*tensors, *args)
        return list(out)[:results] if isinstance(out, list | tuple) else out

    return call


ONE = np.array([1.27], "float32")
TIES = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 127.5, -128.5, 200.0, -200.0, 3.49]], "float32")
WIDE = np.array([127.0], "float32")
for ties in (0, 1):
    moving = "fake_quantize_dequantize_moving_average_abs_max"
    sample(moving, lambda paddle, x, s, t=ties, m=moving: _op(m, None, None, 0.9, 8, True, t)(paddle, x, s), x=TIES, constants={"s": WIDE})
    sample(
        moving, lambda paddle, x, s, t=ties, m=moving: _op(m, None, None, 0.9, 4, True, t)(paddle, x, s), x=f32(3, 5), constants={"s": ONE}
    )
    moving = "fake_quantize_moving_average_abs_max"
    sample(moving, lambda paddle, x, s, t=ties, m=moving: _op(m, None, None, 0.9, 8, True, t)(paddle, x, s), x=TIES, constants={"s": WIDE})
    sample("fake_quantize_range_abs_max", _op("fake_quantize_range_abs_max", None, 10000, 8, True, ties), x=TIES, s=WIDE)
    for name in ("fake_quantize_abs_max", "fake_quantize_dequantize_abs_max"):
        sample(name, _op(name, 8, ties, results=2), x=f32(3, 4, 5))
    for axis in (0, 1):
        name = "fake_channel_wise_quantize_dequantize_abs_max"
        sample(name, _op(name, 8, ties, axis, results=2), x=f32(3, 4, 5, 2))
        name = "fake_channel_wise_quantize_abs_max"
        sample(name, _op(name, 8, ties, axis, False, results=2), x=f32(3, 4, 5, 2))
    for axis, scales in ((-1, ONE), (1, f32(3, low=0.5))):
        name = "quantize_linear"
        state = {"a": np.ones(1, "float32"), "c": np.ones(1, "float32")}
        sample(
            name, _op(name, axis, 8, -128, 127, ties, True, False),
            x=f32(2, 3, 4), s=scales, z=np.zeros(scales.size, "float32"), constants=state,
        )  # fmt: skip
sample("fake_dequantize_max_abs", _op("fake_dequantize_max_abs", 127.0), x=f32(3, 4), s=ONE)
sample("fake_dequantize_max_abs", _op("fake_dequantize_max_abs", 7.0), x=np.round(f32(5, low=-7, high=7)), s=np.array([0.3], "float32"))
sample("fake_dequantize_max_abs", _op("fake_dequantize_max_abs", 32767.0), x=np.round(f64(2, 3, 2, low=-9e3, high=9e3)), s=np.array([2.5]))
for name in ("fake_quantize_abs_max", "fake_quantize_dequantize_abs_max"):
    sample(name, _op(name, 4, 0, results=2), x=f32(5))
    sample(name, _op(name, 8, 1, results=2), x=np.zeros([2, 3], "float32"))
sample(moving, lambda paddle, x, s: _op(moving, None, None, 0.9, 4, True, 0)(paddle, x, s), x=f32(3, 5), s=np.array([0.7], "float32"))
sample(
    "fake_quantize_range_abs_max", _op("fake_quantize_range_abs_max", None, 10000, 4, True, 0), x=f32(2, 3, 2), s=np.array([1.1], "float32")
)
sample(
    "fake_channel_wise_dequantize_max_abs",
    lambda paddle, x, s: paddle._C_ops.fake_channel_wise_dequantize_max_abs(x, [s], [8], 0, 1),
    x=f32(3, 4),
    s=f32(3),
)
sample(
    "fake_channel_wise_dequantize_max_abs",
    lambda paddle, x, s: paddle._C_ops.fake_channel_wise_dequantize_max_abs(x, [s], [8], 1, 1),
    x=f32(3, 4, 2, 2),
    s=f32(4),
)
sample(
    "fake_channel_wise_dequantize_max_abs",
    lambda paddle, x, s, a: paddle._C_ops.fake_channel_wise_dequantize_max_abs(x, [s, a], [8, 8], 0, 1),
    x=f32(2, 3, 4, 2), s=f32(3), a=ONE,
)  # fmt: skip
sample("dequantize_abs_max", _op("dequantize_abs_max", 127.0), x=np.arange(-100, 100, 9, dtype="int8"), s=ONE)
sample("dequantize_abs_max", _op("dequantize_abs_max", 7.0), x=np.array([[-7, 0, 3], [7, -1, 5]], "int8"), s=np.array([0.3], "float32"))
sample("dequantize_abs_max", _op("dequantize_abs_max", 32767.0), x=np.array([[[-32768, 12, 32767]]], "int16"), s=WIDE)

for _shape in ((3, 4), (2, 3, 4), (5,)):
    sample(
        "moving_average_abs_max_scale",
        lambda paddle, x, a, s: paddle._C_ops.moving_average_abs_max_scale(x, a, s, 0.8, True)[0],
        x=f32(*_shape),
        a=f32(1, low=0.5),
        s=f32(1, low=1.0, seed=1),
    )
for _ids, _padding in ((np.array([[0], [3], [1]]), -1), (np.array([[[2], [0]]]), 0), (np.array([[1]]), 1)):
    sample(
        "lookup_table_dequant",
        lambda paddle, i, w, p=_padding: paddle._C_ops.lookup_table_dequant(w, i, p),
        i=_ids,
        static=(-1,),
        constants={"w": f32(4, 5)},
    )
for _shape in ((4, 5), (7,), (2, 1, 3)):
    sample(
        "dequantize_log",
        lambda paddle, x, d: paddle._C_ops.dequantize_log(x, d),
        x=np.random.RandomState(3).randint(-128, 128, _shape).astype("int8"),
        constants={"d": f32(128)},
    )
for _hard, _axis, _shape in ((True, -1, (3, 4)), (False, 0, (5, 2)), (True, 1, (2, 3, 4))):
    sample(
        "gumbel_softmax",
        lambda paddle, x, h=_hard, a=_axis: paddle.nn.functional.gumbel_softmax(x, 0.7, h, a),
        x=f32(*_shape),
        seed_free=True,
    )

for _algo, _group in (
    ("weight_only_int8", -1),
    ("weight_only_int4", -1),
    ("llm.int8", -1),
    ("weight_only_int8", 64),
    ("weight_only_int4", 64),
):
    sample(
        "weight_quantize",
        lambda paddle, x, algo=_algo, group=_group: list(paddle._C_ops.weight_quantize(x, algo, 80, group)),
        x=f32(128, 32).astype("float16"),
        static=(0, 1),
    )

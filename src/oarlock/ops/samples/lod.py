"""Samples of operators on sequences told by LoD: one sequence each."""

import numpy as np

from .base import f32, f64, sample

for _type in ("SUM", "AVERAGE", "SQRT", "MAX", "FIRST", "LAST"):
    sample(
        "sequence_pool",
        lambda paddle, x, kind=_type: paddle._C_ops.sequence_pool(x, True, kind, 0.0),
        x=f32(5, 3),
        sequences=("x",),
    )
sample("sequence_pool", lambda paddle, x: paddle._C_ops.sequence_pool(x, False, "SQRT", 0.0), x=f64(1, 4), sequences=("x",))
for _x in (f32(5, 1), f32(1, 1), f64(7, 1, low=-30.0, high=30.0)):
    sample("sequence_softmax", lambda paddle, x: paddle._C_ops.sequence_softmax(x), x=_x, sequences=("x",))
for _x, _told in ((f32(1, 3), ("y",)), (f32(3, 2), ("x", "y")), (f64(2, 3), ("x", "y"))):
    sample(
        "sequence_expand",
        lambda paddle, x, y: paddle._C_ops.sequence_expand(x, y, 0),
        x=_x,
        y=f32(4, 2),
        sequences=_told,
    )
for _length, _start in ((3, -1), (2, 0), (4, -3), (1, 0)):
    sample(
        "sequence_conv",
        lambda paddle, x, w, n=_length, start=_start: paddle._C_ops.sequence_conv(x, None, w, n, False, start, 1),
        x=f32(4, 3),
        constants={"w": f32(3 * _length, 2)},
        sequences=("x",),
        static=(1,),
    )
    sample(
        "fusion_seqconv_eltadd_relu",
        lambda paddle, x, w, c, n=_length, start=_start: paddle._C_ops.fusion_seqconv_eltadd_relu(x, w, c, n, start, 1),
        x=f32(6, 3),
        constants={"w": f32(3 * _length, 2), "c": f32(1, 2)},
        sequences=("x",),
        static=(1,),
    )
for _type in ("SUM", "AVERAGE", "SQRT"):
    sample(
        "fusion_seqpool_concat",
        lambda paddle, x, y, kind=_type: paddle._C_ops.fusion_seqpool_concat([x, y], kind, 1),
        x=f32(5, 3),
        y=f32(2, 3),
        sequences=("x", "y"),
        static=(1,),
    )
sample(
    "im2sequence",
    lambda paddle, x: paddle._C_ops.im2sequence(x, None, [2, 2], [1, 1], [0, 0, 0, 0], [1, 1]),
    x=f32(1, 3, 4, 5),
)
sample(
    "im2sequence",
    lambda paddle, x: paddle._C_ops.im2sequence(x, None, [2, 3], [2, 1], [1, 0, 2, 1], [1, 1]),
    x=f32(2, 3, 4, 5),
)
sample(
    "im2sequence",
    lambda paddle, x: paddle._C_ops.im2sequence(x, None, [6, 1], [1, 3], [0, 2, 0, 0], [1, 1]),
    x=f32(2, 2, 6, 7),
)
for _use in (True, False):
    sample("cvm", lambda paddle, x, c, use=_use: paddle._C_ops.cvm(x, c, use), x=f32(3, 6, low=0.1), c=f32(3, 2), static=(1,))
sample("cvm", lambda paddle, x, c: paddle._C_ops.cvm(x, c, True), x=f64(2, 2, low=0.0, high=9.0), c=f64(2, 2), static=(1,))
for _alpha, _beta, _x in ((0.5, 2.0, f32(2, 4, 6)), (1.0, 1.0, f32(1, 300, 8)), (2.0, -1.0, f64(3, 5, 2))):
    sample(
        "add_position_encoding",
        lambda paddle, x, alpha=_alpha, beta=_beta: paddle._C_ops.add_position_encoding(x, alpha, beta),
        x=_x,
    )
sample("add_position_encoding", lambda paddle, x: paddle._C_ops.add_position_encoding(x, 0.3, 0.7), x=f32(6, 4), sequences=("x",))


def _attention_lstm(acts: tuple[str, str, str], first: bool, scaled: bool, bias: bool) -> None:
    frame, size = 3, 2
    held: dict[str, np.ndarray] = {"c0": f32(1, size), "aw": f32(frame + size, 1)}
    held |= {"h0": f32(1, size, seed=1)} if first else {}
    held |= {"ab": f32(1, 1, seed=2)} if bias else {}
    held |= {"s": f32(1, 1, seed=3, low=0.5), "sb": f32(1, 1, seed=4)} if scaled else {}
    held |= {"lw": f32(frame + size, 4 * size), "lb": f32(1, 4 * size)}
    names = list(held)

    def call(paddle, x, *values):  # type: ignore[no-untyped-def]
        given = dict(zip(names, values, strict=True))
        use = [given.get(n) for n in ("c0", "h0", "aw", "ab", "s", "sb", "lw", "lb")]
        return paddle._C_ops.attention_lstm(x, *use, *acts)

    sample("attention_lstm", call, x=f32(5, frame), constants=held, sequences=("x",), static=(1,))


_attention_lstm(("sigmoid", "tanh", "tanh"), False, False, False)
_attention_lstm(("sigmoid", "tanh", "tanh"), True, True, True)
_attention_lstm(("sigmoid", "relu", "identity"), True, False, True)


def _fusion_gru(first: bool, bias: bool, reverse: bool) -> None:
    held: dict[str, np.ndarray] = {"h": f32(1, 2, seed=5)} if first else {}
    held |= {"wx": f32(3, 6), "wh": f32(2, 6)}
    held |= {"c": f32(1, 6)} if bias else {}
    names = list(held)

    def call(paddle, x, *values):  # type: ignore[no-untyped-def]
        given = dict(zip(names, values, strict=True))
        h, wx, wh, c = (given.get(n) for n in ("h", "wx", "wh", "c"))
        return paddle._C_ops.fusion_gru(x, h, wx, wh, c, "tanh", "sigmoid", reverse, True, False, False)

    sample("fusion_gru", call, x=f32(5, 3), constants=held, sequences=("x",), static=(1,))


_fusion_gru(False, True, False)
_fusion_gru(True, True, True)
_fusion_gru(True, False, False)

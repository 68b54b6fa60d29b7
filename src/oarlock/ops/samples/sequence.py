"""Samples of decoding and distances of sequences."""

import numpy as np

from .base import f32, f64, i64, sample


def _lengths(*n: int) -> np.ndarray:
    return np.array(n, dtype="int64")


for _tags in (True, False):
    sample(
        "viterbi_decode",
        lambda paddle, x, t, n, tags=_tags: paddle.text.viterbi_decode(x, t, n, include_bos_eos_tag=tags),
        x=f32(3, 6, 5),
        t=f32(5, 5),
        n=_lengths(5, 1, 3),
    )
sample(
    "viterbi_decode",
    lambda paddle, x, t, n: paddle.text.viterbi_decode(x, t, n),
    x=f64(2, 3, 4),
    t=f64(4, 4),
    n=_lengths(3, 2),
)
for _normal in (False, True):
    sample(
        "edit_distance",
        lambda paddle, x, y, n, m, normal=_normal: paddle._C_ops.edit_distance(x, y, n, m, normal),
        x=i64(3, 5, high=4),
        y=i64(3, 6, high=4, seed=1),
        n=_lengths(5, 3, 4),
        m=_lengths(6, 2, 5),
    )
sample(
    "edit_distance",
    lambda paddle, x, y, n, m: paddle._C_ops.edit_distance(x, y, n, m, False),
    x=i64(3, 3, high=3),
    y=i64(3, 4, high=3, seed=1),
    n=_lengths(0, 3, 1),
    m=_lengths(4, 0, 1),
)
sample(
    "ctc_align",
    lambda paddle, x, n: paddle._C_ops.ctc_align(x, n, 0, True, 9),
    x=i64(3, 8, high=3).astype("int32"),
    n=_lengths(8, 5, 3).reshape(3, 1).astype("int32"),
)
sample(
    "ctc_align",
    lambda paddle, x, n: paddle._C_ops.ctc_align(x, n, 1, False, 0),
    x=i64(3, 8, high=3),
    n=_lengths(8, 5, 3).reshape(3, 1),
)
sample(
    "ctc_align",
    lambda paddle, x, n: paddle._C_ops.ctc_align(x, n, 2, True, -1),
    x=i64(2, 5, high=3, seed=2),
    n=_lengths(5, 0).reshape(2, 1),
)
sample(
    "crf_decoding",
    lambda paddle, e, t, n: paddle._C_ops.crf_decoding(e, t, None, n),
    e=f32(3, 6, 4),
    t=f32(6, 4),
    n=_lengths(6, 1, 4),
    dynamic="Paddle wants static tags",
)
sample(
    "crf_decoding",
    lambda paddle, e, t, y, n: paddle._C_ops.crf_decoding(e, t, y, n),
    e=f32(3, 6, 4),
    t=f32(6, 4),
    y=i64(3, 6, high=4),
    n=_lengths(6, 1, 4),
    dynamic="Paddle wants static tags",
)
sample(
    "crf_decoding",
    lambda paddle, e, t, n: paddle._C_ops.crf_decoding(e, t, None, n),
    e=f64(2, 4, 3),
    t=f64(5, 3),
    n=_lengths(4, 2),
    dynamic="Paddle wants static tags",
)

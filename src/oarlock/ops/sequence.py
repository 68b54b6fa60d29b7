"""Sequences: decoding by dynamic programming, distances between token sequences.

A length that is more than a sequence has room for counts as that room: nothing outside is read or written.
"""

from __future__ import annotations

from typing import Any

from tvm import relax, tirx

from ..errors import UnsupportedError
from .builder import Builder, dim_min
from .registry import operator
from .serial import bind, both, cell, down, i64, kernel, loop, parallel, select, when
from .tensor import Tensor

# ---- decoding ------------------------------------------------------------------------------------------------------------


@operator
def viterbi_decode(
    b: Builder, potentials: Tensor, transition_params: Tensor, lengths: Tensor, include_bos_eos_tag: bool = True
) -> tuple[Tensor, Tensor]:
    """The best tag path of each sequence: scores [N] and paths [N, longest length] (0 behind a sequence's end)."""
    (n, steps, tags), t = potentials.shape, potentials.dtype
    longest = b.dims(b.emit(relax.op.max(lengths.expr)).astype("int64"))[0] if n != 0 else 0
    longest = b.simplify(dim_min(longest, steps))

    def body(emit: Any, trans: Any, size: Any, score: Any, path: Any, alpha: Any, step_best: Any, back: Any) -> None:
        with parallel(n) as s:
            length = bind(tirx.min(i64(size[s]), i64(steps)))
            with loop(tags) as c:
                # with begin and end tags, the last row starts a sequence and the second last column ends it
                alpha[s, c] = emit[s, 0, c] + (trans[tags - 1, c] if include_bos_eos_tag else tirx.const(0, t))
            if include_bos_eos_tag:
                with when(length == 1), loop(tags) as c:
                    alpha[s, c] = alpha[s, c] + trans[tags - 2, c]
            with loop(steps, 1) as k, when(k < length):
                with loop(tags) as c:
                    best, at = cell(t, alpha[s, 0] + trans[0, c]), cell("int64", 0)
                    with loop(tags, 1) as p, when(alpha[s, p] + trans[p, c] > best.v):
                        best.v, at.v = alpha[s, p] + trans[p, c], i64(p)
                    back[s, k, c] = at.v
                    step_best[s, c] = best.v + emit[s, k, c]
                    if include_bos_eos_tag:
                        with when(k == length - 1):
                            step_best[s, c] = step_best[s, c] + trans[tags - 2, c]
                with loop(tags) as c:
                    alpha[s, c] = step_best[s, c]
            best, last = cell(t, alpha[s, 0]), cell("int64", 0)
            with loop(tags, 1) as c, when(alpha[s, c] > best.v):
                best.v, last.v = alpha[s, c], i64(c)
            score[s] = best.v
            with loop(steps) as k:
                path[s, k] = i64(0)
            with down(length) as k:
                path[s, k] = last.v
                with when(k > 0):
                    last.v = back[s, k, last.v]

    shapes: list[Any] = [([n], t), ([n, steps], "int64"), ([n, tags], t), ([n, tags], t), ([n, steps, tags], "int64")]
    scores, paths, *_ = kernel(b, body, [potentials, transition_params, lengths], shapes, "viterbi")
    return scores, b.slice(paths, 1, 0, longest)


@operator
def crf_decoding(b: Builder, emission: Tensor, transition: Tensor, label: Tensor | None = None, length: Tensor | None = None) -> Tensor:
    """The best tag path of each padded sequence [N, T, tags] (int64 [N, T]); with labels, 1 where path and label agree.

    Without lengths the sequences are told by LoD, which Oarlock's tensors do not have: the rows [T, tags] are one (int64 [T, 1]).
    """
    if length is None and emission.ndim == 2:
        steps, tags = emission.shape
        one = None if label is None else label.reshape([1, steps])
        whole = b.compute([1], lambda i: i64(steps), name="length")
        return crf_decoding(b, emission.reshape([1, steps, tags]), transition, one, whole).reshape([steps, 1])
    if length is None or emission.ndim != 3:
        raise UnsupportedError("crf_decoding of sequences told by LoD", todo="export the model with padded sequences and lengths")
    (n, steps, tags), t = emission.shape, emission.dtype
    sizes = length.reshape([n])

    def body(emit: Any, trans: Any, size: Any, path: Any, alpha: Any, back: Any) -> None:
        with parallel(n) as s:
            count = bind(tirx.min(i64(size[s]), i64(steps)))
            with loop(tags) as c:
                alpha[s, 0, c] = trans[0, c] + emit[s, 0, c]
            with loop(steps, 1) as k, when(k < count), loop(tags) as c:
                best, at = cell(t, tirx.min_value(t)), cell("int64", 0)
                with loop(tags) as p:
                    value = bind(alpha[s, k - 1, p] + trans[p + 2, c])
                    with when(value > best.v):
                        best.v, at.v = value, i64(p)
                alpha[s, k, c] = best.v + emit[s, k, c]
                back[s, k, c] = at.v
            with loop(steps) as k:
                path[s, k] = i64(0)
            best, last = cell(t, tirx.min_value(t)), cell("int64", 0)
            with when(count > 0), loop(tags) as c:
                value = bind(alpha[s, count - 1, c] + trans[1, c])
                with when(value > best.v):
                    best.v, last.v = value, i64(c)
            with down(count) as k:
                path[s, k] = last.v
                with when(k > 0):
                    last.v = back[s, k, last.v]

    shapes: list[Any] = [([n, steps], "int64"), ([n, steps, tags], t), ([n, steps, tags], "int64")]
    path, *_ = kernel(b, body, [emission, transition, sizes], shapes, "crf_decoding")
    if label is None:
        return path
    agree = b.binary("equal", path, label.reshape([n, steps]).astype("int64")).astype("int64")
    return b.compute([n, steps], lambda p, size, s, k: select(k < i64(size(s)), p(s, k), i64(0)), agree, sizes, name="agreement")


@operator
def ctc_align(
    b: Builder, input: Tensor, input_length: Tensor | None = None, blank: int = 0, merge_repeated: bool = True, padding_value: int = 0
) -> tuple[Tensor, Tensor]:
    """Token paths [N, T] without blanks (and repeats), padded; and the lengths that are left [N, 1]."""
    if input_length is None:
        raise UnsupportedError("ctc_align of sequences told by LoD", todo="export the model with input_length")
    (n, steps), t = input.shape, input.dtype

    def body(token: Any, size: Any, out: Any, count: Any) -> None:
        with parallel(n) as s:
            previous, found = cell(t, -1), cell("int64", 0)
            with loop(steps) as k:
                out[s, k] = tirx.const(padding_value, t)
            with loop(steps) as k, when(k < i64(size[s])):
                now = bind(token[s, k])
                fresh = now != previous.v if merge_repeated else tirx.const(True, "bool")
                with when(both(now != tirx.const(blank, t), fresh)):
                    out[s, found.v] = now
                    found.v = found.v + 1
                previous.v = now
            count[s, 0] = tirx.Cast(t, found.v)

    out, count = kernel(b, body, [input, input_length.reshape([n])], [([n, steps], t), ([n, 1], t)], "ctc_align")
    return out, count


@operator
def edit_distance(
    b: Builder, hyps: Tensor, refs: Tensor, hypslength: Tensor | None = None, refslength: Tensor | None = None, normalized: bool = False
) -> tuple[Tensor, Tensor]:
    """The number of sequences, int64 [1], and Levenshtein's distance of each pair, float32 [N, 1]."""
    if hypslength is None or refslength is None:
        raise UnsupportedError("edit_distance of sequences told by LoD", todo="export the model with the lengths")
    n, height, width = hyps.shape[0], hyps.shape[1], refs.shape[1]
    hyps, refs = hyps.reshape([n, height]), refs.reshape([n, width])

    def body(p: Any, q: Any, np_: Any, nq: Any, out: Any, row: Any) -> None:
        with parallel(n) as s:
            rows, columns = (bind(tirx.max(tirx.min(i64(v[s]), i64(w)), i64(0))) for v, w in ((np_, height), (nq, width)))
            with loop(columns + 1) as j:
                row[s, j] = i64(j)
            with loop(rows) as i:
                corner = cell("int64", row[s, 0])
                row[s, 0] = i64(i) + 1
                with loop(columns) as j:
                    above = bind(row[s, j + 1])
                    swap = corner.v + tirx.Cast("int64", p[s, i] != q[s, j])
                    row[s, j + 1] = tirx.min(tirx.min(above, row[s, j]) + 1, swap)
                    corner.v = above
            distance = tirx.Cast("float32", row[s, columns])
            out[s, 0] = distance / tirx.Cast("float32", columns) if normalized else distance

    shapes: list[Any] = [([n, 1], "float32"), ([n, b.simplify(width + 1)], "int64")]
    inputs = [hyps, refs, hypslength.reshape([n]), refslength.reshape([n])]
    return b.known([n], "int64"), kernel(b, body, inputs, shapes, "edit_distance")[0]

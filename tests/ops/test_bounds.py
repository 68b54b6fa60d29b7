"""Values that no shape can rule out (indices, lengths, counts) never make a kernel leave its buffers: an error, or kept inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock

pytest.importorskip("paddle", reason="paddlepaddle exports the programs")

BIG = 1 << 28  # far outside of any buffer here
F = np.float32


def _session(call: Callable[..., Any], example: dict[str, np.ndarray], folder: Path, *, dynamic: bool) -> oarlock.Session:
    from oarlock.checking.oracle import export_call

    export_call(call, example, {}, folder / "model", dynamic=dynamic)
    return oarlock.Session(oarlock.compile(oarlock.load_model(folder / "model.json"), target="cpu"))


def _whole(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=F).reshape(shape)


def _edit_distance(paddle: Any, p: Any, q: Any, n: Any, m: Any) -> Any:
    return paddle._C_ops.edit_distance(p, q, n, m, False)[1]


def test_topk_of_a_short_row(tmp_path: Path) -> None:
    session = _session(lambda paddle, x: paddle.topk(x, 50)[0], {"x": _whole(2, 60)}, tmp_path, dynamic=True)
    with pytest.raises(oarlock.OarlockError, match="topk of 50"):
        session.run({"x": _whole(2, 7)})
    assert list(session.run({"x": _whole(2, 60)}).values())[0][0, 0] == 59


def test_unpool_leaves_out_a_wrong_place(tmp_path: Path) -> None:
    example = {"x": _whole(1, 1, 2, 2), "i": np.array([[[[0, 3], [8, 15]]]], "int32")}
    session = _session(lambda paddle, x, i: paddle.nn.functional.max_unpool2d(x, i, 2), example, tmp_path, dynamic=False)
    (out,) = session.run(example | {"i": np.array([[[[0, 3], [-BIG, BIG]]]], "int32")}).values()
    assert out.reshape(-1).tolist() == [0, 0, 0, 1] + [0] * 12


@pytest.mark.parametrize("length", [BIG, -BIG])
@pytest.mark.parametrize("tags", [True, False])
def test_viterbi_of_a_wrong_length(tmp_path: Path, length: int, tags: bool) -> None:
    example = {"e": _whole(2, 4, 5), "t": _whole(5, 5), "n": np.array([4, 4])}
    session = _session(lambda paddle, e, t, n: paddle.text.viterbi_decode(e, t, n, tags), example, tmp_path, dynamic=False)
    right = list(session.run(example).values())
    wrong = list(session.run(example | {"n": np.array([4, length])}).values())
    assert wrong[1].shape == (2, 4)
    np.testing.assert_array_equal(wrong[1][0], right[1][0])


@pytest.mark.parametrize("length", [BIG, -BIG])
def test_edit_distance_of_a_wrong_length(tmp_path: Path, length: int) -> None:
    example = {"p": np.array([[1, 2, 3]]), "q": np.array([[1, 3]]), "n": np.array([3]), "m": np.array([2])}
    session = _session(_edit_distance, example, tmp_path, dynamic=False)
    (out,) = session.run(example | {"n": np.array([length]), "m": np.array([length])}).values()
    assert out.reshape(-1).tolist() == [1 if length > 0 else 0]


@pytest.mark.parametrize("wrong", [BIG, -BIG])
def test_ctc_of_wrong_lengths_and_labels(tmp_path: Path, wrong: int) -> None:
    example = {
        "x": _whole(6, 1, 5) / F(30),
        "y": np.array([[1, 2, 2]], "int32"),
        "n": np.array([6]),
        "m": np.array([3]),
    }
    session = _session(lambda paddle, *a: paddle.nn.functional.ctc_loss(*a, reduction="none"), example, tmp_path, dynamic=False)
    for name in "ynm":
        session.run(example | {name: np.full_like(example[name], wrong)})
    assert np.isfinite(list(session.run(example).values())[0]).all()


def test_regions_of_more_images_than_there_are(tmp_path: Path) -> None:
    example = {"x": _whole(1, 1, 8, 8), "r": np.array([[0, 0, 4, 4], [1, 1, 5, 5]], F), "n": np.array([2], "int32")}
    session = _session(lambda paddle, x, r, n: paddle.vision.ops.roi_align(x, r, n, 2), example, tmp_path, dynamic=True)
    with pytest.raises(oarlock.OarlockError, match="sizes that must be equal differ: .*, in roi_align"):
        session.run(example | {"n": np.array([1, 1], "int32")})


@pytest.mark.parametrize("mode", ["circular", "reflect"])
def test_padding_more_than_there_is(tmp_path: Path, mode: str) -> None:
    def call(paddle: Any, x: Any) -> Any:
        return paddle.nn.functional.pad(x, [3, 3, 0, 0], mode=mode)

    session = _session(call, {"x": _whole(1, 1, 4, 8)}, tmp_path, dynamic=True)
    (out,) = session.run({"x": np.zeros((1, 1, 4, 0), F)}).values()  # a division by 0 would end the process
    assert out.shape == (1, 1, 4, 6)


def test_reshape_to_no_rows_and_the_rest(tmp_path: Path) -> None:
    def call(paddle: Any, x: Any, like: Any) -> Any:
        return x.reshape([paddle.shape(like)[0], -1])

    session = _session(call, {"x": _whole(4, 3), "like": _whole(2)}, tmp_path, dynamic=True)
    (out,) = session.run({"x": np.zeros((0, 3), F), "like": np.zeros(0, F)}).values()
    assert out.size == 0


def test_sizes_that_do_not_broadcast(tmp_path: Path) -> None:
    session = _session(lambda paddle, x, y: x + y, {"x": _whole(4, 3), "y": _whole(4, 3)}, tmp_path, dynamic=True)
    for rows in (1, 4):
        (out,) = session.run({"x": _whole(4, 3), "y": _whole(rows, 3)}).values()
        np.testing.assert_array_equal(out, _whole(4, 3) + _whole(rows, 3))
    for rows in (2, 5):
        with pytest.raises(oarlock.OarlockError, match="sizes do not broadcast"):
            session.run({"x": _whole(4, 3), "y": _whole(rows, 3)})


def test_sizes_of_many_inputs_that_run_time_compares(tmp_path: Path) -> None:
    """Sums of inputs whose sizes are not related: a common size as an expression would double with every one."""
    sizes = (1, 5, 1, 5, 5, 1, 1, 5)
    inputs = {f"x{i}": _whole(n, 3) for i, n in enumerate(sizes)}

    def call(paddle: Any, *xs: Any) -> Any:
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        return total * xs[0] + xs[1]  # the common size with one of its parts is the common size

    session = _session(call, inputs, tmp_path, dynamic=True)
    (out,) = session.run(inputs).values()
    expected = sum(inputs.values()) * inputs["x0"] + inputs["x1"]
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(oarlock.OarlockError, match="sizes do not broadcast"):
        session.run({**inputs, "x4": _whole(4, 3)})

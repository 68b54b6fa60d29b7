"""What the work of a kernel is taken for when sizes are symbolic."""

from __future__ import annotations

from tvm import tirx

from oarlock.targets.cpu.workloads import PIXELS, UNKNOWN, guess, work


def test_known_sizes_count_as_they_are() -> None:
    assert work(3, 4, 5) == 60


def test_a_symbol_alone_is_a_batch_and_a_strided_one_is_a_picture() -> None:
    n, width = tirx.Var("n", "int64"), tirx.Var("width", "int64")
    strided = (width - 1) // 4 + 1
    assert guess(n) == UNKNOWN
    assert guess(strided) == (PIXELS - 1) // 4 + 1
    assert guess(12 * strided) == 12 * ((PIXELS - 1) // 4 + 1)
    assert work(n, 12 * strided, 240) == UNKNOWN * 12 * ((PIXELS - 1) // 4 + 1) * 240


def test_what_would_be_nothing_counts_as_one() -> None:
    n = tirx.Var("n", "int64")
    assert guess(n - 100) == 1

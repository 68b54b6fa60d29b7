"""Sizes of kernels are spelled by the names of their arguments' dims."""

from __future__ import annotations

import tvm
from tvm import te, tirx

from oarlock import compat
from oarlock.rules.sizes import name_sizes


def kernel(width: object, tile: int) -> tirx.PrimFunc:
    """Copies rows of ``width`` places into tiles with a padded copy between; sizes as Relax simplifies them."""
    simple = tvm.sym.Analyzer().simplify
    x = te.placeholder((3, width), name="x")
    padded = te.compute((3, simple(width + 4)), lambda i, j: te.if_then_else(te.all(j >= 2, j < simple(width + 2)), x[i, j - 2], 0.0))
    tiles = te.compute((3, simple((width + (tile - 1)) // tile), tile), lambda i, t, j: padded[i, te.min(t * tile + j, simple(width - 1))])
    out = te.compute((3, width), lambda i, j: tiles[i, j // tile, j % tile])
    return te.create_prim_func([x, out])


def test_tiles_and_padding_follow_the_named_size() -> None:
    w = tirx.Var("w", "int64")
    for width in ((w - 1) // 4 + 1, (w - 5) // 8 + 1, w * 3 + 3, (w - 1) // 2 * 24 + 24):
        for tile in (4, 5, 16):
            function = name_sizes(tvm.IRModule({"f": kernel(tvm.sym.Analyzer().simplify(width), tile)}))["f"]
            names = {v.name for v in compat.variables(function.body)}
            assert "size_0" in names and "w" not in names

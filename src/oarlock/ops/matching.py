"""Matching and looking up: boxes with truths, guesses with labels, nodes with their children, neighbours with their numbers."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from ..errors import UnsupportedError
from .builder import Builder, floordiv
from .kernels import clamped, cut
from .reduce import extreme_index
from .registry import operator
from .serial import bind, both, cell, i64, kernel, loop, parallel, select, when, while_
from .shape import axis_of
from .tensor import PrimExpr, Tensor

_MIX = 0x9E3779B1  # near 2³² by the golden ratio: neighbouring numbers are spread over a hash table; its products fit in 64 bits

# ---- accuracy, boxes -------------------------------------------------------------------------------------------------


@operator
def accuracy(b: Builder, x: Tensor, indices: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The share of rows whose label is among their guesses (indices), how many those are, and how many rows there are."""
    rows, guesses = indices.shape
    axis = te.reduce_axis((0, guesses), name="k")
    hit = b.compute(
        [rows],
        lambda g, c, i: te.sum(tirx.Cast("int32", i64(g(i, axis)) == i64(c(i))), axis=axis),
        indices, label.reshape([rows]), name="hits",
    )  # fmt: skip
    correct = b.emit(relax.op.sum(hit.astype("bool").astype("int32").expr))
    total, divisor = (
        b.compute([1], lambda _, n=n: tirx.Cast("int32", n), name="rows").reshape([]) for n in (i64(rows), tirx.max(i64(rows), i64(1)))
    )
    return correct.astype("float32") / divisor.astype("float32"), correct, total  # of no rows Paddle says 0


@operator
def bipartite_match(b: Builder, dist_mat: Tensor, match_type: str = "bipartite", dist_threshold: float = 0.5) -> tuple[Tensor, Tensor]:
    """For each column the row that it is matched with (−1: none), and how near they are: the nearest pair first, each row once.

    per_prediction: columns without a row then take the nearest one, if it is at least dist_threshold.
    """
    (rows, columns), dtype = dist_mat.shape, dist_mat.dtype

    def body(near: Any, index: Any, value: Any, used: Any) -> None:
        with loop(columns) as j:
            index[0, j], value[0, j] = tirx.const(-1, "int32"), tirx.const(0, dtype)
        with loop(rows) as i:
            used[i] = tirx.const(0, "int32")
        left = cell("bool", True)
        with while_(left.v):
            best, row, column = cell(dtype, -1.0), cell("int64", -1), cell("int64", -1)
            with loop(columns) as j, when(index[0, j] < 0), loop(rows) as i:
                # for many rows Paddle sorts all pairs, and takes those above 0
                enough = tirx.if_then_else(i64(rows) < 130, near[i, j] >= tirx.const(1e-6, dtype), near[i, j] > tirx.const(0, dtype))
                with when(both(used[i] == 0, enough, near[i, j] > best.v)):
                    best.v, row.v, column.v = near[i, j], i64(i), i64(j)
            left.v = row.v >= 0
            with when(left.v):
                index[0, column.v], value[0, column.v] = tirx.Cast("int32", row.v), best.v
                used[row.v] = tirx.const(1, "int32")
        if match_type == "per_prediction":
            with loop(columns) as j, when(index[0, j] < 0):
                best, row = cell(dtype, -1.0), cell("int64", -1)
                enough = tirx.const(max(dist_threshold, 1e-6), dtype)
                with loop(rows) as i, when(both(near[i, j] >= enough, near[i, j] > best.v)):
                    best.v, row.v = near[i, j], i64(i)
                with when(row.v >= 0):
                    index[0, j], value[0, j] = tirx.Cast("int32", row.v), best.v

    outputs: list[Any] = [([1, columns], "int32"), ([1, columns], dtype), ([rows], "int32")]
    index, value, _ = kernel(b, body, [dist_mat], outputs, "bipartite_match")
    return index, value


def _extreme(b: Builder, x: Tensor, dim: Any, keepdim: bool, flatten: bool, largest: bool) -> tuple[Tensor, Tensor]:
    axis = 0 if flatten else axis_of(dim, max(x.ndim, 1))
    data = b.reshape(x, [x.size]) if flatten else x
    if data.ndim == 0:
        return x, b.full([], 0, "int64")
    index = extreme_index(b, data, axis, largest, "int64")
    shape = [*data.shape[:axis], *data.shape[axis + 1 :]]
    value = b.compute(shape, lambda t, at, *i: t(*i[:axis], at(*i), *i[axis:]), data, index, name="extreme")
    kept = [1] * x.ndim if flatten else [*data.shape[:axis], 1, *data.shape[axis + 1 :]]
    return (value.reshape(kept), index.reshape(kept)) if keepdim else (value, index)


@operator
def max_with_index(b: Builder, x: Tensor, dim: Any, keepdim: bool = False, flatten: bool = False) -> tuple[Tensor, Tensor]:
    """The largest element along one axis (of all: flatten), and where it is first."""
    return _extreme(b, x, dim, keepdim, flatten, True)


@operator
def min_with_index(b: Builder, x: Tensor, dim: Any, keepdim: bool = False, flatten: bool = False) -> tuple[Tensor, Tensor]:
    """The smallest element along one axis (of all: flatten), and where it is first."""
    return _extreme(b, x, dim, keepdim, flatten, False)


# ---- trees, graphs ---------------------------------------------------------------------------------------------------


@operator
def tdm_child(b: Builder, x: Tensor, tree_info: Tensor, child_nums: int, dtype: str = "int32") -> tuple[Tensor, Tensor]:
    """The children of each node, and 1 for those that are items; zeros for a node without children.

    A row of tree_info is a node's item, layer, parent and children.
    """
    nodes = tree_info.shape[0]

    def child(t: te.Tensor, info: te.Tensor, *index: Any) -> PrimExpr:
        node = clamped(t(*index[:-1]), nodes)
        has = both(node != 0, info(node, 3) != 0)
        return tirx.if_then_else(has, info(node, 3 + index[-1]), tirx.const(0, tree_info.dtype))

    children = b.compute([*x.shape, child_nums], child, x, tree_info, name="tdm_child")

    def item(t: te.Tensor, c: te.Tensor, info: te.Tensor, *index: Any) -> PrimExpr:
        node = clamped(t(*index[:-1]), nodes)
        has = both(node != 0, info(node, 3) != 0)
        return tirx.Cast(dtype, both(has, info(clamped(c(*index), nodes), 0) != 0))

    return children.astype(dtype), b.compute(children.shape, item, x, children, tree_info, name="tdm_leaf")


@operator
def reindex_graph(
    b: Builder,
    x: Tensor,
    neighbors: Tensor,
    count: Tensor,
    hashtable_value: Tensor | None = None,
    hashtable_index: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours numbered anew, the number of the node that each belongs to, and the nodes by number: those of x, then new ones."""
    if hashtable_value is not None or hashtable_index is not None:
        raise UnsupportedError("reindex_graph with a hash table")
    centres, edges = x.shape[0], neighbors.shape[0]
    most = b.simplify(centres + edges)

    slots = b.simplify(2 * most + 1)

    def body(given: Any, near: Any, sizes: Any, source: Any, target: Any, nodes: Any, used: Any, table: Any) -> None:
        found = cell("int64", 0)
        with loop(slots) as k:
            table[k] = tirx.const(-1, "int64")

        def place_of(node: Any) -> tuple[Any, Any]:
            """The slot of a node's number in the table (open addressing), and the number: −1 when it has none yet."""
            low, half = tirx.const(0xFFFFFFFF, "int64"), tirx.const(32, "int64")
            folded = tirx.Cast("uint64", (i64(node) & low) ^ ((i64(node) >> half) & low))
            mixed = tirx.Cast("int64", (folded * tirx.const(_MIX, "uint64")) >> tirx.const(20, "uint64"))
            at = cell("int64", tirx.floormod(mixed, i64(slots)))
            with while_(select(table[at.v] < 0, tirx.const(False, "bool"), nodes[clamped(table[at.v], most)] != node)):
                at.v = tirx.floormod(at.v + 1, i64(slots))
            return bind(at.v), bind(table[at.v])

        with loop(centres) as i:
            nodes[i] = given[i]
            slot, number = place_of(given[i])
            with when(number < 0):
                table[slot] = i64(i)
        found.v = i64(centres)
        with loop(edges) as e:
            slot, number = place_of(near[e])
            with when(number < 0):
                nodes[found.v] = near[e]
                table[slot] = found.v
                found.v = found.v + 1
            source[e] = tirx.Cast(x.dtype, table[slot])
        place = cell("int64", 0)
        with loop(count.shape[0]) as i, loop(i64(sizes[i])), when(place.v < i64(edges)):
            target[place.v] = tirx.Cast(x.dtype, tirx.floormod(i64(i), tirx.max(i64(centres), i64(1))))
            place.v = place.v + 1
        with loop(i64(edges) - place.v) as i:
            target[place.v + i] = tirx.const(0, x.dtype)
        used[0] = found.v

    outputs: list[Any] = [([edges], x.dtype), ([edges], x.dtype), ([most], x.dtype), ([1], "int64"), ([slots], "int64")]
    source, target, nodes, used, _ = kernel(b, body, [x, neighbors, count], outputs, "reindex_graph")
    return source, target, cut(b, nodes, used)


# ---- images ----------------------------------------------------------------------------------------------------------


@operator
def correlation(
    b: Builder,
    input1: Tensor,
    input2: Tensor,
    pad_size: int,
    kernel_size: int,
    max_displacement: int,
    stride1: int,
    stride2: int,
    corr_type_multiply: int = 1,
) -> Tensor:
    """The mean product of a patch of one image with patches of the other one, displaced up to max_displacement each way."""
    (batch, channels, height, width), dtype = input1.shape, input1.dtype
    if not isinstance(channels, int):
        raise UnsupportedError("correlation of channels that are not static")
    reach = max_displacement // stride2
    side, edge = 2 * reach + 1, (kernel_size - 1) // 2
    border = edge + max_displacement
    high, wide = (
        b.simplify(floordiv(d + (2 * pad_size - 2 * border + stride1 - 1), stride1)) for d in (height, width)
    )  # fmt: skip
    patch = 2 * edge + 1

    def body(first: Any, second: Any, out: Any) -> None:
        with parallel(batch) as n, loop(side * side) as d, loop(high) as i, loop(wide) as j:
            total = cell(dtype, 0.0)
            with loop(patch) as u, loop(patch) as v:
                y = i * stride1 + max_displacement + u - edge - pad_size
                x = j * stride1 + max_displacement + v - edge - pad_size
                y2 = y + (tirx.floordiv(d, side) - reach) * stride2
                x2 = x + (tirx.floormod(d, side) - reach) * stride2
                seen = both(y >= 0, x >= 0, y2 >= 0, x2 >= 0, y < i64(height), y2 < i64(height), x < i64(width), x2 < i64(width))
                with when(seen), loop(channels) as c:
                    total.v = total.v + first[n, c, y, x] * second[n, c, y2, x2]
            out[n, d, i, j] = total.v / tirx.const(kernel_size * kernel_size * channels, dtype)

    return kernel(b, body, [input1, input2], [([batch, side * side, high, wide], dtype)], "correlation")[0]

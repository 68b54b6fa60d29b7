"""Message passing on graphs: send_u_recv, send_ue_recv, send_uv.

An edge e goes from node src_index[e] to node dst_index[e]; what arrives at a node is summed, averaged, or its largest or smallest is taken.
"""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedError
from .builder import Builder
from .kernels import clamped, flat
from .registry import Ints, operator
from .scatter import pool_rows
from .shape import product
from .tensor import Dim, Tensor

_REDUCTIONS = ("SUM", "MEAN", "MAX", "MIN")


def _taken(b: Builder, x: Tensor, index: Tensor) -> Tensor:
    """Rows of x, one for each edge."""
    return b.compute([index.shape[0], *x.shape[1:]], lambda t, i, e, *rest: t(clamped(i(e), x.shape[0]), *rest), x, index, name="edges")


def _combined(x: Tensor, y: Tensor, how: str, operator_name: str) -> Tensor:
    if how not in ("ADD", "MUL"):
        raise UnsupportedError(f"{operator_name} with message_op={how!r} is not supported")
    return x + y if how == "ADD" else x * y


def _received(
    b: Builder, messages: Tensor, x: Tensor, dst_index: Tensor, how: str, out_size: list[Dim] | None, name: str
) -> tuple[Tensor, Tensor]:
    """What arrives at each node, and the number of messages; as many nodes as x has unless out_size says otherwise."""
    if how not in _REDUCTIONS:
        raise UnsupportedError(f"{name} with reduce_op={how!r} is not supported")
    given = out_size[0] if out_size else 0
    nodes = x.shape[0] if isinstance(given, int) and given <= 0 else given
    rest = messages.shape[1:]
    rows = b.reshape(messages, [messages.shape[0], product(b, rest)])
    out, count = pool_rows(b, rows, flat(b, dst_index), nodes, how, name)
    return b.reshape(out, [nodes, *rest]), b.reshape(count, [nodes]).astype("int32")


@operator
def send_u_recv(
    b: Builder, x: Tensor, src_index: Tensor, dst_index: Tensor, reduce_op: str = "SUM", out_size: Ints | None = None
) -> tuple[Tensor, Tensor]:
    """Each edge brings the features of its source."""
    return _received(b, _taken(b, x, flat(b, src_index)), x, dst_index, reduce_op, out_size, "send_u_recv")


@operator
def send_ue_recv(
    b: Builder,
    x: Tensor,
    y: Tensor,
    src_index: Tensor,
    dst_index: Tensor,
    message_op: str = "ADD",
    reduce_op: str = "SUM",
    out_size: Ints | None = None,
) -> tuple[Tensor, Tensor]:
    """Each edge brings its source's features combined with its own, y."""
    messages = _per_edge(b, _taken(b, x, flat(b, src_index)), y, message_op, "send_ue_recv")
    return _received(b, messages, x, dst_index, reduce_op, out_size, "send_ue_recv")


@operator
def send_uv(b: Builder, x: Tensor, y: Tensor, src_index: Tensor, dst_index: Tensor, message_op: str = "ADD") -> Tensor:
    """For each edge, the features of its source in x combined with those of its target in y."""
    left, right = _taken(b, x, flat(b, src_index)), _taken(b, y, flat(b, dst_index))
    return _per_edge(b, left, right, message_op, "send_uv")


def _per_edge(b: Builder, left: Tensor, right: Tensor, how: str, name: str) -> Tensor:
    """Combined features; dims after the first broadcast from the right, whatever the ranks."""
    rank = max(left.ndim, right.ndim)

    def raised(t: Tensor) -> Tensor:
        shape: list[Any] = [t.shape[0], *[1] * (rank - t.ndim), *t.shape[1:]]
        return b.reshape(t, shape) if t.ndim < rank else t

    return _combined(raised(left), raised(right), how, name)

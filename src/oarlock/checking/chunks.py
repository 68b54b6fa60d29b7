"""What is compared at a time, so that memory does not grow with a model's depth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

CHUNK_BYTES = 256 << 20  # of results that are asked of the reference at a time


def chunks(
    items: Iterable[Item],
    bytes_of: Callable[[Item], int],
    full: Callable[[list[Item], int], bool] = lambda chunk, total: total > CHUNK_BYTES,
) -> Iterator[list[Item]]:
    """Items in order, in lists.  ``full``: whether a list, with the bytes that it would have with the next item, ends before that one."""
    chunk: list[Item] = []
    total = 0
    for item in items:
        size = bytes_of(item)
        if chunk and full(chunk, total + size):
            yield chunk
            chunk, total = [], 0
        chunk.append(item)
        total += size
    if chunk:
        yield chunk

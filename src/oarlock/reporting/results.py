"""Results of the model's operations as a compiled model has them, call by call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..runtime.recording import Cursor, given_by, is_kernel, watch
from ..runtime.session import Session
from ..runtime.tensors import read

Key = tuple[Any, int]  # an operation, by whatever names it, and which of its results


class Results:
    """Of the calls of ``main`` what the manifest says that each gives.  ``sizes``: bytes by key.  ``calls``: the call that gives it, in the
    order of a run, as profiling/layers.py counts them."""

    def __init__(self, session: Session, inputs: Mapping[str, Any], name: Callable[[int], Any]) -> None:
        self.session, self.inputs, self.name = session, inputs, name
        self.gives: list[list[Any]] = session.artifact.manifest.get("results", [])
        self.sizes: dict[Key, int] = {}
        self.calls: dict[Key, int] = {}
        if self.gives:
            self._run(self._size)

    def fetch(self, keys: set[Key]) -> dict[Key, np.ndarray]:
        """Copies."""
        found: dict[Key, np.ndarray] = {}
        self.visit(keys, lambda key, array: found.__setitem__(key, np.array(array)))
        return found

    def visit(self, keys: set[Key], look: Callable[[Key, np.ndarray], None]) -> None:
        """``look`` at each while it is there."""

        def seen(number: int, key: Key, tensor: Any) -> None:
            array = read(tensor) if key in keys and self.calls[key] == number else None
            if array is not None:
                look(key, array)

        self._run(seen)

    def _size(self, number: int, key: Key, tensor: Any) -> None:
        # of several steps of an operation that hold its result (in other layouts) the last counts
        self.sizes[key] = int(np.prod(tensor.shape, dtype=np.int64)) * tensor.dtype.itemsize
        self.calls[key] = number

    def _run(self, look: Callable[[int, Key, Any], None]) -> None:
        """Run the model; ``look`` gets (number of the call in this run, key, tensor) after each."""
        cursor = Cursor(self.session.artifact.manifest)
        numbers: dict[tuple[str, int], int] = {}
        now: list[Any] = [-1, -1, 0]  # number and place of the call that runs, and calls that are not in the manifest

        def see(name: str, before: bool, result: Any, arguments: tuple[Any, ...]) -> None:
            if name in cursor.functions:
                cursor.enter(name) if before else cursor.leave()
            elif is_kernel(name, cursor.functions):
                if before:
                    place = cursor.place(name)
                    key = (cursor.function, place if place >= 0 or cursor.depth else -1 - len(numbers))
                    now[0], now[1] = numbers.setdefault(key, len(numbers)), place
                elif cursor.depth == 0 and now[1] >= 0:
                    self._look(now[0], self.gives[now[1]], result, arguments, look)

        watch(self.session, self.inputs, see, "results cannot be read")

    def _look(self, number: int, gives: list[Any], result: Any, arguments: tuple[Any, ...], look: Callable[[int, Key, Any], None]) -> None:
        self.session.synchronise()
        for held, tensor in zip(gives, given_by(result, arguments, len(gives)), strict=False):
            if held is not None:
                look(number, (self.name(held[0]), held[1]), tensor)

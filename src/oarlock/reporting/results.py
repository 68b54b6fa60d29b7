"""Results of the model's operations as a compiled model has them, call by call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..checking.sites import read
from ..errors import InternalError
from ..runtime.recording import Cursor, is_kernel
from ..runtime.session import Session

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
        failed: list[BaseException] = []

        def hook(function: Any, name: str, before: bool, result: Any, *arguments: Any) -> int:
            try:
                if failed:
                    return 0
                if name in cursor.functions:
                    cursor.enter(name) if before else cursor.leave()
                elif is_kernel(name, cursor.functions):
                    if before:
                        place = cursor.place(name)
                        key = (cursor.function, place if place >= 0 or cursor.depth else -1 - len(numbers))
                        now[0], now[1] = numbers.setdefault(key, len(numbers)), place
                    elif cursor.depth == 0 and now[1] >= 0:
                        self._look(now[0], self.gives[now[1]], result, arguments, look)
            except Exception as error:  # nothing may pass through the VM
                failed.append(error)
            return 0

        self.session.instrument(hook)
        try:
            self.session.run(self.inputs)
        finally:
            self.session.instrument(None)
        if failed:
            raise InternalError(f"results cannot be read: {failed[0]}") from failed[0]

    def _look(self, number: int, gives: list[Any], result: Any, arguments: Any, look: Callable[[int, Key, Any], None]) -> None:
        self.session.synchronise()
        given = [result] if hasattr(result, "data_ptr") else list(result) if result is not None else list(arguments)
        tensors = [t for t in given if hasattr(t, "data_ptr")][-len(gives) :]
        for held, tensor in zip(gives, tensors, strict=False):
            if held is not None:
                look(number, (self.name(held[0]), held[1]), tensor)

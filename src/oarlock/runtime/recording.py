"""What one run of a session does: its calls in order, the tensors that each reads and makes, and where those lie in memory.

The VM tells it as it runs (Session.instrument), so it is true of any artifact of kernels that are called one by one, whatever its sizes
follow from.  A tensor is told by its address: what was made there last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InternalError, OarlockError
from .session import Session

BUILTIN = "vm.builtin."
INPUT, WEIGHT, ACTIVATION, OUTPUT = "input", "weight", "activation", "output"


@dataclass
class Tensor:
    """``maker``: the call that makes it, -1 for what is given; ``last``: the last that reads it, or makes it where none does.

    ``storage``: its number among the storages, and ``offset`` the bytes before it there; None where the run did not ask for memory.
    ``name``: of an input.
    """

    shape: tuple[int, ...]
    dtype: str
    bytes: int
    kind: str
    maker: int = -1
    last: int = -1
    storage: int | None = None
    offset: int = 0
    name: str = ""


@dataclass
class Storage:
    """A block of memory that tensors lie in, one after another; ``since``: the call before which it was asked for."""

    bytes: int
    since: int


@dataclass(frozen=True)
class Call:
    """A call of a kernel by ``function`` of the program.  ``place``: which of the calls that manifest["calls"] has of that function; -1 for
    one that is not there.  ``turn``: how often ``kernel`` was called before.  ``reads``, ``gives``: numbers of tensors."""

    kernel: str
    function: str
    place: int
    turn: int
    reads: tuple[int, ...]
    gives: tuple[int, ...]


@dataclass
class Recording:
    calls: list[Call] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    storages: list[Storage] = field(default_factory=list)


def is_kernel(name: str, functions: Any) -> bool:
    """Whether a function that the VM calls is a kernel (or a call of the host): not the VM's own, nor one of the program's."""
    return not name.startswith(BUILTIN) and name not in functions


def watch(
    session: Session, inputs: Mapping[str, Any], see: Callable[[str, bool, Any, tuple[Any, ...]], None], failing: str
) -> dict[str, np.ndarray]:
    """Run the model once; ``see`` gets (name, before, result, arguments) before and after each function that the VM calls.

    What ``see`` raises ends its calls, not the run, and comes out behind it: nothing may pass through the VM.  It comes out as an
    InternalError that begins with ``failing``, but for Oarlock's own errors and interruptions.  Returns the model's results.
    """
    failures: list[BaseException] = []

    def hook(function: Any, name: str, before: bool, result: Any, *arguments: Any) -> int:
        if not failures:
            try:
                see(name, before, result, arguments)
            except BaseException as error:
                failures.append(error)
        return 0

    session.instrument(hook)
    try:
        outputs = session.run(inputs)
    finally:
        session.instrument(None)
    if failures:
        error = failures[0]
        if isinstance(error, OarlockError) or not isinstance(error, Exception):
            raise error
        raise InternalError(f"{failing}: {type(error).__name__}: {error}") from error
    return outputs


def given_by(result: Any, arguments: tuple[Any, ...], count: int) -> list[Any]:
    """The ``count`` tensors that a call gives: what it returns (a call of the host), or the last that it was given to write into."""
    tensors = _tensors(arguments if result is None else [result] if hasattr(result, "data_ptr") else list(result))
    return tensors[len(tensors) - count :]


def record(session: Session, inputs: Mapping[str, Any]) -> Recording:
    """Run the model once and tell what it did."""
    recorder = _Recorder(session)
    watch(session, inputs, recorder.see, "the run cannot be recorded")
    return recorder.finished()


class Cursor:
    """Which of the calls in the manifest each call of a run is: in order, those of branches that are not taken are passed over."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.calls: Mapping[str, Any] = manifest.get("calls", {})
        self.functions = set(self.calls) - {"main"}
        self._stack: list[list[Any]] = [["main", 0]]
        self._kernels = {kernel for kernel, _ in self.calls.get("main", ())}
        self._here = -1

    @property
    def function(self) -> str:
        return str(self._stack[-1][0])

    @property
    def depth(self) -> int:
        return len(self._stack) - 1

    def enter(self, name: str) -> None:
        self._stack.append([name, 0])

    def leave(self) -> None:
        if len(self._stack) > 1:
            self._stack.pop()

    def place(self, kernel: str) -> int:
        name, start = self._stack[-1]
        known = self.calls.get(name, [])
        found = next((n for n in range(start, len(known)) if known[n][0] == kernel), -1)
        if found >= 0:
            self._stack[-1][1] = found + 1
        return found

    def of_main(self, name: str, before: bool) -> int | None:
        """Which call of ``main`` begins, or ends, as the VM calls ``name``; None for anything else, and for what loops' functions do."""
        if name in self.functions:
            self.enter(name) if before else self.leave()
        elif not self.depth and name in self._kernels:
            if before:
                self._here = self.place(name)
            if self._here >= 0 and self.calls["main"][self._here][0] == name:
                return self._here
        return None


class _Recorder:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.out = Recording()
        self.cursor = Cursor(session.artifact.manifest)
        self.at: dict[int, int] = {}  # address → the tensor that was made there last
        self.fresh: set[int] = set()  # tensors that have memory and no contents yet
        self.stored: dict[int, int] = {}  # the VM's storage → ours
        self.turns: dict[str, int] = {}
        self.returned: list[int] = []

    def see(self, name: str, before: bool, result: Any, arguments: tuple[Any, ...]) -> None:
        if name in self.cursor.functions:
            self.cursor.enter(name) if before else self.cursor.leave()
        elif before:
            if is_kernel(name, self.cursor.functions):
                self._call(name, arguments)
            elif name == BUILTIN + "check_tensor_info" and not self.out.calls:
                self._parameter(arguments[0])
        elif name == BUILTIN + "alloc_storage":
            self.out.storages.append(Storage(int(arguments[1][0]) if len(arguments[1]) else 0, len(self.out.calls)))
            self.stored[_identity(result)] = len(self.out.storages) - 1
        elif name == BUILTIN + "alloc_tensor":
            number = self._new(result, ACTIVATION)
            tensor = self.out.tensors[number]
            tensor.storage, tensor.offset = self.stored.get(_identity(arguments[0])), int(arguments[1])
            self.fresh.add(number)
        elif name == BUILTIN + "make_tuple":
            self.returned = [self._known(a) for a in _tensors(arguments)]
        elif not name.startswith(BUILTIN) and result is not None:  # what a call of the host gives
            made = tuple(self._made(t) for t in _tensors([result] if hasattr(result, "data_ptr") else list(result)))
            last = self.out.calls[-1]
            self.out.calls[-1] = Call(last.kernel, last.function, last.place, last.turn, last.reads, made)

    def _call(self, name: str, arguments: tuple[Any, ...]) -> None:
        number = len(self.out.calls)
        given = [self._known(t) for t in _tensors(arguments)]
        gives = tuple(n for n in given if n in self.fresh)
        reads = tuple(n for n in given if n not in self.fresh)
        if not gives and reads and self.out.tensors[reads[-1]].kind == ACTIVATION:  # it writes into what it reads
            old = self.out.tensors[reads[-1]]
            again = Tensor(old.shape, old.dtype, old.bytes, ACTIVATION, storage=old.storage, offset=old.offset)
            self.out.tensors.append(again)
            gives = (len(self.out.tensors) - 1,)
            self.at = {address: gives[0] if n == reads[-1] else n for address, n in self.at.items()}
        self.fresh.difference_update(gives)
        for n in gives:
            self.out.tensors[n].maker = self.out.tensors[n].last = number
        for n in reads:
            self.out.tensors[n].last = number
        turn = self.turns[name] = self.turns.get(name, -1) + 1
        self.out.calls.append(Call(name, self.cursor.function, self.cursor.place(name), turn, reads, gives))

    def _made(self, tensor: Any) -> int:
        number = self._new(tensor, ACTIVATION)
        made = self.out.tensors[number]
        made.maker = made.last = len(self.out.calls) - 1
        return number

    def _known(self, tensor: Any) -> int:
        """The number of a tensor; one that nothing of this run has made is a constant of the program."""
        number = self.at.get(tensor.data_ptr())
        return self._new(tensor, WEIGHT) if number is None else number

    def _parameter(self, tensor: Any) -> None:
        """The program looks at what it is given in order: inputs first, then weights."""
        place = sum(1 for t in self.out.tensors if t.kind == INPUT)
        if place < len(self.session.inputs) and tensor.data_ptr() not in self.at:
            number = self._new(tensor, INPUT)
            self.out.tensors[number].name = self.session.inputs[place].name

    def _new(self, tensor: Any, kind: str) -> int:
        shape, dtype = tuple(int(d) for d in tensor.shape), str(tensor.dtype)
        self.out.tensors.append(Tensor(shape, dtype, _bytes(shape, dtype), kind))
        number = len(self.out.tensors) - 1
        self.at[tensor.data_ptr()] = number
        return number

    def finished(self) -> Recording:
        for number in self.returned:
            tensor = self.out.tensors[number]
            tensor.last = len(self.out.calls) - 1
            tensor.kind = OUTPUT if tensor.kind == ACTIVATION else tensor.kind
        return self.out


def _tensors(values: Any) -> list[Any]:
    return [v for v in values if hasattr(v, "data_ptr")]


def _identity(storage: Any) -> int:
    return int(storage.__chandle__())


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    from . import dtypes

    size = 1
    for d in shape:
        size *= d
    return size * dtypes.numpy_dtype(dtype).itemsize

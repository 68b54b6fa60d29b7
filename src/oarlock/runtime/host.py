"""Host calls: operations of a model that run as calls of Python functions, because Oarlock has no kernel for them.

A function is registered by its operator's name, takes the operands as numpy arrays in Paddle's order (None: absent; a list where the
operand is one) and the attributes as keywords, and returns an array, or a tuple of one entry a result:

    @oarlock.host_operator("my_op")
    def my_op(x: np.ndarray, *, factor: float) -> np.ndarray:
        return x * factor

What it is given are views of the model's memory, which cannot be written to and are good for this call only; what it returns is
copied.  It is called as often as the model says, also where nothing reads what it returns.

An artifact's manifest lists its host calls: the name of the function of TVM that the program calls, the operator, its attributes, and
the types of its results.  TVM knows functions by one name in the whole process, so what it calls looks up the session that runs in
its thread.
"""

from __future__ import annotations

import inspect
import keyword
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import ArtifactError, HostCallError, InputError
from . import callback, dtypes, ffi
from .arrays import aligned_empty

PREFIX = "oarlock.host."  # of the names by which programs call
PADDLE = "Paddle"
Host = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class HostOperator:
    """A registered function.  ``infer``: shapes of the results by those of the operands; ``replace``: it goes before a converter."""

    name: str
    function: Callable[..., Any]
    infer: Callable[..., Any] | None = None
    replace: bool = False


_REGISTRY: dict[str, HostOperator] = {}


def host_operator(*names: Any, infer: Callable[..., Any] | None = None, replace: bool = False) -> Callable[..., Any]:
    """Register a Python function for the operators ``names`` (without any: of its own name): Paddle's, legacy ones, custom ones.

    infer    called at compile time with the operands' shapes (tuples; a list of them for a list, None for an absent operand) and
             the attributes as keywords; returns the result's shape, or a list with one shape a result.  A dim is an int, an
             expression of given dims, or None when only the call tells it.  Without ``infer`` the model's own declaration counts
    replace  run it also where Oarlock has a converter; else it runs only where there is none, or where that refuses
    """
    if len(names) == 1 and callable(names[0]):
        return host_operator()(names[0])
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{names!r:.80} are no names of operators", todo='write @oarlock.host_operator("my_op")')

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names or (function.__name__,):
            _REGISTRY[name] = HostOperator(name, function, infer, replace)
        return function

    return register


def find(names: tuple[str, ...], given: Host | None = None) -> HostOperator | None:
    """The function for an operator that goes by these names: one that was given, else one that is registered."""
    for name in names:
        if given and name in given:
            return HostOperator(name, given[name])
    return next((functions[name] for functions in (_REGISTRY, _own()) for name in names if name in functions), None)


def _own() -> dict[str, HostOperator]:
    """Oarlock's own functions, for operators that have no sensible kernel."""
    from . import host_numpy  # registers nothing: users' functions go first

    return host_numpy.FUNCTIONS


def spellings(name: str) -> tuple[str, ...]:
    """The names that an operator goes by: with and without its dialect and the underscore of operators that work in place."""
    short = name.split(".", 1)[-1]
    return tuple(dict.fromkeys([name, short, short.rstrip("_")]))


def keywords(function: Callable[..., Any], operands: int, needed: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments for a function: all attributes in ``needed``, and those in ``defaults`` that it has a parameter for.

    HostCallError when the function cannot be called so.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function of C may not tell
        return {_parameter(name): value for name, value in needed.items()}
    anything = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    named = {n for n, p in signature.parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    out = {_parameter(name): value for name, value in needed.items()}
    out |= {_parameter(name): value for name, value in defaults.items() if anything or _parameter(name) in named}
    try:
        signature.bind(*range(operands), **out)
    except TypeError as error:
        what = f"{operands} array(s)" + (f" and the attributes {', '.join(out)}" if out else "")
        raise HostCallError(f"it cannot be called with {what}: {error}") from None
    return out


def _parameter(attribute: str) -> str:
    return f"{attribute}_" if keyword.iskeyword(attribute) else attribute


def title(function: Callable[..., Any]) -> str:
    """What a function is called in messages."""
    if getattr(function, "is_paddle", False):
        return PADDLE
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", type(function).__name__)
    return f"{module}.{name}" if module and module != "__main__" else str(name)


# ---- the calls of one artifact -------------------------------------------------------------------------------------------

_running = threading.local()


@dataclass(frozen=True)
class HostTime:
    """What one host call has cost so far: how often it ran, seconds, and bytes given to the function and taken from it.

    ``runs_as``: "Paddle", or the name of the Python function.
    """

    name: str
    operator: str
    runs_as: str
    calls: float
    seconds: float
    bytes_in: float
    bytes_out: float

    def less(self, before: HostTime, runs: int) -> HostTime:
        """What one of ``runs`` runs since ``before`` took, on average."""
        numbers = ("calls", "seconds", "bytes_in", "bytes_out")
        return replace(self, **{n: (getattr(self, n) - getattr(before, n)) / runs for n in numbers})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class HostCalls:
    """The host calls of one session, each bound to its function."""

    def __init__(self, entries: list[dict[str, Any]], given: Host | None, where: str) -> None:
        self.failed: BaseException | None = None
        self._calls: dict[str, _Call] = {}
        missing: dict[str, None] = {}
        for entry in map(_checked, entries):
            function = _function(entry, given, missing, where)
            if function is not None:
                self._calls[entry["name"]] = _Call(entry, function, where)
        if missing:
            names = ", ".join(missing)
            first = next(iter(missing))
            raise HostCallError(
                f"the model calls functions of the host that are not there: {names}",
                where=where,
                todo=f"import the module that registers them with oarlock.host_operator, or give them: host={{{first!r}: function}}",
            )
        for name in self._calls:
            callback.register(name, partial(_dispatch, name))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within, calls of this thread's program come here."""
        stack = _stack()
        stack.append(self)
        self.failed = None
        try:
            yield
        finally:
            stack.pop()

    def times(self) -> tuple[HostTime, ...]:
        """What each call has cost since the session was made."""
        return tuple(
            HostTime(name.removeprefix(PREFIX), c.operator, c.title, c.calls, c.seconds, c.bytes_in, c.bytes_out)
            for name, c in self._calls.items()
        )

    @property
    def in_this_thread(self) -> bool:
        return self in _stack()

    def __call__(self, name: str, arguments: list[Any]) -> ffi.Tensor | list[ffi.Tensor]:
        try:
            return self._calls[name](arguments)
        except BaseException as error:
            self.failed = error
            raise


def _stack() -> list[HostCalls]:
    if not hasattr(_running, "stack"):
        _running.stack = []
    return _running.stack


def _dispatch(name: str, arguments: list[Any]) -> ffi.Tensor | list[ffi.Tensor]:
    stack = _stack()
    if not stack:
        raise HostCallError(f"{name} is called, but no session runs in this thread")
    return stack[-1](name, arguments)


def _function(entry: dict[str, Any], given: Host | None, missing: dict[str, None], where: str) -> Callable[..., Any] | None:
    """The function for a call; None, with its operator in ``missing``, when there is none."""
    names = tuple(dict.fromkeys([entry["registered"], *spellings(entry["operator"])]))
    if entry["by"] == "paddle" and not (given and any(name in given for name in names)):
        from .host_paddle import paddle_function  # Paddle itself is loaded where it is called for only

        return paddle_function(entry, where)
    found = find(names, given)
    if found is None:
        missing[entry["registered"]] = None
        return None
    return found.function


class _Call:
    """One host call: arrays of what TVM gives, tensors of what the function returns."""

    def __init__(self, entry: dict[str, Any], function: Callable[..., Any], where: str) -> None:
        self.operator, self.operands, self.results = entry["operator"], entry["operands"], entry["results"]
        self.function, self.title = function, title(function)
        self.who = self.title if self.title == PADDLE else f"the host function {self.title}"
        self.place = f"{self.operator} ({entry.get('handle', '')})" + (f" in {where}" if where else "")
        self.calls, self.seconds, self.bytes_in, self.bytes_out = 0, 0.0, 0, 0
        self.keywords: dict[str, Any] = {}
        needed, defaults = (_decoded(entry[key]) for key in ("attributes", "defaults"))
        if self.title != PADDLE:  # whose programs have the attributes in them
            try:
                self.keywords = keywords(function, len(self.operands), needed, defaults)
            except HostCallError as error:
                raise HostCallError(f"{self.title}: {error.what}", where=self.place, todo="give another function") from None
        present = [r for r in self.results if r is not None]
        self.complex = frozenset(entry.get("complex", ()))
        self.flat = [leaf for r in present for leaf in (r if isinstance(r, list) else [r])]
        self.single = not isinstance(present[0], list) if len(present) == 1 else False

    def __call__(self, arguments: list[Any]) -> ffi.Tensor | list[ffi.Tensor]:
        started = time.perf_counter()
        count = len(arguments) - len(self.flat)
        tensors, shapes = map(self._view, range(count), arguments), arguments[count:]
        given = [self._operand(kind, tensors) for kind in self.operands]
        try:
            returned = self.function(*given, **self.keywords)
        except Exception as error:
            raise HostCallError(
                f"{self.who} failed: {type(error).__name__}: {error}",
                where=self._where(given) + ("" if self.title == PADDLE else _line(error)),
                todo="check the model's inputs, and the function" if self.title != PADDLE else "check the model's inputs",
            ) from error
        leaves = self._leaves(returned, given)
        out = [self._tensor(leaf, spec, shape, given) for leaf, spec, shape in zip(leaves, self.flat, shapes, strict=True)]
        self.calls += 1
        self.bytes_in += sum(t.nbytes for t in arguments[:count])
        self.bytes_out += sum(t.nbytes for t in out)
        self.seconds += time.perf_counter() - started
        return out[0] if self.single else out

    def _view(self, position: int, tensor: ffi.Tensor) -> np.ndarray:
        array = tensor.array()
        if position in self.complex:  # real, with a trailing axis of 2
            array = dtypes.whole(array, f"complex{16 * array.itemsize}")
        array.flags.writeable = False
        return array

    def _operand(self, kind: int | None, arrays: Iterator[np.ndarray]) -> Any:
        """An array, a list of them, or None for an absent operand."""
        if kind is None:
            return None
        return next(arrays) if kind < 0 else [next(arrays) for _ in range(kind)]

    def _leaves(self, returned: Any, given: list[Any]) -> list[Any]:
        """What the function returned, as one value a tensor."""
        present = [r for r in self.results if r is not None]
        several = isinstance(returned, tuple) or (isinstance(returned, list) and len(self.results) != 1)
        values = list(returned) if several else [returned]
        if len(values) == len(self.results) != len(present):
            values = [v for v, r in zip(values, self.results, strict=True) if r is not None]
        if len(values) != len(present):
            raise self._wrong(f"returned {len(values)} value(s); the operator has {len(present)}", given)
        out: list[Any] = []
        for value, spec in zip(values, present, strict=True):
            if not isinstance(spec, list):
                out.append(value)
                continue
            if not isinstance(value, list | tuple) or len(value) != len(spec):
                got = f"{len(value)} arrays" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
                raise self._wrong(f"returned {got} where a list of {len(spec)} belongs", given)
            out += value
        return out

    def _tensor(self, value: Any, spec: dict[str, Any], shape: tuple[int, ...], given: list[Any]) -> ffi.Tensor:
        """A tensor of a returned array, which fits what the model needs."""
        want, name = dtypes.numpy_dtype(spec["dtype"]), spec["name"]
        try:
            if value is None:
                raise TypeError("there is nothing in it")
            array = value if isinstance(value, np.ndarray | np.generic) else np.asarray(value, want)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._wrong(f"returned a {type(value).__name__} as {name!r}, which is no array: {error}", given) from None
        if array.dtype != want:
            raise self._wrong(f"returned {array.dtype} as {name!r}, the model needs {spec['dtype']}", given, "convert it: .astype(…)")
        if len(array.shape) != len(shape) or any(d not in (-1, n) for d, n in zip(shape, array.shape, strict=True)):
            dims = ", ".join("?" if d < 0 else str(d) for d in shape)
            raise self._wrong(f"returned the shape {list(array.shape)} as {name!r}, the model needs [{dims}]", given)
        # Always a copy: the array may be one that was given, whose memory the model uses again, or one that the function keeps.
        buffer = aligned_empty(array.shape, want)
        np.copyto(buffer, array)
        if spec["dtype"] in dtypes.COMPLEX:
            tensor = ffi.from_array(dtypes.parts(buffer), dtypes.COMPLEX[spec["dtype"]])
        else:
            tensor = ffi.from_array(buffer, spec["dtype"])
        assert tensor is not None  # no alignment is asked for
        return tensor

    def _wrong(self, what: str, given: list[Any], todo: str = "let it return what the model declares") -> HostCallError:
        return HostCallError(f"{self.who} {what}", where=self._where(given), todo=todo)

    def _where(self, given: list[Any]) -> str:
        return f"{self.place}, operands {', '.join(map(_shown, given)) or 'none'}"


def _line(error: BaseException) -> str:
    """Where in the user's own code an exception was raised, one frame below the call."""
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"; {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""


def _shown(operand: Any) -> str:
    if isinstance(operand, list):
        return f"[{', '.join(map(_shown, operand))}]"
    return "none" if operand is None else f"{operand.dtype}{list(operand.shape)}"


# ---- what stands in the manifest -----------------------------------------------------------------------------------------


def encoded(value: Any) -> Any:
    """An attribute as JSON; TypeError where there is none."""
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, list | tuple):
        return [encoded(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} is no attribute")


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return complex(*value["complex"]) if set(value) == {"complex"} else {k: _decoded(v) for k, v in value.items()}
    return [_decoded(v) for v in value] if isinstance(value, list) else value


def _checked(entry: Any) -> dict[str, Any]:
    """ArtifactError unless ``entry`` is what the compiler writes."""
    match entry:
        case {
            "name": str(name),
            "operator": str(),
            "registered": str(),
            "by": "python" | "paddle",
            "attributes": dict(),
            "defaults": dict(),
            "operands": list(operands),
            "results": list(results),
        } if name.startswith(PREFIX) and all(o is None or isinstance(o, int) for o in operands):
            leaves = [leaf for r in results if r is not None for leaf in (r if isinstance(r, list) else [r])]
            known = dtypes.PLAIN | dtypes.EXTENDED
            if leaves and all(isinstance(s, dict) and s.get("dtype") in known and isinstance(s.get("name"), str) for s in leaves):
                return entry
    raise ArtifactError(f"the manifest is damaged: {entry!r:.200} is no host call", todo="compile the model again")

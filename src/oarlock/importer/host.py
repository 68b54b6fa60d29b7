"""Operations that run as host calls: of a user's Python function, or of Paddle.

Such an operation becomes ``call_pure_packed("oarlock.host.<operator>", operands…, shapes of the results)``.  The types of the
results are what the program declares; dims that it does not tell (−1) become symbolic ones, known when the call returns.  The shapes
(−1: unknown) are passed so that what a function returns is checked where the operator's name is known.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tvm import relax

from ..errors import HostCallError, InputError, UnsupportedError
from ..model.defaults import signature
from ..model.legacy import legacy_names
from ..model.program import ListType, Op, OpaqueType, TensorType, Type
from ..ops.builder import Builder, roots
from ..ops.complex_pair import Complex, joined, parted
from ..ops.dtypes import check_dtype, is_complex, part_dtype
from ..ops.registry import IGNORED_ATTRIBUTES
from ..ops.tensor import Dim, PrimExpr, Tensor, as_dim
from ..runtime.host import PREFIX, Host, HostOperator, encoded, find, keywords, spellings, title

PADDLE = "paddle"


class Hosts:
    """Who runs operations on the host, and the calls of one import.

    ``given``: functions by operator, before those that are registered; "paddle": Paddle runs what no function is registered for;
    None: registered functions alone.
    """

    def __init__(self, given: Host | str | None = None) -> None:
        if isinstance(given, str) and given != PADDLE:
            raise InputError(f"host is {given!r:.80}", todo=f'give "{PADDLE}", or a dict: operator → function')
        if not (given is None or isinstance(given, str) or (isinstance(given, Mapping) and all(callable(f) for f in given.values()))):
            raise InputError(f"host is {given!r:.80}", todo=f'give "{PADDLE}", or a dict: operator → function')
        self._given = None if isinstance(given, str) else given
        self.paddle = isinstance(given, str)
        self._found: dict[str, HostOperator | None] = {}
        self._names: dict[Op, str] = {}
        self._counts: Counter[str] = Counter()
        self._programs: dict[Op, dict[str, Any]] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        """Name of the called function → what the artifact's manifest says of it."""
        if self.paddle:
            from ..runtime.host_paddle import require_paddle

            require_paddle()

    def find(self, op: Op) -> HostOperator | None:
        """The function for an operation; None when there is none (Paddle may run it)."""
        if op.name not in self._found:
            names = spellings(op.name)
            # a function may also be registered under the name that the operator has in legacy files
            self._found[op.name] = find((*names, *_legacy_names().get(names[-1], ())), self._given)
        return self._found[op.name]

    def replaces(self, op: Op) -> HostOperator | None:
        """The function that goes before a converter: one that says so, and any for a custom operator that shares a name with Paddle's."""
        found = self.find(op)
        return found if found is not None and (found.replace or op.name.startswith("custom_op.")) else None

    def runs(self, op: Op) -> bool:
        """Whether an operation can be a host call."""
        return not op.regions and (self.find(op) is not None or (self.paddle and op.name.startswith(("pd_op.", "custom_op."))))

    def runner(self, op: Op) -> str:
        """Who runs an operation as a host call, for people; empty: nobody."""
        found = self.find(op)
        if found is not None and not op.regions:
            return f"host call: Python function {title(found.function)}"
        return "host call: Paddle" if self.runs(op) else ""

    @staticmethod
    def title(entry: Mapping[str, Any]) -> str:
        return f"Python function {entry['function']}" if entry["by"] == "python" else "Paddle"

    def call(self, b: Builder, op: Op, operands: dict[str, Any], found: HostOperator | None = None) -> tuple[Any, ...]:
        """Emit the call → one entry a result."""
        found = found or self.find(op)
        groups = list(operands.values())
        for name, group in operands.items():
            if not all(isinstance(t, Tensor | Complex) for t in (group if isinstance(group, list) else [group]) if group is not None):
                raise UnsupportedError(f"its operand {name!r} is no tensor, so it cannot be a host call")
        results = [_result(value.type, name) for value, name in zip(op.results, op.result_names, strict=True)]
        leaves = [leaf for r in results if r is not None for leaf in (r if isinstance(r, list) else [r])]
        if not leaves:
            raise UnsupportedError("an operation without results cannot be a host call")
        needed, defaults = _attributes(op)
        shapes = self._shapes(op, groups, leaves, found, {**defaults, **needed})
        while groups and groups[-1] is None and found is not None:
            groups.pop()  # absent operands at the end: a function need not have parameters for them
        entry: dict[str, Any] = {
            "name": self._name(op),
            "operator": op.name,
            "registered": found.name if found else op.short_name,
            "by": "python" if found else "paddle",
            "attributes": needed,
            "defaults": defaults,
            "operands": [None if g is None else len(g) if isinstance(g, list) else -1 for g in groups],
            "results": [_described(r) for r in results],
            "handle": op.handle,
        }
        if found is not None:
            entry["function"] = title(found.function)
            try:
                keywords(found.function, len(groups), needed, defaults)
            except HostCallError as error:
                raise UnsupportedError(f"the host function {title(found.function)}: {error.what}") from None
        else:
            entry |= self._paddle_program(op)
            groups = [_as_typed(g, None if v is None else v.type) for g, v in zip(groups, op.operands.values(), strict=True)]
        tensors = [t for g in groups if g is not None for t in (g if isinstance(g, list) else [g])]
        entry["complex"] = [i for i, t in enumerate(tensors) if isinstance(t, Complex)]
        if found is None and (entry["complex"] or any(is_complex(type_.dtype) for _, type_ in leaves)):
            raise UnsupportedError("a host call of Paddle takes and gives no complex tensors; a Python function does")
        out = _emit(b, entry["name"], tensors, leaves, shapes, single=len(leaves) == 1 and not any(isinstance(r, list) for r in results))
        entry["crossing"] = {"in": [_priced(b, t) for t in tensors], "out": [_priced(b, t) for t in out]}
        self.entries[entry["name"]] = entry
        made = iter(out)
        return tuple(None if r is None else [next(made) for _ in r] if isinstance(r, list) else next(made) for r in results)

    def _name(self, op: Op) -> str:
        """The name of the function that the program calls: one an operation, however often it is imported."""
        if op not in self._names:
            short = "".join(c if c.isalnum() or c == "_" else "_" for c in op.short_name)
            count = self._counts[short]
            self._counts[short] += 1
            self._names[op] = f"{PREFIX}{short}" + (f".{count}" if count else "")
        return self._names[op]

    def _paddle_program(self, op: Op) -> dict[str, Any]:
        """What Paddle needs to run an operation; UnsupportedError where it cannot."""
        from ..runtime.host_paddle import check_program
        from .host_program import host_program

        if op not in self._programs:
            text, inputs, outputs = host_program(op)
            try:
                check_program(op.name, text)
            except HostCallError as error:
                raise UnsupportedError(error.what) from error
            self._programs[op] = {"program": text, "feeds": inputs, "fetches": outputs}
        return self._programs[op]

    def _shapes(
        self, op: Op, groups: Sequence[Any], leaves: Sequence[tuple[str, TensorType]], found: HostOperator | None, attrs: dict[str, Any]
    ) -> list[list[Dim | None]]:
        """A shape for each tensor that comes back; None: the call tells."""
        declared: list[list[Dim | None]] = [[None if d < 0 else d for d in type_.shape] for _, type_ in leaves]
        if found is not None and found.infer is not None:
            return _inferred(found, groups, leaves, declared, attrs)
        # Where an operand has another size than the file declares (shapes given to compile), what it declares for results may be wrong too
        if all(_as_declared(g, None if v is None else v.type) for g, v in zip(groups, op.operands.values(), strict=True)):
            return declared
        return [[None] * len(dims) for dims in declared]


@functools.cache
def _legacy_names() -> dict[str, list[str]]:
    """PIR name without the underscore of operators that work in place → legacy names."""
    return {name.split(".", 1)[-1].rstrip("_"): names for name, names in legacy_names().items()}


def _result(type_: Type, name: str) -> Any:
    """A result as (name, type), a list of them, or None for one that is absent."""
    match type_:
        case TensorType():
            check_dtype(part_dtype(type_.dtype) if is_complex(type_.dtype) else type_.dtype)
            return name, type_
        case ListType():
            elements = [_result(t, f"{name}[{i}]") for i, t in enumerate(type_.elements)]
            if all(isinstance(e, tuple) for e in elements):
                return elements
        case OpaqueType("none"):
            return None
    raise UnsupportedError(f"its result {name!r} is a {type_}, which no host call returns")


def _described(result: Any) -> Any:
    if isinstance(result, list):
        return [_described(r) for r in result]
    return None if result is None else {"name": result[0], "dtype": result[1].dtype, "shape": list(result[1].shape)}


def _attributes(op: Op) -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes that a function has to take, and those that it need not have: Paddle's defaults, and empty ones."""
    needed: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    known = signature(op.name).defaults
    for name, value in op.attrs.items():
        if name in IGNORED_ATTRIBUTES or name.startswith("__"):
            continue
        usual = value in (None, "", [], False) or (name in known and known[name] == value)
        try:
            (defaults if usual else needed)[name] = encoded(value)
        except TypeError as error:
            raise UnsupportedError(f"its attribute {name!r} cannot be given to a host call: {error}") from None
    return needed, defaults


def _as_declared(operand: Any, type_: Type | None) -> bool:
    """Whether the dims that the file declares for an operand are those that it has here."""
    if isinstance(operand, list):
        elements = type_.elements if isinstance(type_, ListType) else [None] * len(operand)
        return all(map(_as_declared, operand, elements))
    if operand is None or not isinstance(type_, TensorType):
        return True
    return len(operand.shape) == len(type_.shape) and all(
        d < 0 or (isinstance(n, int) and n == d) for d, n in zip(type_.shape, operand.shape, strict=True)
    )


def _as_typed(operand: Any, type_: Type | None) -> Any:
    """The operand in the element type that the file declares, by which Paddle picks its kernel."""
    if isinstance(operand, list):
        return [_as_typed(t, e) for t, e in zip(operand, type_.elements, strict=True)] if isinstance(type_, ListType) else operand
    return operand.astype(type_.dtype) if isinstance(operand, Tensor) and isinstance(type_, TensorType) else operand


def _inferred(
    found: HostOperator, groups: Sequence[Any], leaves: Sequence[Any], declared: Sequence[Sequence[Any]], attrs: dict[str, Any]
) -> list[list[Dim | None]]:
    """What the user's ``infer`` says."""
    assert found.infer is not None
    shapes = [None if g is None else [tuple(t.shape) for t in g] if isinstance(g, list) else tuple(g.shape) for g in groups]
    name = f"the function {title(found.infer)} that infers shapes"
    while shapes and shapes[-1] is None:
        shapes.pop()
    try:
        given = found.infer(*shapes, **keywords(found.infer, len(shapes), {}, attrs))
    except Exception as error:  # whatever a user's function raises
        reason = error.what if isinstance(error, HostCallError) else f"{type(error).__name__}: {error}"
        raise UnsupportedError(f"{name} failed: {reason}") from error
    every = [given] if isinstance(given, tuple) else given
    if not isinstance(every, list) or len(every) != len(leaves) or not all(isinstance(s, tuple | list) for s in every):
        raise UnsupportedError(f"{name} returned {given!r:.80}; a tuple, or a list of {len(leaves)} tuple(s), is expected")
    for shape, dims in zip(every, declared, strict=True):
        if len(shape) != len(dims):
            raise UnsupportedError(f"{name} returned {len(shape)} dims where the model declares {len(dims)}")
    if not all(d is None or isinstance(d, int | PrimExpr) for shape in every for d in shape):
        raise UnsupportedError(f"{name} returned {given!r:.80}; a dim is an int, an expression of given dims, or None")
    return [[None if d is None or (isinstance(d, int) and d < 0) else as_dim(d) for d in shape] for shape in every]


def _emit(
    b: Builder, name: str, tensors: Sequence[Any], leaves: Sequence[Any], shapes: Sequence[Sequence[Dim | None]], single: bool
) -> list[Any]:
    """The call; a complex tensor crosses as a real one with a trailing axis of 2."""
    dtypes = [type_.dtype for _, type_ in leaves]
    pairs = [[2] if is_complex(dtype) else [] for dtype in dtypes]
    parts_of = [part_dtype(dtype) if is_complex(dtype) else dtype for dtype in dtypes]
    types = [relax.TensorType(dtype=d, ndim=len(type_.shape) + len(p)) for (_, type_), d, p in zip(leaves, parts_of, pairs, strict=True)]
    expected = [relax.ShapeExpr([-1 if d is None else d for d in shape]) for shape in shapes]
    given = [joined(b, t) if isinstance(t, Complex) else t for t in tensors]
    called = relax.call_pure_packed(name, *(t.expr for t in given), *expected, ty_args=types[0] if single else relax.TupleType(types))
    var = b.bb.emit(called, b.origin)
    parts = [var] if single else [b.bb.emit(relax.TupleGetItem(var, i), b.origin) for i in range(len(types))]
    out = []
    for part, dtype, pair, shape in zip(parts, parts_of, pairs, shapes, strict=True):
        dims = [b.fresh_dim() if d is None else d for d in shape]
        tensor = b.tensor(b.bb.match_cast(part, relax.TensorType(relax.ShapeExpr([*dims, *pair]), dtype), b.origin))
        out.append(parted(b, tensor) if pair else tensor)
    return out


def _priced(b: Builder, tensor: Tensor | Complex) -> dict[str, Any]:
    """What crosses: dims that only a run tells are None."""
    fresh = set(b.fresh)
    dims = [d if isinstance(d, int) else None if roots(d) & fresh else str(d) for d in tensor.shape]
    return {"dtype": tensor.dtype, "shape": dims}

"""Program → Relax: one public function ``main``, weights as constants, unknown dims as symbolic variables."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import tvm
from tvm import relax, tirx

from ..errors import InputError, InternalError, OarlockError, UnsupportedError, UnsupportedOperators
from ..model.program import STRUCTURAL, Block, ListType, Op, Program, TensorType, Value
from ..ops import registry
from ..ops.builder import Builder
from ..ops.complex_pair import Complex, complex_const, joined, parted
from ..ops.dtypes import check_dtype, is_complex, part_dtype
from ..ops.tensor import Tensor
from ..rules.origins import name_of, name_results
from . import control
from .host import Hosts

Shapes = Mapping[str, Sequence[int | str | None]]

MAX_DIM = (1 << 31) - 1
COMPLEX_INPUTS, COMPLEX_OUTPUTS = "oarlock.complex_inputs", "oarlock.complex_outputs"  # attributes of main: their places
MOST_TRIALS = 64  # imports of an operation, on average: a loop in a loop in a loop is tried 2³ times and more
CONTROL = {"pd_op.if": control.import_if, "pd_op.while": control.import_while}


class Failed:
    """Stands for a value that could not be computed; operations on it are skipped, so that every cause is found."""


FAILED = Failed()


def is_supported(name: str) -> bool:
    """Whether operations of this name can be imported; attributes and operands may still be refused."""
    return name in STRUCTURAL or name in CONTROL or registry.lookup(name) is not None


def import_program(
    program: Program,
    shapes: Shapes | None = None,
    progress: Callable[[int, int], None] | None = None,
    hosts: Hosts | None = None,
) -> tvm.IRModule:
    """Relax module of a Program.  ``shapes`` fixes or names input dims: None is dynamic, a string a dim shared by name.

    A complex input or output is a real tensor with a trailing axis of 2; attributes of ``main`` say which they are.
    ``hosts``: who runs what has no converter; it learns which calls the module has.  Default: functions that are registered.
    Raises UnsupportedOperators with every operation that cannot be imported, InputError for shapes that do not fit.
    """
    return Importer(program, shapes, progress, hosts).run()


class Importer:
    """The state of one import: where each Program value stands in Relax, and what failed."""

    def __init__(
        self,
        program: Program,
        shapes: Shapes | None,
        progress: Callable[[int, int], None] | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        self.program = program
        self.hosts = hosts or Hosts()
        self.shapes = check_shapes(program, shapes)
        self.reshaped = any(self.shapes[v.name] != _declared(v) for v in program.inputs)
        self.bb = relax.BlockBuilder()
        self.b = Builder(self.bb)
        self.env: dict[Value, Any] = {}
        self.complex_outputs: list[int] = []
        self.results: dict[relax.Var, int] = {}  # variables of main that are results of operations: which of them
        self.failures: dict[tuple[str, str], dict[str, Any]] = {}
        self.progress = progress
        self._imported = 0
        self._numbers = {id(op): number for number, op in enumerate(program.walk())}
        self._done, self._total = 0, sum(1 for _ in program.walk())

    def run(self) -> tvm.IRModule:
        self._note_unregistered()
        params = self._params()
        with self.bb.function("main", params):
            try:
                self._take_apart(params)
                outputs = self._body()
            except BaseException:
                self.bb.emit_func_output(relax.Tuple([]))  # TVM prints a warning about a function that is not ended
                raise
            self.bb.emit_func_output(relax.Tuple(outputs))
        mod = self.bb.get()
        mod["main"] = name_results(mod["main"], self.results)
        complex_inputs = [i for i, v in enumerate(self.program.inputs) if isinstance(self.env[v], Complex)]
        marks = {COMPLEX_INPUTS: complex_inputs, COMPLEX_OUTPUTS: self.complex_outputs}
        if any(marks.values()):
            mod["main"] = mod["main"].with_attrs({name: places for name, places in marks.items() if places})
        return mod

    def _take_apart(self, params: list[relax.Var]) -> None:
        """The inputs as tensors, complex ones as pairs."""
        for value, var in zip(self.program.inputs, params, strict=True):
            assert isinstance(value.type, TensorType)
            self.env[value] = parted(self.b, self.b.tensor(var)) if is_complex(value.type.dtype) else self.b.tensor(var)

    def _body(self) -> list[relax.Expr]:
        """Import all operations → the outputs."""
        self.block(self.program.block)
        if self.failures:
            todo = "check that the shapes given fit the model" if self.reshaped else ""
            raise UnsupportedOperators(self.failures.values(), where=str(self.program.source.get("path", "")), todo=todo)
        return [self._output(i, name, value) for i, (name, value) in enumerate(self.program.outputs.items())]

    def _note_unregistered(self) -> None:
        """Also in regions that are never imported because something before them failed."""
        for op in self.program.walk():
            if not is_supported(op.name) and not self.hosts.runs(op):
                self.fail(op, "no operator of that name is registered")

    def _params(self) -> list[relax.Var]:
        named: dict[str, tirx.Var] = {}
        params = []
        for value in self.program.inputs:
            assert isinstance(value.type, TensorType)
            dtype = part_dtype(value.type.dtype)
            try:
                check_dtype(dtype)
            except UnsupportedError as error:
                raise error.at(f"input {value.name!r}") from None
            dims: list[Any] = []
            for axis, d in enumerate(self.shapes[value.name]):
                if isinstance(d, int):
                    dims.append(tirx.IntImm("int64", d))
                    continue
                # only a name that the user gave is shared; TVM's printer tells variables of one name apart
                dim = tirx.Var(f"{_identifier(value.name)}_{axis}", "int64") if d is None else named.setdefault(d, tirx.Var(d, "int64"))
                self.b.assume_positive(dim)
                dims.append(dim)
            dims += [tirx.IntImm("int64", 2)] if is_complex(value.type.dtype) else []
            params.append(relax.Var(_identifier(value.name), relax.TensorType(relax.ShapeExpr(dims), dtype)))
        return params

    def _output(self, place: int, name: str, value: Value) -> relax.Expr:
        tensor = self.env[value]
        if isinstance(tensor, Complex) and isinstance(tensor.re, Tensor):
            self.complex_outputs.append(place)
            tensor = joined(self.b, tensor)
        if tensor is FAILED or tensor is None:
            raise UnsupportedError(
                f"the output {name!r} needs what inference does not compute (a mask, saved statistics) or a parameter that is not stored",
                where=str(self.program.source.get("path", "")),
                todo="export the model for inference, or fetch another value",
            )
        if not isinstance(tensor, Tensor):
            raise UnsupportedError(f"the output {name!r} is a list of tensors", where=name, todo="fetch its elements")
        return self.bb.emit(tensor.expr) if not isinstance(tensor.expr, relax.Var) else tensor.expr

    # ---- operations ----------------------------------------------------------------------------------------------

    def block(self, block: Block) -> None:
        """Import the operations of a block in order."""
        for op in block.ops:
            outer, self.b.origin = self.b.origin, name_of(op.short_name, self._numbers[id(op)])
            self.operation(op)
            self.b.origin = outer
            self._done += 1
            if self.progress:
                self.progress(self._done, self._total)

    def operation(self, op: Op) -> None:
        self._imported += 1
        if self._imported > 1000 + MOST_TRIALS * self._total:
            raise UnsupportedError("the loops are nested too deeply to find out which dims they change", where=f"{op.name} ({op.handle})")
        if op.name in STRUCTURAL:
            self._structural(op)
            return
        if op.name in CONTROL:
            self._guarded(op, lambda: tuple(CONTROL[op.name](self, op)))
            return
        operands = {name: None if v is None else self.env.get(v, FAILED) for name, v in op.operands.items()}
        spec = registry.lookup(op.name)
        failed = any(o is FAILED for x in operands.values() for o in (x if isinstance(x, list) else [x]))
        if failed or (spec is None and not self.hosts.runs(op)):
            self._bind_results(op, ())
            return
        self._guarded(op, lambda: self._apply(op, spec, operands))

    def _apply(self, op: Op, spec: registry.Operator | None, operands: dict[str, Any]) -> tuple[Any, ...]:
        """What an operation's converter makes; a host call where there is none, or where it refuses and one can be had."""
        replacing = self.hosts.replaces(op)
        if spec is None or replacing:
            return self.hosts.call(self.b, op, operands, replacing)
        try:
            return registry.apply(self.b, spec, op, operands)
        except (control.Skip, InputError, InternalError):
            raise
        except Exception as refusal:  # of the converter, or of TVM
            if not self.hosts.runs(op):
                raise
            try:
                return self.hosts.call(self.b, op, operands)
            except UnsupportedError as error:
                first = refusal.what if isinstance(refusal, OarlockError) else _reason(refusal)
                raise UnsupportedError(f"{first}; nor can it be a host call: {error.what}") from refusal

    def _guarded(self, op: Op, compute: Callable[[], tuple[Any, ...]]) -> None:
        """Bind what ``compute`` gives; what it cannot do is noted, and the results count as failed."""
        try:
            self._bind_results(op, compute())
        except control.Skip:
            self._bind_results(op, ())
        except UnsupportedError as error:
            self.fail(op, error.what)
            self._bind_results(op, ())
        except OarlockError as error:
            raise error.at(f"{op.name} ({op.handle})") from None
        except Exception as error:  # an operator that TVM rejects is a user's problem with a place, not a bare traceback
            self.fail(op, _reason(error))
            self._bind_results(op, ())

    def _bind_results(self, op: Op, results: tuple[Any, ...]) -> None:
        for i, value in enumerate(op.results):
            result = results[i] if i < len(results) else None
            if result is None:
                result = FAILED
            elif isinstance(value.type, ListType) and isinstance(result, Tensor | Complex):
                result = [result]
            self.env[value] = result
            parts = list(enumerate(result)) if isinstance(result, list) and len(op.results) == 1 else [(i, result)]
            for number, part in parts:
                if isinstance(part, Tensor) and part.variable is not None:
                    self.results.setdefault(part.variable, number)

    def _structural(self, op: Op) -> None:
        if op.name == "builtin.combine":
            members = [None if v is None else self.env.get(v) for v in op.operands.values()]
            self.env[op.results[0]] = [FAILED if m is None else m for m in members]
        elif op.name == "builtin.split":
            (source,) = op.operands.values()
            items = self.env.get(source, FAILED) if source else FAILED
            for i, value in enumerate(op.results):
                self.env[value] = items[i] if isinstance(items, list) and i < len(items) else FAILED
        elif op.name == "builtin.parameter":
            self._parameter(op)

    def _parameter(self, op: Op) -> None:
        for value in op.results:
            parameter = self.program.parameters[value.name]
            # one that is declared but not stored (an LSTM's dropout state) is an absent operand
            if parameter.data is None:
                self.env[value] = None
                continue
            dtype = parameter.type.dtype
            self.env[value] = (complex_const if is_complex(dtype) else Builder.const)(self.b, parameter.data, dtype)

    def fail(self, op: Op, reason: str) -> None:
        """Note that an operation cannot be imported; the same operator and reason are counted together."""
        entry = self.failures.setdefault(
            (op.name, reason), {"name": op.name, "count": 0, "reason": reason, "attributes": dict(op.attrs), "where": []}
        )
        entry["count"] += 1
        entry["where"].append(op.handle)


def _reason(error: Exception) -> str:
    """TVM's last line, its numbers as people write them."""
    lines = str(error).strip().splitlines() or [""]
    return re.sub(r"T\.int64\((-?\d+)\)", r"\1", f"{type(error).__name__}: {lines[-1]}")


def check_shapes(program: Program, shapes: Shapes | None) -> dict[str, list[int | str | None]]:
    """Full shape of every input: what the user gave, else what the program declares (−1 → None).

    InputError unless ``shapes`` is a mapping of names of inputs to as many dims as the input has, each of them an int from 0
    to 2³¹ − 1, None or an identifier.
    """
    given = {} if shapes is None else shapes
    if not isinstance(given, Mapping):
        raise InputError(f"shapes is a {type(given).__name__}", todo='give a dict: {"x": (None, 3, "h", "w")}')
    known = {v.name for v in program.inputs}
    if unknown := [str(name) for name in given if name not in known]:
        raise InputError(
            f"shapes name unknown inputs: {', '.join(unknown)}", todo=f"the model's inputs are {', '.join(sorted(known)) or 'none'}"
        )
    return {value.name: _full_shape(value, given.get(value.name)) for value in program.inputs}


def _full_shape(value: Value, given: Any) -> list[int | str | None]:
    if not isinstance(value.type, TensorType):
        raise UnsupportedError(f"the input {value.name!r} is a {value.type}, not a tensor")
    declared = _declared(value)
    if given is None:
        return declared
    where = f"the shape of {value.name!r}"
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise InputError(f"{given!r:.80} is no shape", where=where, todo='give a tuple of dims: (None, 3, "h", "w")')
    if len(given) != len(declared):
        raise InputError(f"the shape given for {value.name!r} has {len(given)} dims, the model has {len(declared)}", where=where)
    return [_checked_dim(d, where) for d in given]


def _declared(value: Value) -> list[int | str | None]:
    return [None if d < 0 else d for d in value.type.shape] if isinstance(value.type, TensorType) else []


def _checked_dim(dim: Any, where: str) -> int | str | None:
    if dim is None or (isinstance(dim, str) and dim.isidentifier() and not keyword.iskeyword(dim)):
        return dim
    if isinstance(dim, Integral) and not isinstance(dim, bool) and 0 <= int(dim) <= MAX_DIM:
        return int(dim)
    raise InputError(f"{dim!r:.80} is no dim", where=where, todo='give an int from 0, None (dynamic), or a name such as "batch"')


def _identifier(name: str) -> str:
    text = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
    return text if text and not text[0].isdigit() else f"_{text}"

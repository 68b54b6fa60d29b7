"""compile(): a Paddle model → an Artifact.  Joins the reader, the importer, the pipeline and a target."""

from __future__ import annotations

import ast
import dataclasses
import datetime
import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tvm

from . import compat, pipeline, targets
from ._version import __version__
from .errors import InternalError, TargetError, UnsupportedError
from .importer import COMPLEX_INPUTS, COMPLEX_OUTPUTS, Hosts, import_program
from .kernels import Choices, Records
from .kernels.records import chooser as records_chooser
from .kernels.records import searched as records_searched
from .kernels.records import shipped, user_path
from .model import Program, load_model
from .model.cover import cover
from .rules.weights import Weights
from .runtime.artifact import Artifact
from .runtime.artifact import Part as ArtifactPart
from .runtime.host import Host
from .runtime.signature import Dim, Signature, TensorSpec

Progress = Callable[[str, int, int], None]


def compile(
    model: Program | str | os.PathLike[str] | bytes,
    target: str | targets.Target = "cpu",
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    threads: int | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    records: str | os.PathLike[str] | bool = True,
    host: Host | str | None = None,
    progress: Progress | None = None,
    dump: Path | str | pipeline.Dump | None = None,
) -> Artifact:
    """Compile a Paddle model.

    model      a Program, or whatever load_model reads
    target     a target's name ("cpu", "cuda"; see oarlock.targets.names()) or a Target
    shapes     input name → dims, for the inputs whose declared shape should be narrowed or widened: an int is fixed, None a
               dynamic dim of its own, a string a dynamic dim that all inputs with the same string share.  Other inputs
               keep the shape that the model declares (−1 is dynamic)
    threads    how many threads the kernels are made for and run on; by default the physical cores of this machine
    options    more options of the target (the CPU's: mcpu, mtriple, mattr, cxx; CUDA's: arch, format, fast_math)
    records    kernels are chosen by these measurements: True for those of ``oarlock.tune`` on this machine and then those that come
               with the package, a file's path in place of the former, False for the target's own defaults
    host       who runs operations that Oarlock has no kernel for: a dict of operator → Python function, or "paddle"; functions of
               oarlock.host_operator always do.  See docs/host-calls.md
    progress   called with (stage, done, total)
    dump       a folder for the module after each stage as text, or a function called with (stage, module)

    Raises ModelError for a bad file, UnsupportedOperators with all that is missing at once, InputError for shapes that
    do not fit the model, TargetError for an unknown target, wrong options or a missing tool.
    """
    program = model if isinstance(model, Program) else load_model(model)
    chosen = make_target(target, threads, options)
    known = [] if records is False else databases(records)
    choices = Choices(records_chooser(known, *chosen.record_key), records_searched(known, *chosen.record_key))
    return compile_program(program, chosen, shapes, choices, host=host, progress=progress, dump=dump)


def databases(records: str | os.PathLike[str] | bool) -> list[Records]:
    """The databases to look into, in order.  A path's file must be there."""
    own = Records.load(user_path(), missing_ok=True) if isinstance(records, bool) else Records.load(records)
    return [own, shipped()]


def compile_program(
    program: Program,
    target: targets.Target,
    shapes: Mapping[str, Sequence[int | str | None]] | None,
    choices: Choices,
    *,
    host: Host | str | None = None,
    progress: Progress | None = None,
    dump: Path | str | pipeline.Dump | None = None,
) -> Artifact:
    """``compile`` for a program and a target that are there already, with kernels by ``choices``."""
    report = progress or (lambda stage, done, total: None)
    hosts = Hosts(host)
    module = import_program(program, shapes, lambda done, total: report("import", done, total), hosts)
    _refuse_host_calls(hosts, target)
    signature = signature_of(module, [v.name for v in program.inputs], list(program.outputs))
    notes = targets.Notes()
    parts = target.parts(module, notes)
    named = [(op.short_name, op.handle) for op in program.walk()]
    manifest: dict[str, Any] = {
        **_versions(),
        "created": _now(),
        "target": target.name,
        "options": dict(target.options),
        "record_key": list(target.record_key),
        "source": {key: value for key, value in program.source.items() if isinstance(value, str | int | float | bool)},
    }
    if not parts:
        built = pipeline.build(module, target, choices=choices, operations=named, dump=dump, progress=report)
        report("done", 1, 1)
        return Artifact(built.library, built.weights, signature, manifest | _facts(program, target, built, hosts))
    made: list[ArtifactPart] = []
    weights = Weights()
    names = {f"in.{i}": spec.name for i, spec in enumerate(signature.inputs)}
    names |= {f"out.{i}": spec.name for i, spec in enumerate(signature.outputs)}

    def own(given: Sequence[str]) -> list[str]:
        return [names.get(name, f"inside {name}") for name in given]

    for part in parts:
        where = Path(dump) / part.name if isinstance(dump, str | Path) else dump
        built = pipeline.build(part.module, part.target, choices=choices, operations=named, dump=where, progress=report)
        numbers = [weights.add_array(array) for array in built.weights]
        takes_and_gives = signature_of(part.module, own(part.takes), own(part.gives)) if part.gives else None
        facts = _facts(program, part.target, built, hosts) | {key: own(value) for key, value in part.facts.items()}
        facts["notes"] = [*notes.lines, *facts["notes"]]
        made.append(ArtifactPart(part.name, built.library, numbers, facts, takes_and_gives))
    report("done", 1, 1)
    whole = {**manifest, **made[0].facts, "runtime": dict(target.runtime)}
    return Artifact(made[0].library, weights.arrays, signature, whole, parts=made)


def _facts(program: Program, target: targets.Target, built: pipeline.Built, hosts: Hosts) -> dict[str, Any]:
    """What a manifest says of one program."""
    called = target.libraries_of({kernel["schedule"] for kernel in built.kernels.values() if "schedule" in kernel})
    facts: dict[str, Any] = {
        "runtime": {**target.runtime, **({"libraries": called} if called else {})},
        "notes": built.notes,
        "kernels": built.kernels,
        **_origins(program, built.calls),
        "results": built.results,
    }
    facts |= built.facts
    if built.places:
        facts["places"] = [dataclasses.asdict(place) for place in built.places]
    # those of branches that are never taken are gone
    if calls := [entry for name, entry in hosts.entries.items() if name in built.host_calls]:
        facts["host_calls"] = calls
    return facts


def _origins(program: Program, calls: pipeline.Calls) -> dict[str, Any]:
    """For the manifest: the calls of each function of the program in order, each a kernel and the numbers of the operations that it
    computes, and what the model calls these."""
    sites = [site for function in calls.values() for site in function]
    covered = iter(cover(program, [numbers for _, numbers in sites]))
    named = {name: [[kernel, next(covered)] for kernel, _ in function] for name, function in calls.items()}
    used = {number for function in named.values() for _, numbers in function for number in numbers}
    operations = {str(n): [op.short_name, op.handle] for n, op in enumerate(program.walk()) if n in used}
    return {"operations": operations, "calls": named}


def _refuse_host_calls(hosts: Hosts, target: targets.Target) -> None:
    if hosts.entries and not target.host_calls:
        operators = ", ".join(sorted({entry["operator"] for entry in hosts.entries.values()}))
        raise UnsupportedError(
            f"target {target.name} has no host calls, which the model needs for {operators}",
            where=f"target {target.name}",
            todo='compile the model for the target "cpu", or register a converter for each with oarlock.operator (see CONTRIBUTING.md)',
        )


def make_target(target: str | targets.Target, threads: int | None, options: Mapping[str, Any] | None) -> targets.Target:
    """A target by its name and options."""
    if isinstance(target, targets.Target):
        if threads is not None or options:
            raise TargetError("threads and options go with a target's name", todo="give them to the Target itself")
        return target
    chosen = dict(options or {})
    if threads is not None:
        chosen["threads"] = threads
    return targets.get(target, **chosen)


def profiling_target(target: str | targets.Target, threads: int | None, options: Mapping[str, Any] | None) -> targets.Target:
    """The same target with its options for profiling: kernels are called one by one.  What is not among a target's options in effect
    (the compiler driver) stays as it is given."""
    chosen = make_target(target, threads, options)
    return make_target(chosen.name, None, {**(options or {}), **chosen.profiling_options})


def signature_of(module: tvm.IRModule, takes: Sequence[str], gives: Sequence[str]) -> Signature:
    """The signature of ``main`` with these names, and types with symbolic dims as text, one name a symbol."""
    main = module["main"]
    # TVM's printer gives every symbol a name of its own and writes dims as Python expressions: read those.
    text = str(compat.function_type(list(main.params), main.ret_ty, True))
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.args[0], ast.Tuple):
        raise InternalError(f"main has an unexpected type: {text}")
    given, returned = call.args[0], call.args[1]
    outputs = returned.args if isinstance(returned, ast.Call) and _name(returned) == "Tuple" else [returned]
    inputs = [_spec(name, t) for name, t in zip(takes, given.elts, strict=True)]
    results = [_spec(name, t) for name, t in zip(gives, outputs, strict=True)]
    for specs, key in ((inputs, COMPLEX_INPUTS), (results, COMPLEX_OUTPUTS)):
        for i in map(int, (main.attrs or {}).get(key, [])):
            specs[i] = _complex_spec(specs[i])
    return Signature(tuple(inputs), tuple(results))


def _complex_spec(parts: TensorSpec) -> TensorSpec:
    """What the user gives or gets for a tensor that the program has as […, 2]."""
    return TensorSpec(parts.name, "complex128" if parts.dtype == "float64" else "complex64", (parts.shape or ())[:-1])


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _spec(name: str, node: ast.expr) -> TensorSpec:
    """The spec that ``R.Tensor((n, 3), dtype="float32")`` or ``R.Tensor(dtype="float32", ndim=2)`` says."""
    if not isinstance(node, ast.Call) or _name(node) != "Tensor":
        raise InternalError(f"{name!r} is not a tensor in main's type: {ast.unparse(node)}")
    keywords = {k.arg: ast.literal_eval(k.value) for k in node.keywords}
    if "dtype" not in keywords:
        raise InternalError(f"{name!r} has no known element type: {ast.unparse(node)}")
    if node.args and isinstance(node.args[0], ast.Tuple):
        shape: tuple[Dim, ...] | None = tuple(map(plain_dim, node.args[0].elts))
    else:
        shape = (None,) * keywords["ndim"] if keywords.get("ndim", -1) >= 0 else None
    return TensorSpec(name, keywords["dtype"], shape)


class _Plain(ast.NodeTransformer):
    """``T.int64(2)`` → ``2``, ``T.max(a, b)`` → ``max(a, b)``"""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        return node.args[0] if isinstance(node.func, ast.Name) and node.func.id in ("int64", "int32") else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return ast.Name(node.attr, ast.Load())


def plain_dim(node: ast.expr) -> int | str:
    """A dim as TVM prints it → an int, or Python's plain text of the expression."""
    plain = _Plain().visit(node)
    return plain.value if isinstance(plain, ast.Constant) and isinstance(plain.value, int) else ast.unparse(plain)


def _versions() -> dict[str, str]:
    return {
        "oarlock": __version__,
        "tvm": str(tvm.__version__),
        "tvm_ffi": importlib.metadata.version("apache-tvm-ffi"),
    }


def _now() -> str:
    """UTC; SOURCE_DATE_EPOCH makes builds reproducible."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC) if epoch.isdecimal() else datetime.datetime.now(datetime.UTC)
    return moment.isoformat(timespec="seconds")

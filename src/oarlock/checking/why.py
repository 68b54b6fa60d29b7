"""``why``: which operation of a model gives other numbers than Paddle, which stage of the compiler makes it so, a model that shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InternalError, OarlockError, TargetError
from ..inputs import random_inputs
from ..model.load import load_model
from ..model.program import Program
from ..profiling.layers import SIZES
from ..runtime.host import PREFIX, Host
from ..runtime.session import Session
from ..targets import Target
from .compare import TOLERANCE, OutputCheck
from .excerpt import Excerpt, Excerpts
from .loops import checked, loops, turns
from .native import whole_program
from .reference import PaddleReference, RunModel, paddle_process
from .reproducer import write_reproducer
from .sites import sites
from .stages import HOST, IMPORTED, LAST, Blame, Steps, compile_steps, first_bad_stage
from .trace import Finding, trace

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Operation:
    """An operation of the model: its number, its operator, and what the model calls it."""

    number: int
    operator: str
    handle: str

    def __str__(self) -> str:
        return f"{self.operator} ({self.handle})"


@dataclass(frozen=True)
class Layer:
    """A kernel call beside Paddle: see Finding.  ``operations``: what it computes of the model, the last being what it gives.
    ``number``: of the call, among those of ``main`` in the manifest; -1 for a loop as a whole."""

    number: int
    kernel: str
    operations: tuple[Operation, ...]
    shape: tuple[int, ...]
    introduced: float
    introduced_rms: float
    carried: float
    fed: bool
    why: str

    def guilty(self, tolerance: float) -> bool:
        return self.fed and (bool(self.why) or not self.introduced <= tolerance)


@dataclass(frozen=True)
class Guilt:
    """``layer`` is wrong by itself.  ``operations``: as few of its operations as are wrong when they are compiled alone.  ``blame``: by
    which stage; None where it is wrong in the whole model only.  ``script``: that shows it, where a folder was given.

    ``turn``: of the loop that it stands in, whose numbers are then those of its body.  No layer: all kernels are right when they are
    called one by one, but not when the target's default program calls them; what of the model is wrong then are ``operations``.
    """

    layer: Layer | None
    operations: tuple[Operation, ...]
    blame: Blame | None
    script: str = ""
    turn: int | None = None

    @property
    def text(self) -> str:
        what = " + ".join(map(str, self.operations)) + ("" if self.turn is None else f", turn {self.turn} of its loop")
        if self.layer is None:
            return f"{what}: stage {self.blame.stage if self.blame else ''}, the program that calls the kernels, which are right"
        if self.blame is None:
            return f"{self.layer.operations[-1]}: kernel {self.layer.kernel} is wrong, in this model alone"
        if self.blame.stage == HOST:
            return f"{what}: the host call {self.layer.kernel.removeprefix(PREFIX)}"
        if self.blame.stage == IMPORTED:
            return f"{what}: the operator's converter" if len(self.operations) == 1 else f"{what}: the importer"
        return f"{what}: stage {self.blame.stage}, kernel {self.layer.kernel}"


@dataclass(frozen=True)
class Why:
    """``layers``: all kernel calls that could be compared, in order, and how many could not be (``uncompared``).

    ``wrong``: how many introduce an error over the tolerance.  ``guilty``: the first of them.
    """

    model: str
    target: str
    tolerance: float
    layers: tuple[Layer, ...]
    wrong: int
    guilty: tuple[Guilt, ...]
    uncompared: int

    @property
    def ok(self) -> bool:
        return not self.wrong and not self.guilty

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.ok, "guilty": [asdict(g) | {"text": g.text} for g in self.guilty]}


def why(
    model: Program | str | Path,
    inputs: Mapping[str, np.ndarray] | Callable[[Session], Mapping[str, np.ndarray]] | None = None,
    *,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    target: str = "cpu",
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    host: Host | str | None = None,
    tolerance: float | None = None,
    python: str | None = None,
    run: RunModel | None = None,
    most: int = 1,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Why:
    """Find what makes a compiled model differ from Paddle.

    Each kernel of the model, as it was compiled and fused, is given the tensors that Paddle gives its inputs, and its results are
    compared with Paddle's.  The first that introduces more than ``tolerance`` is then looked into: its operations are compiled alone,
    one by one and together, and the stage of the compiler is found that first changes the numbers.  Where all kernels are right, the
    target's default program, which may call them in another way (the CPU's native function), is compared with them.

    inputs     arrays by name, or a function that gives them for a session; default: seeded random ones
    shapes, target, threads, options, host, tolerance, python: as in check and compile
    run        what runs a saved model in place of Paddle in a process of its own (by ``python``)
    most       how many guilty kernels are looked into, from the first on
    folder     gets a folder for each guilty kernel: a model of as few operations as show the fault, inputs, what Paddle gives, a script
    progress   called with (what, done, total)

    Raises what compile and check raise.
    """
    from ..compiler import make_target, profiling_target

    program = model if isinstance(model, Program) else load_model(model)
    chosen = profiling_target(target, threads, options)  # kernels are called one by one
    must_be_readable(chosen)
    if progress is not None:
        progress("compiling", 0, 1)
    steps = compile_steps(program, chosen, shapes, keep=(LAST,), host=host)
    session = Session(steps.artifact, host=steps.host)
    arrays = inputs(session) if callable(inputs) else inputs
    given = random_inputs(session.inputs, shapes) if arrays is None else dict(arrays)
    usual = make_target(target, threads, options)
    return beside_paddle(
        program,
        steps,
        session,
        given,
        usual=None if usual.options == chosen.options else usual,
        tolerance=tolerance,
        python=python,
        run=run,
        most=most,
        folder=folder,
        host=host,
        progress=progress,
    )


def must_be_readable(target: Target) -> None:
    """TargetError where tensors of the target's kernels are out of this process' reach."""
    if not target.traceable:
        raise TargetError(
            f"why reads tensors of kernels as they run, which it cannot for target {target.name}",
            todo='look for the fault with target "cpu"; if it is not there, it is in the kernels of this target',
        )


def beside_paddle(
    program: Program,
    steps: Steps,
    session: Session,
    given: Mapping[str, np.ndarray],
    *,
    usual: Target | None = None,
    tolerance: float | None = None,
    python: str | None = None,
    run: RunModel | None = None,
    most: int = 0,
    folder: str | Path | None = None,
    host: Host | str | None = None,
    progress: Progress | None = None,
) -> Why:
    """``why`` for a program that is compiled (``steps`` with the module LAST) and runs in ``session``.

    ``usual``: the target without its options for profiling, whose program is compared where all kernels are right.
    """
    report: Progress = progress or (lambda what, done, total: None)
    chosen = steps.target
    limit = TOLERANCE[str(chosen.options.get("precision", "float32"))] if tolerance is None else tolerance
    reference = PaddleReference(program, given, run or paddle_process(python))
    calls = sites(next(mod for name, mod in steps.modules if name == LAST))
    cover = [tuple(numbers) for _, numbers in steps.artifact.manifest["calls"]["main"]]
    named = [Operation(n, op.short_name, op.handle) for n, op in enumerate(program.walk())]
    found = list(trace(session, calls, given, reference, lambda done, total: report("comparing kernels", done, total)))
    pairs = [(f, _layer(f, cover[f.number], named)) for f in found if f.compared]
    layers = [layer for _, layer in pairs]

    def build(part: Excerpt) -> Steps:
        return compile_steps(part.program, chosen, part.shapes, host=host)

    for numbers in loops(program):
        if checks := checked(reference, numbers, build):
            layers.append(_loop(tuple(named[n] for n in numbers), checks))
    wrong = sorted((layer for layer in layers if layer.guilty(limit)), key=lambda layer: layer.operations[-1].number)
    guilty = []
    for count, layer in enumerate(wrong[:most]):
        report("looking for the stage", count, min(most, len(wrong)))
        place = None if folder is None else Path(folder) / f"{count + 1}-{layer.operations[-1].operator}"
        inside = _inside(layer, reference, chosen, limit, place, host) if layer.number < 0 else None
        guilty.append(inside or _guilt(layer, reference, chosen, limit, place, host))
    if not wrong and usual is not None and most:
        report("comparing the whole", 0, 1)
        place = None if folder is None else Path(folder) / "1-program"
        if (fault := whole_program(steps, usual, session, reference, calls, limit, place)) is not None:
            numbers, blame, script = fault
            guilty.append(Guilt(None, tuple(named[n] for n in numbers), blame, script))
    return Why(
        str(program.source.get("path", "")),
        chosen.name,
        limit,
        tuple(layers),
        len(wrong),
        tuple(guilty),
        len(calls) - len(pairs),
    )


def _layer(finding: Finding, numbers: Sequence[int], named: Sequence[Operation]) -> Layer:
    given = list(dict.fromkeys(h[0] for h in finding.site.gives if h is not None))
    order = [n for n in numbers if n not in given and named[n].operator not in SIZES] + given  # what it gives comes last
    return Layer(
        finding.number,
        finding.site.kernel,
        tuple(named[n] for n in order),
        finding.shape,
        finding.introduced,
        finding.introduced_rms,
        finding.carried,
        finding.fed,
        finding.why,
    )


def _loop(operations: tuple[Operation, ...], checks: Sequence[OutputCheck]) -> Layer:
    """A loop as a whole: by itself on what Paddle gives it, so that it carries nothing."""
    worst = max(checks, key=lambda c: (bool(c.why) and not c.max_rel, c.max_rel))
    wrong = next((c.why for c in checks if c.why and (not c.max_rel or "float" not in c.dtype)), "")
    return Layer(-1, "a loop", operations, worst.shape, worst.max_rel, worst.rms_rel, 0.0, True, wrong)


def _inside(
    layer: Layer, reference: PaddleReference, target: Target, tolerance: float, folder: Path | None, host: Host | str | None
) -> Guilt | None:
    """What is wrong in a turn of a loop; None where each turn is right, so that it is the loop itself."""
    for turn in turns(reference, layer.operations[-1].number):
        shapes = {name: array.shape for name, array in turn.inputs.items()}
        try:
            steps = compile_steps(turn.program, target, shapes, keep=(LAST,), host=host)
            session = Session(steps.artifact, host=steps.host)
            found = beside_paddle(
                turn.program, steps, session, turn.inputs, tolerance=tolerance, run=reference.run, most=1, folder=folder, host=host
            )
        except (OarlockError, InternalError):
            return None  # what cannot be compiled alone shows nothing
        if found.guilty:
            return replace(found.guilty[0], turn=turn.number)
    return None


def _guilt(
    layer: Layer, reference: PaddleReference, target: Target, tolerance: float, folder: Path | None, host: Host | str | None
) -> Guilt:
    """The smallest part of the model that shows the fault of a kernel, and the stage that makes it."""
    numbers = [o.number for o in layer.operations]
    excerpts = Excerpts(reference, numbers)

    def look(chosen: Sequence[int]) -> tuple[Excerpt, Blame] | None:
        part = excerpts.of(chosen)
        if part is None:
            return None
        try:
            steps = compile_steps(part.program, target, part.shapes, host=host)
        except (OarlockError, InternalError):
            return None  # what cannot be compiled alone shows nothing
        blame = first_bad_stage(steps, part.inputs, lambda got: all(c.ok for c in part.check(got, tolerance)))
        return None if blame is None else (part, blame)

    found = next(filter(None, (look([n]) for n in numbers)), None) or look(numbers)
    if found is None:
        return Guilt(layer, layer.operations, None)
    if len(found[0].operations) > 1:
        found = _smaller(found, look)
    part, blame = found
    if layer.kernel.startswith(PREFIX):
        blame = Blame(HOST, "", blame.tried)  # every build calls the same function
    guilt = Guilt(layer, tuple(o for o in layer.operations if o.number in part.operations), blame)
    if folder is None:
        return guilt
    script = write_reproducer(folder, part, guilt.text, target.name, target.options, tolerance, asdict(guilt))
    return replace(guilt, script=str(script))


def _smaller(found: tuple[Excerpt, Blame], look: Callable[[Sequence[int]], tuple[Excerpt, Blame] | None]) -> tuple[Excerpt, Blame]:
    """As long as it stays wrong, without its last and without its first operation."""
    for drop in (slice(None, -1), slice(1, None)):
        while len(numbers := found[0].operations) > 2 and (less := look(numbers[drop])) is not None:
            found = less
    return found

"""What ``parallel=…`` says, and the programs that a model becomes by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from oarlock.errors import TargetError, UnsupportedError
from oarlock.rules.constants import fold_moves
from oarlock.rules.dataflow import dataflow_blocks

from ..chips import Chip
from .split import apply_splits, plan_splits
from .stages import Stage, cut

_MOST = 64  # devices
_WHERE = "option parallel"


@dataclass(frozen=True)
class Parallel:
    """``tp`` devices share the products of each of ``pp`` stages: device ``stage · tp + rank``."""

    tp: int = 1
    pp: int = 1

    @property
    def devices(self) -> int:
        return self.tp * self.pp

    def __str__(self) -> str:
        return ",".join(f"{name}={count}" for name, count in dataclasses.asdict(self).items() if count > 1)


def parse(text: str) -> Parallel:
    """``"tp=2"``, ``"pp=3"``, ``"tp=2,pp=2"``; TargetError for anything else."""
    counts = {"tp": 1, "pp": 1}
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = word.partition("=")
        if name.strip() not in counts or not number.strip().isdecimal() or not 1 <= int(number) <= _MOST:
            raise TargetError(f"{word!r} is no parallelism", where=_WHERE, todo=f'write "tp=N", "pp=N" or both, with N from 1 to {_MOST}')
        counts[name.strip()] = int(number)
    found = Parallel(**counts)
    if found.devices > _MOST:
        raise TargetError(f"{text!r} needs {found.devices} devices", where=_WHERE, todo=f"use {_MOST} at most")
    return found


@dataclass
class Piece:
    """One device's program; ``forward``: the names of what it sends on to the next stage."""

    module: tvm.IRModule
    takes: list[str]
    gives: list[str]
    forward: list[str]


def pieces(mod: tvm.IRModule, parallel: Parallel, chip: Chip, note: Callable[[str], None]) -> list[Piece]:
    """The programs of all devices, in order.  UnsupportedError where nothing of the model can be split, or it cannot be cut."""
    t = relax.transform
    for step in (t.Normalize(), t.DecomposeOpsForInference(), t.FoldConstant()):
        mod = step(mod)
    mod = fold_moves(t.DeadCodeElimination()(dataflow_blocks(mod)))
    inputs, outputs = _names(mod)
    stages = cut(mod, inputs, outputs, parallel.pp, chip, note) if parallel.pp > 1 else [Stage(mod, inputs, outputs, outputs)]
    found: list[Piece] = []
    for stage in stages:
        module = t.DeadCodeElimination()(dataflow_blocks(stage.module))
        if parallel.tp == 1:
            found.append(Piece(module, stage.takes, stage.gives, stage.forward))
            continue
        reasons: list[str] = []
        splits = plan_splits(module["main"], parallel.tp, reasons.append)
        for reason in reasons:
            note(reason)
        if not splits.rows and len(stages) == 1:
            raise UnsupportedError(
                "nothing of the model can be split:\n" + "\n".join(f"    {reason}" for reason in reasons[1:]),
                where=f"{_WHERE}, tp={parallel.tp}",
                todo="give dims that are equal the same name (shapes=…), or use fewer devices",
            )
        for rank in range(parallel.tp):
            found.append(Piece(apply_splits(module, splits, rank, parallel.tp), stage.takes, stage.gives, stage.forward))
    return found


def _names(mod: tvm.IRModule) -> tuple[list[str], list[str]]:
    """Names for what main takes and gives; an artifact's are put in their place (target.py)."""
    main: Any = mod["main"]
    body = main.body.body
    count = len(body.fields) if isinstance(body, relax.Tuple) else 1
    return [f"in.{i}" for i in range(len(main.params))], [f"out.{i}" for i in range(count)]

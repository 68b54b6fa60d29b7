"""A CPU target whose kernels have candidates of every kind: slow (the first), good, wrong, and those that crash or hang.

``FAKE_LOG`` names a file that gets a line for each build.
"""

from __future__ import annotations

import os
import time

import tvm
import tvm_ffi
from tvm import tirx

from oarlock.kernels import Choices
from oarlock.kernels.choice import CANDIDATE, SCHEDULE, WORKLOAD
from oarlock.targets import Notes, Stage
from oarlock.targets.cpu import CpuTarget


def _calling(name: str, *arguments: int) -> object:
    """The kernel with a call of a C function before it."""

    def change(function: tirx.PrimFunc) -> tirx.PrimFunc:
        call = tirx.Evaluate(tirx.call_extern("int32", name, *arguments))
        return function.with_body(tirx.SeqStmt([call, function.body]))

    return change


def _wrong(function: tirx.PrimFunc) -> tirx.PrimFunc:
    def store(node: tirx.BufferStore) -> tirx.BufferStore:
        return tirx.BufferStore(node.buffer, node.value + tirx.const(1, node.value.ty.dtype), node.indices)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.BufferStore, store)))


def _crash(function: tirx.PrimFunc) -> tirx.PrimFunc:
    os.abort()


def _hang(function: tirx.PrimFunc) -> tirx.PrimFunc:
    time.sleep(1000)
    return function


CANDIDATES = {
    "slow": _calling("usleep", 4000),
    "good": lambda function: function,
    "wrong": _wrong,
    "aborts": _calling("abort"),
    "waits": _calling("pause"),
    "crashes the compiler": _crash,
    "hangs the compiler": _hang,
}


class FakeTarget(CpuTarget):
    """``offers``: the names of the candidates, with ; between them, for the kernels that compute ``hard``; others are slow or good."""

    name = "fake"

    def __init__(self, *, threads: int = 1, offers: str = "slow;good", hard: str = "exp", executor: str = "aot") -> None:
        super().__init__(threads=threads, executor=executor)
        self.offers, self.hard = offers, hard

    @property
    def options(self) -> dict:
        return {"threads": self.threads, "offers": self.offers, "hard": self.hard, "executor": self.executor}

    def kernel_stages(self, choices: Choices) -> list[Stage]:
        def choose(mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
            with open(os.environ["FAKE_LOG"], "a", encoding="utf-8") as log:
                log.write("build\n")
            new = {}
            for gv, function in mod.functions.items():
                if isinstance(function, tirx.PrimFunc):
                    name = gv.name_hint.removeprefix("tir_")
                    names = self.offers.split(";") if name == self.hard else ["slow", "good"]
                    workload = f"fake {name}"
                    change = choices.pick(workload, {name: CANDIDATES[name] for name in names})
                    facts = {SCHEDULE: "fake", WORKLOAD: workload, CANDIDATE: choices.picked[workload]}
                    new[gv] = change(function).with_attrs(facts)
            mod = mod.clone()
            mod.update(tvm.IRModule(new))
            return mod

        return [*super().kernel_stages(Choices()), Stage("fake-choices", choose)]

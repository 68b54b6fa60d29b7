"""The targets xpu/…: options, stages, and the build."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import tvm

from oarlock import compat, compat_gpu
from oarlock.errors import TargetError
from oarlock.kernels import Choices
from oarlock.kernels.choice import CANDIDATE, SCHEDULE, WORKLOAD
from oarlock.rules.weights import Weights
from oarlock.targets import Notes, Part, Place, Refusal, Stage, Target
from oarlock.targets.cpu import CpuTarget

from . import compat_xpu, native
from .chips import chip
from .compiler import codegen, host, toolchain
from .compiler.elements import elementwise
from .compiler.engine import Plan, plan
from .compiler.graph import Graph, Options
from .compiler.loops import Loops, odd_type
from .compiler.precision import PRECISIONS, narrow
from .compiler.rewrite import PREFIX, apply_plan, calls_of
from .compiler.rules import RULES
from .compiler.work import Kernel, with_work
from .memory.config import check_room, read_config, start_of, wishes_of
from .memory.facts import facts_of, works_of
from .memory.picture import render
from .memory.place import call_offsets, write_plan
from .memory.planner import plan_l3, problem_of
from .memory.program import program_of
from .parallel.plan import parse, pieces

T = TypeVar("T")


class XpuTarget(Target):
    """A KunlunXin XPU; in this version an emulated one.

    ``checked``: kernels are compiled so that every access of memory is looked at (slow): races, missing fences, accesses past the end.
    ``xcc``: the compiler of generated kernels with {source} and {output} in it; empty: the host's, for the emulator.
    ``packed``: encoders compute nothing for the rows that a mask of keys takes out as padding; these rows of their results are 0.
    ``precision``: what convolutions, products by constants and attention multiply: float32, float16, int31, int16 or int8
    (precision.py).
    ``cxx``: the compiler driver that links the host's part, as for the target cpu.
    ``chips``: more chips ("k200,r200") that the artifact has programs for, over the same weights; it runs on the one that is there.
    ``parallel``: "tp=2", "pp=2", "tp=2,pp=2": the model runs on that many devices together (see parallel/).
    ``l3``: bytes of L3 that a model may take ("16MB"); by default all that the chip has, 0: none.
    ``l3_weights``: weights may live there too, between runs; else it is for what lies between kernels.
    ``l3_config``: a YAML file that pins tensors and layers to a memory (memory/config.py), or what such a file holds.
    ``fusion``: false: each operator is a call of the library of its own, to see what fusion brings.
    ``graphs``: kernels whose tensors have the same sizes and places in every run are launched together, as graphs.
    """

    chip_name: ClassVar[str]
    lift_bytes = 1  # what a graph reads must lie where the session put it
    traceable = True

    def __init__(
        self,
        *,
        checked: bool | str = False,
        xcc: str = "",
        cxx: str = "",
        l3: int | str = "",
        l3_weights: bool | str = True,
        l3_config: str | Mapping[str, Any] = "",
        graphs: bool | str = True,
        fusion: bool | str = True,
        packed: bool | str = False,
        precision: str = "float32",
        chips: str = "",
        parallel: str = "",
    ) -> None:
        # of a part's target: all but what makes parts
        self._plain = {name: value for name, value in locals().items() if name not in ("self", "chips", "parallel")}
        self.chip = chip(self.chip_name)
        self.l3 = self._l3_bytes(l3)
        self.graphs = self._flag("graphs", graphs)
        self.fusion = self._flag("fusion", fusion)
        self.l3_weights = self._flag("l3_weights", l3_weights)
        self.l3_config = read_config(l3_config)
        self._config_file = l3_config if isinstance(l3_config, str) and l3_config else "option l3_config"
        self.checked, self.packed = self._flag("checked", checked), self._flag("packed", packed)
        if precision not in PRECISIONS:
            raise TargetError(
                f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}", where=f"target {self.name}, option precision"
            )
        self.xcc, self.precision = xcc, precision
        self.chips = _chips(self.chip.name, chips)
        self.parallel = parse(parallel)
        if self.parallel.devices > 1 and len(self.chips) > 1:
            raise TargetError("several chips and several devices cannot be had together", where="options chips and parallel")
        self._host = CpuTarget(threads=1, executor="vm", libraries="none", cxx=cxx)
        self._tvm_target = compat_xpu.xpu_target(self.chip.name, self._host.tvm_target)

    def _flag(self, name: str, value: bool | str) -> bool:
        if value not in (True, False, "true", "false"):
            raise TargetError(f"{name} must be true or false, not {value!r}", where=f"target {self.name}, option {name}")
        return value in (True, "true")

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            "checked": self.checked,
            "xcc": self.xcc,
            "l3": self.l3,
            "l3_weights": self.l3_weights,
            "graphs": self.graphs,
            "fusion": self.fusion,
            **({"l3_config": self.l3_config} if self.l3_config else {}),
            "packed": self.packed,
            "precision": self.precision,
            **({"chips": ",".join(self.chips)} if len(self.chips) > 1 else {}),
            **({"parallel": str(self.parallel)} if self.parallel.devices > 1 else {}),
        }

    def _l3_bytes(self, value: int | str) -> int:
        found = re.fullmatch(r"(\d+)\s*(|[KM]i?B|B)", str(value).strip(), re.IGNORECASE) if value != "" else None
        if value != "" and (found is None or isinstance(value, bool)):
            raise TargetError(
                f"{value!r} is no size", where=f"target {self.name}, option l3", todo='give bytes, as 1048576, "512KB" or "16MB"'
            )
        units = {"": 1, "b": 1, "kb": 1000, "kib": 1024, "mb": 10**6, "mib": 2**20}
        size = self.chip.l3 if found is None else int(found[1]) * units[found[2].lower()]
        if size > self.chip.l3:
            raise TargetError(
                f"{size:,} bytes are more than the chip's L3 has",
                where=f"target {self.name}, option l3",
                todo=f"give {self.chip.l3:,} at most",
            )
        return size

    @property
    def tvm_target(self) -> tvm.target.Target:
        return self._tvm_target

    @property
    def runtime(self) -> Mapping[str, Any]:
        cpu = self._host.runtime
        runtime = {"device": "xpu", "chip": self.chip.name, "machine": cpu["machine"], "features": cpu["features"]}
        return runtime | ({"parallel": dataclasses.asdict(self.parallel)} if self.parallel.devices > 1 else {})

    @property
    def modelled(self) -> bool:
        return getattr(native.runtime(), "xpu_sim_counters", None) is not None  # the vendor's runtime has no such thing

    @property
    def record_key(self) -> tuple[str, str]:
        return self.name, "xpu"

    def parts(self, mod: tvm.IRModule, notes: Notes) -> list[Part]:
        if self.parallel.devices > 1:
            found = pieces(mod, self.parallel, self.chip, lambda text: notes.add("parallel", text))
            one = TARGETS[self.chip.name](**self._plain)
            return [
                Part(str(number), one, piece.module, tuple(piece.takes), tuple(piece.gives), {"forward": piece.forward})
                for number, piece in enumerate(found)
            ]
        if len(self.chips) == 1:
            return []
        return [Part(name, TARGETS[name](**self._plain), mod) for name in self.chips]

    def refusals(self, mod: tvm.IRModule) -> list[Refusal]:
        # what the modules are made with is looked at before the work, not after it
        native.load()
        return []

    def provides(self, name: str) -> bool:
        return name.startswith(PREFIX) or name in (host.TO_HOST, host.TO_DEVICE)

    def memory_stages(self, weights: Weights) -> list[Stage]:
        # the weights are there only when the stages run
        stages = [Stage("xpu-count-work", lambda mod, notes: self._count(mod, len(weights.arrays), notes))]
        stages += [Stage("xpu-plan-l3", lambda mod, notes: self._plan_l3(mod, len(weights.arrays), notes))] if self.l3 else []
        # when places are final: a graph has them in it
        return [*stages, *([Stage("xpu-graphs", lambda mod, notes: self._capture(mod, len(weights.arrays)))] if self.graphs else [])]

    def _capture(self, mod: tvm.IRModule, weights: int) -> tvm.IRModule:
        return compat_xpu.capture_graphs(mod, weights, lambda symbol: symbol.startswith(PREFIX))

    @property
    def profiling_options(self) -> Mapping[str, Any]:
        # what a graph launches cannot be looked at one by one; another chip's L3 has another size
        return {**self.options, "graphs": False, "l3": self._plain["l3"]}

    def _count(self, mod: tvm.IRModule, weights: int, notes: Notes) -> tvm.IRModule:
        notes.facts["kernels"] = works_of(program_of(mod, weights, self.chip, notes.operations), calls_of(mod))
        return mod

    def _plan_l3(self, mod: tvm.IRModule, weights: int, notes: Notes) -> tvm.IRModule:
        program = program_of(mod, weights, self.chip, notes.operations)
        wishes = wishes_of(self.l3_config, program, self.l3_weights, self._config_file)
        check_room(problem_of(program, self.chip, self.l3, wishes)[0], program, wishes)
        made = plan_l3(program, self.chip, self.l3, wishes)
        notes.facts["memory"] = facts_of(program, made, self.chip)
        return write_plan(mod, program, made)

    def memory_page(self, facts: Mapping[str, Any]) -> str | None:
        return render(facts)

    def memory_config(self, facts: Mapping[str, Any]) -> str | None:
        return start_of(facts)

    def graph_stages(self, choices: Choices) -> list[Stage]:
        return [Stage("xpu-library", self._use_library)]

    def _use_library(self, mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
        graph = Graph(mod, Options(self.packed, self.chip.max_ptr))
        for node in graph.nodes.values() if not self.fusion else ():
            node.kept = True  # as if all the world read it
        found = plan(graph, RULES)
        done = narrow(graph, found, self.precision)
        if done.narrow or done.others:
            others = f", {done.others} on {done.instead}, to whose operands no call gives a maximum" if done.others else ""
            notes.add("xpu-library", f"{done.narrow} calls on {self.precision}{others}")
        for fusion in found.fusions.values():
            notes.places.append(Place(" + ".join(n.name for n in fusion.nodes), "library", fusion.api))
        _note_refused(found, notes)
        return apply_plan(mod, found)

    def kernel_stages(self, choices: Choices) -> list[Stage]:
        return [Stage("xpu-kernels", lambda mod, notes: self._make_kernels(mod, notes, choices))]

    def _make_kernels(self, mod: tvm.IRModule, notes: Notes, choices: Choices) -> tvm.IRModule:
        new: dict[tvm.ir.GlobalVar, tvm.tirx.PrimFunc] = {}
        refused: dict[str, str] = {}
        working: dict[str, Kernel] = {}

        def chosen(function: tvm.tirx.PrimFunc, how: str, candidates: Mapping[str, T]) -> tuple[T, dict[str, Any]]:
            """The schedule to use, and what the kernel that it makes says of itself."""
            workload = f"{how} {compat.structural_name(function)}"
            schedule = choices.pick(workload, candidates)
            return schedule, {SCHEDULE: how, WORKLOAD: workload, CANDIDATE: choices.picked[workload], "tirx.is_scheduled": True}

        for gv, function in mod.functions.items():
            if not isinstance(function, tvm.tirx.PrimFunc) or compat_gpu.is_host_function(function):
                continue
            if odd := odd_type(function):
                refused[gv.name_hint] = odd
                continue
            chain, how = elementwise(function, self.chip), "elements"
            if not isinstance(chain, str):
                pieces, facts = chosen(function, how, chain.schedules())
                new[gv] = chain.kernel(pieces).with_attrs(facts)
            else:
                loops, how = Loops(function, self.chip), "loops"
                if loops.refused:
                    refused[gv.name_hint] = f"{chain}; {loops.refused}" if chain != loops.refused else chain
                    continue
                windows, facts = chosen(function, how, loops.schedules())
                kernel = loops.kernel(windows)
                made = kernel.function.with_attrs(facts)
                if kernel.work:
                    working[gv.name_hint] = replace(kernel, function=made)
                else:
                    new[gv] = made
            notes.places.append(Place(gv.name_hint, "generated", how))
        if new:
            mod = mod.clone()
            mod.update(tvm.IRModule(new))
        mod = with_work(mod, working)
        return host.to_host(mod, refused, self._tvm_target, self._host.tvm_target, notes)

    def generate(self, mod: tvm.IRModule) -> Any:
        calls = calls_of(mod)
        modules = [compat_xpu.plugin_function("library_module")(json.dumps(calls))] if calls else []
        return compat_xpu.build_vm(call_offsets(mod), self._tvm_target, self._compile, modules)

    def _compile(self, mod: tvm.IRModule) -> Any:
        source, kernels = codegen.generate(mod)
        code = toolchain.compile_kernels(source, command=self.xcc, checked=self.checked)
        return compat_xpu.plugin_function("kernel_module")({self.chip.name: code}, json.dumps(kernels), source)

    def program_stages(self, weights: Weights) -> list[Stage]:
        return []

    def build(self, executable: Any, directory: Path) -> bytes:
        return self._host.build(executable, directory)


def _chips(own: str, more: str) -> list[str]:
    """The chips of an artifact, the target's own first."""
    names = [own, *(name.strip() for name in more.split(",") if name.strip())]
    if unknown := [name for name in names if name not in TARGETS]:
        raise TargetError(
            f"there is no chip {', '.join(map(repr, unknown))}", where="option chips", todo=f"use some of: {', '.join(TARGETS)}"
        )
    return list(dict.fromkeys(names))


def _note_refused(found: Plan, notes: Notes) -> None:
    """What the library does not do, and why: once for each reason."""
    reasons: dict[str, int] = {}
    for why in found.refused.values():
        for reason in filter(None, why):
            reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in reasons.items():
        notes.add("xpu-library", reason if count == 1 else f"{reason} ({count} times)")


class K200(XpuTarget):
    """KunlunXin K200."""

    name, chip_name = "xpu/k200", "k200"


class R200(XpuTarget):
    """KunlunXin R200."""

    name, chip_name = "xpu/r200", "r200"


class Kl3(XpuTarget):
    """The third generation, KL3."""

    name, chip_name = "xpu/kl3", "kl3"


TARGETS: dict[str, type[XpuTarget]] = {cls.chip_name: cls for cls in (K200, R200, Kl3)}

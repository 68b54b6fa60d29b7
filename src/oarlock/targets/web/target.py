"""WebTarget: the CPU's kernels for WebAssembly: a module of kernels, and a plan of what to call, or a program where sizes are dynamic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tvm

from ... import compat
from ...errors import TargetError, UnsupportedError
from ...kernels import Choices
from ...rules.weights import Weights
from ...web_variants import VARIANTS
from ..base import Notes, Refusal, Search, Stage, Target
from ..cpu import CpuTarget
from ..cpu.aot import NotStatic
from . import module
from .plan import PLAN, plan_of
from .program import program_of

TRIPLE = "wasm32-unknown-unknown"


class WebTarget(Target):
    """WebAssembly in browsers and in Node.

    ``variant``: what the engine must have: "plain" (nothing), "simd128" (every browser since 2023) or "relaxed-simd" (fused
    multiply-add where the machine has it); both also as "…-threads", whose loops run on several threads where the page allows it.
    ``describe``: the plan tells what each kernel takes and gives, for tools.
    """

    name = "web"
    tuned_by = "oarlock web tune"

    def __init__(self, *, variant: str = "simd128", describe: bool | str = False) -> None:
        if variant not in VARIANTS:
            raise TargetError(f"variant must be one of {', '.join(VARIANTS)}, not {variant!r}", where="target web")
        self.variant = variant
        self._describe = str(describe) in ("True", "true", "1")
        self.threads = VARIANTS[variant].threads
        features = VARIANTS[variant].features
        self._cpu = CpuTarget(threads=self.threads, mcpu="generic", mtriple=TRIPLE, mattr=features, libraries="none")

    @property
    def options(self) -> Mapping[str, Any]:
        return {"variant": self.variant}

    @property
    def tvm_target(self) -> tvm.target.Target:
        return self._cpu.tvm_target

    @property
    def runtime(self) -> Mapping[str, Any]:
        return {"device": "web", "threads": self.threads}

    @property
    def record_key(self) -> tuple[str, str]:
        return f"web {self.variant} threads={self.threads}", f"web {self.variant}"

    def refusals(self, mod: tvm.IRModule) -> list[Refusal]:
        return self._cpu.refusals(mod)

    def graph_stages(self, choices: Choices) -> list[Stage]:
        return self._cpu.graph_stages(choices)

    def fusion_stages(self, choices: Choices) -> list[Stage]:
        return self._cpu.fusion_stages(choices)

    def kernel_stages(self, choices: Choices) -> list[Stage]:
        return self._cpu.kernel_stages(choices)

    @property
    def search(self) -> Search:
        return self._cpu.search

    def program_stages(self, weights: Weights) -> list[Stage]:
        def plan(mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
            arrays, types = weights.arrays, weights.types
            try:
                return plan_of(mod, weights, self._describe)
            except NotStatic as reason:
                if self._describe:
                    what = f"kernels are told apart step by step where all sizes are known and nothing branches: main has {reason}"
                    raise UnsupportedError(what, where="target web", todo="fix the sizes of the inputs (--shape)") from reason
                weights.arrays, weights.types = arrays, types  # as they were: the plan may have packed them
                return program_of(mod, weights)

        return [Stage("web-plan", plan)]

    def generate(self, mod: tvm.IRModule) -> Any:
        if self.threads == 1:  # kernels that no schedule touches have parallel loops of their own
            mod = tvm.IRModule({gv: compat.one_thread(f) for gv, f in mod.functions.items()}, attrs=mod.attrs)
        return compat.build_kernels(mod, self.tvm_target), [gv.name_hint for gv in mod.get_global_vars()], str(mod.attrs[PLAN])

    def build(self, executable: Any, directory: Path) -> bytes:
        kernels, exports, plan = executable
        path = directory / "kernels.o"
        kernels.write_to_file(str(path))
        return module.with_section(module.link(path, exports, shared=self.threads > 1), PLAN, plan.encode())

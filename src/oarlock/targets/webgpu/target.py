"""WebGpuTarget: the schedules of targets for GPUs within WebGPU's limits, and a plan of what to launch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tvm

from ... import compat_webgpu
from ...errors import UnsupportedError
from ...kernels import Choices
from ...rules.weights import Weights
from ..base import Notes, Refusal, Stage, Target
from ..cpu.aot import Dynamic, NotStatic
from ..gpu import rewrite_operators, schedule_module
from .narrow import NotWgsl
from .plan import PLAN, Shaders, plan_of

THREADS, SHARED_BYTES = 256, 16384  # what every device of WebGPU has at least


class WebGpuTarget(Target):
    """GPUs through WebGPU, in browsers.  Models are compiled without one.

    ``describe``: the plan tells what each kernel takes and gives, for tools.
    """

    name = "webgpu"

    def __init__(self, *, describe: bool | str = False) -> None:
        self._describe = str(describe) in ("True", "true", "1")
        self._tvm_target = compat_webgpu.webgpu_target(THREADS, SHARED_BYTES)

    @property
    def options(self) -> Mapping[str, Any]:
        return {}

    @property
    def tvm_target(self) -> tvm.target.Target:
        return self._tvm_target

    @property
    def runtime(self) -> Mapping[str, Any]:
        return {"device": "webgpu"}

    @property
    def record_key(self) -> tuple[str, str]:
        return self.name, self.name

    def refusals(self, mod: tvm.IRModule) -> list[Refusal]:
        return []  # what cannot be WGSL is known, and named, only when the kernels are there

    def graph_stages(self, choices: Choices) -> list[Stage]:
        return [Stage("webgpu-operators", lambda mod, notes: rewrite_operators(mod))]

    def kernel_stages(self, choices: Choices) -> list[Stage]:
        def schedule(mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
            return schedule_module(mod, self._tvm_target, choices, notes, self.name, windows=True)

        return [Stage("webgpu-schedule", schedule)]

    def program_stages(self, weights: Weights) -> list[Stage]:
        def plan(mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
            try:
                return plan_of(mod, weights, self._describe)
            except Dynamic as reason:
                raise UnsupportedError(
                    f"WebGPU runs models whose sizes are all known when they are compiled: main has {reason}",
                    where="target webgpu",
                    todo="fix the sizes of the inputs (--shape x=1,3,224,224)",
                ) from reason
            except (NotStatic, NotWgsl) as reason:
                raise UnsupportedError(f"WebGPU cannot run this model: main has {reason}", where="target webgpu") from reason

        return [Stage("webgpu-plan", plan)]

    def generate(self, mod: tvm.IRModule) -> Any:
        """The plan with its shaders, as JSON; UnsupportedError names every kernel that cannot be WGSL."""
        plan = json.loads(str(mod.attrs[PLAN]))
        shaders = Shaders(self._tvm_target, THREADS, SHARED_BYTES)
        refused = []
        for gv, function in sorted(mod.functions.items(), key=lambda item: int(item[0].name_hint.removeprefix("k"))):
            kernel = plan["kernels"][int(gv.name_hint.removeprefix("k"))]
            try:
                kernel |= shaders.kernel(gv.name_hint, function)
            except NotWgsl as reason:
                refused.append(f"    {kernel['name']}: {reason}")
        if refused:
            raise UnsupportedError(
                "kernels of this model cannot be WGSL:\n" + "\n".join(refused),
                where="target webgpu",
                todo="run the model as WebAssembly (the other variants of oarlock web build)",
            )
        return json.dumps(plan | shaders.facts(plan), separators=(",", ":"))

    def build(self, executable: Any, directory: Path) -> bytes:
        return executable.encode()

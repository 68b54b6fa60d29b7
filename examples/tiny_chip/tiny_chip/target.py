"""The target "tiny": products by the library, chains of elementwise functions generated, the rest on the host."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import tvm

from oarlock import compat_gpu
from oarlock.kernels import Choices
from oarlock.kernels.choice import SCHEDULE
from oarlock.targets import Notes, Place, Refusal, Stage, Target
from oarlock.targets.cpu import CpuTarget
from oarlock_xpu import compat_xpu, native
from oarlock_xpu.chips import Chip
from oarlock_xpu.compiler import codegen, host
from oarlock_xpu.compiler.elements import elementwise
from oarlock_xpu.compiler.engine import Fusion, Rule, plan
from oarlock_xpu.compiler.graph import Graph, Node, static_shape
from oarlock_xpu.compiler.rewrite import PREFIX, apply_plan, calls_of
from oarlock_xpu.compiler.rules.after import is_vector

from . import device

CHIP = Chip("tiny", "Tiny", 1, 4, 0, 1, 4096, 0, 0, 0, 1 << 30, 1.0, 1.0, 100.0, 1.0, 0.1, 0.1, 0.1, 1.0, 1.0, 1.0)


def product(graph: Graph, node: Node) -> Fusion | str:
    """matmul(x, constant) + bias → fc(x, w, bias)"""
    x, w = node.call.args
    if len(static_shape(w) or []) != 2:
        return "only products by a constant matrix are in the library"
    add = node.only_user
    if add is not None and add.name == "add" and is_vector(add.call.args[1], static_shape(w)[1], 1):
        return Fusion("fc", (node, add), {"x": x, "w": w, "bias": add.call.args[1]})
    return Fusion("fc", (node,), {"x": x, "w": w})


class Tiny(Target):
    """The example's chip."""

    name, options, record_key = "tiny", {}, ("tiny", "tiny")
    tvm_target = runtime = None

    def __init__(self) -> None:
        self._host = CpuTarget(threads=1, executor="vm", libraries="none")
        self.tvm_target = compat_xpu.xpu_target("tiny", self._host.tvm_target)
        self.runtime = {**self._host.runtime, "device": "tiny"}

    def refusals(self, mod: tvm.IRModule) -> list[Refusal]:
        device.load()
        return []

    def provides(self, name: str) -> bool:
        return name.startswith(PREFIX) or name in (host.TO_HOST, host.TO_DEVICE)

    def graph_stages(self, choices: Choices) -> list[Stage]:
        return [Stage("tiny-library", self._use_library)]

    def _use_library(self, mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
        found = plan(Graph(mod), [Rule("product", ("matmul",), product)])
        notes.places += [Place(" + ".join(n.name for n in f.nodes), "library", f.api) for f in found.fusions.values()]
        return apply_plan(mod, found)

    def kernel_stages(self, choices: Choices) -> list[Stage]:
        return [Stage("tiny-kernels", self._make_kernels)]

    def _make_kernels(self, mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
        functions = {gv: f for gv, f in mod.functions.items() if isinstance(f, tvm.tirx.PrimFunc) and not compat_gpu.is_host_function(f)}
        found = {gv: elementwise(f, CHIP) for gv, f in functions.items()}
        first = {gv: c.kernel(next(iter(c.schedules().values()))) for gv, c in found.items() if not isinstance(c, str)}
        kernels = {gv: made.with_attrs({SCHEDULE: "elements", "tirx.is_scheduled": True}) for gv, made in first.items()}
        mod = mod.clone()
        mod.update(tvm.IRModule(kernels))
        notes.places += [Place(gv.name_hint, "generated", "elements") for gv in kernels]
        why = {gv.name_hint: reason for gv, reason in found.items() if isinstance(reason, str)}
        return host.to_host(mod, why, self.tvm_target, self._host.tvm_target, notes)

    def generate(self, mod: tvm.IRModule) -> Any:
        library = tvm.get_global_func("tiny.library")(json.dumps(calls_of(mod)))
        return compat_xpu.build_vm(mod, self.tvm_target, self._compile, [library])

    def _compile(self, mod: tvm.IRModule) -> Any:
        """The chip's compiler is the host's, with a header that says what the words of the dialect mean here."""
        source, kernels = codegen.generate(mod)
        with tempfile.TemporaryDirectory() as folder:
            path, output = Path(folder) / "kernels.cc", Path(folder) / "kernels.so"
            path.write_text(source)
            include = f"-I{device.SOURCE.parent / 'include'}"
            native.run([native.compiler(), "-std=c++17", "-O2", "-fPIC", "-shared", "-w", include, str(path), "-o", str(output)], "kernels")
            return tvm.get_global_func("tiny.kernels")(output.read_bytes(), json.dumps(kernels))

    def build(self, executable: Any, directory: Path) -> bytes:
        return self._host.build(executable, directory)

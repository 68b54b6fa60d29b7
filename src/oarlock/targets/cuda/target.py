"""CudaTarget: options, stages, and the compilation of the kernels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tvm

from ... import compat_cuda
from ...errors import TargetError
from ...kernels import Choices
from ...rules.weights import Weights
from ...runtime import cuda_code
from ..base import Notes, Refusal, Stage, Target
from ..cpu import CpuTarget
from ..gpu import rewrite_operators, schedule_module
from . import products
from .calls import check_device_calls
from .nvrtc import nvrtc
from .workspaces import lift_workspaces

_ARCH = re.compile(r"sm_(\d{2,3})[af]?")

# Faster and less exact forms that TVM or NVRTC would take: the functions that they stand for, by which Paddle's numbers are met.
_EXACT = "".join(f"#define __{name} {name}\n" for name in ("expf", "exp10f", "logf", "log2f", "log10f", "sinf", "cosf", "tanf", "powf"))
# CUDA's max and min give the number where the other is NaN; the rules of the pipeline count on a comparison, as LLVM makes of them.
_EXTREMES = """template <class T> __device__ inline T compared_max(T a, T b) { return a > b ? a : b; }
template <class T> __device__ inline T compared_min(T a, T b) { return a < b ? a : b; }
#define max compared_max
#define min compared_min
"""


class CudaTarget(Target):
    """NVIDIA GPUs.  Models are compiled without one; a GPU, its driver and CUDA's runtime library are needed to run them.

    ``arch``: the compute capability that kernels are made for, "sm_75" or later.
    ``format``: "ptx" runs on GPUs of that capability and every later one, and the driver finishes compiling it when a model is first
    run there; "cubin" is ready at once, and runs on GPUs of the same generation only.
    ``fast_math``: approximate exp, log, pow, … and division, as NVRTC's --use_fast_math has them.
    ``graphs``: kernels whose tensors have the same sizes and places in every run are launched together, as CUDA graphs.
    ``cxx``: the compiler driver that links the host's part, as for the target cpu.
    """

    name = "cuda"

    def __init__(
        self, *, arch: str = "sm_80", format: str = "ptx", fast_math: bool | str = False, graphs: bool | str = True, cxx: str = ""
    ) -> None:
        found = _ARCH.fullmatch(arch) if isinstance(arch, str) else None
        if found is None or int(found[1]) < 75:
            raise TargetError(
                f"{arch!r} is no architecture that CUDA 13 compiles for",
                where="target cuda, option arch",
                todo='use "sm_75" (Turing), "sm_80" (Ampere), "sm_89" (Ada), "sm_90" (Hopper), "sm_100", "sm_120" (Blackwell), …',
            )
        if format not in ("ptx", "cubin"):
            raise TargetError(f'format must be "ptx" or "cubin", not {format!r}', where="target cuda, option format")
        self.arch, self.format = arch, format
        self.fast_math, self.graphs = _flag("fast_math", fast_math), _flag("graphs", graphs)
        self.capability = int(found[1])
        # the host's part launches kernels and computes shapes: code for any CPU of this kind does
        self._host = CpuTarget(threads=1, mcpu=compat_cuda.baseline_cpu(), executor="vm", cxx=cxx)
        self._tvm_target = compat_cuda.cuda_target(arch, self._host.tvm_target)

    @property
    def options(self) -> Mapping[str, Any]:
        return {"arch": self.arch, "format": self.format, "fast_math": self.fast_math, "graphs": self.graphs}

    @property
    def profiling_options(self) -> Mapping[str, Any]:
        return {**self.options, "graphs": False}  # what a graph launches cannot be timed one by one

    @property
    def tvm_target(self) -> tvm.target.Target:
        return self._tvm_target

    @property
    def runtime(self) -> Mapping[str, Any]:
        host = self._host.runtime
        return {
            "device": "cuda",
            "machine": host["machine"],
            "features": host["features"],
            "capability": self.capability,
            "same_generation": self.format == "cubin" or not self.arch[-1].isdigit(),
        }

    @property
    def record_key(self) -> tuple[str, str]:
        return f"{self.name} {self.arch}", f"{self.name} sm_{self.capability // 10}x"

    def refusals(self, mod: tvm.IRModule) -> list[Refusal]:
        # what the kernels are compiled with is looked at before the work, not after it
        if self.capability not in (known := nvrtc().architectures()):
            raise TargetError(
                f"the installed NVRTC does not compile for {self.arch}",
                where="target cuda, option arch",
                todo=f"use one of: {', '.join(f'sm_{number}' for number in known)}",
            )
        return []  # what cannot be scheduled is known, and named, only when the kernels are there

    def graph_stages(self, choices: Choices) -> list[Stage]:
        return [Stage("cuda-operators", lambda mod, notes: rewrite_operators(mod, sums_first=True))]

    def kernel_stages(self, choices: Choices) -> list[Stage]:
        def schedule(mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
            compat_cuda.load_intrinsics(mod)
            return schedule_module(mod, self._tvm_target, choices, notes, self.name, own=products.candidates)

        return [Stage("cuda-schedule", schedule), Stage("cuda-workspaces", lambda mod, notes: lift_workspaces(mod))]

    def program_stages(self, weights: Weights) -> list[Stage]:
        return [Stage("cuda-check-calls", lambda mod, notes: check_device_calls(mod))]

    def memory_stages(self, weights: Weights) -> list[Stage]:
        if not self.graphs:
            return []
        return [Stage("cuda-graphs", lambda mod, notes: compat_cuda.capture_graphs(mod, len(weights.arrays)))]

    def generate(self, mod: tvm.IRModule) -> Any:
        return compat_cuda.build_vm(mod, self._tvm_target, self.compile_kernels)

    def compile_kernels(self, source: str) -> str:
        """CUDA C++ as TVM generates it → PTX or a cubin, packed for the library."""
        options = ("--use_fast_math",) if self.fast_math else ()
        start = source.find('extern "C"')  # after TVM's own definitions, before the kernels
        text = ("" if self.fast_math else _EXACT) + source[:start] + _EXTREMES + source[start:]
        return cuda_code.pack(nvrtc().compile(text, self.arch, self.format, options), self.format)

    def build(self, executable: Any, directory: Path) -> bytes:
        return self._host.build(executable, directory)


def _flag(name: str, value: bool | str) -> bool:
    if value not in (True, False, "true", "false"):
        raise TargetError(f"{name} must be true or false, not {value!r}", where=f"target cuda, option {name}")
    return value in (True, "true")

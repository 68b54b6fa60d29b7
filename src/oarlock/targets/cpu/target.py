"""CpuTarget: options, stages and the link step."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tvm

from ... import compat
from ...errors import TargetError
from ...kernels import Choices
from ...rules.weights import Weights
from ...runtime.libraries import KNOWN
from ...runtime.machine import cpu_features, default_threads
from ..base import Notes, Refusal, Search, Stage, TakesIntegers, Target
from . import dots, onednn, words
from .aot import Dynamic, NotStatic, compile_ahead
from .joining import join_readers
from .layout import rewrite_layouts
from .machine import Machine
from .rows import rewrite_rows
from .schedule import finish_searched, schedule_module, space

ANNOUNCE = "oarlock_loop"  # the function of threads.c that parallel loops call first
_THREADS = Path(__file__).with_name("threads.c")
_COMPILERS = ("c++", "g++", "clang++", "cc", "gcc", "clang")

# The LLVM features that generated code uses → the Linux kernel's names of them, by which the runtime knows the machine.
_KERNEL_NAMES = {
    "sse4.1": "sse4_1",
    "avx": "avx",
    "f16c": "f16c",
    "fma": "fma",
    "bmi2": "bmi2",
    "avx2": "avx2",
    "avxvnni": "avx_vnni",
    "avx512f": "avx512f",
    "avx512bw": "avx512bw",
    "avx512dq": "avx512dq",
    "avx512vl": "avx512vl",
    "avx512vbmi": "avx512vbmi",
    "avx512vnni": "avx512_vnni",
    "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
    "neon": "asimd",
    "dotprod": "asimddp",
    "i8mm": "i8mm",
    "sve": "sve",
}


# … of those that LLVM does not use by itself: only kernels of narrow operands do
_TILE_NAMES = {"amx-tile": "amx_tile", "amx-bf16": "amx_bf16", "amx-int8": "amx_int8"}


# LLVM's tuning of Intel's servers, for programs with few vectors; kernels are full of them, also those that LLVM makes vectors of
_NARROW = "prefer-256-bit"


class CpuTarget(Target):
    """Any CPU that LLVM knows.

    ``threads``: kernels are made for this many threads (1 = no parallel loops); default: the physical cores of this process.
    ``mcpu``: an LLVM CPU name ("x86-64-v3", "znver4", "cortex-a76"), or "native" for the machine that compiles.
    ``mtriple``: an LLVM triple for cross compilation; default: this machine's.  ``mattr``: more LLVM features ("+avx2,+fma", or a tuple).
    ``precision``: "float32"; "bfloat16" for products and convolutions of float32 tensors on operands rounded to bfloat16, summed in
    float32 (faster, less exact; needs AVX512-BF16); "int8" for those of quantised models on their integers (needs AVX-VNNI), which
    "float32" computes as Paddle does, on floats that hold integers.  Both use AMX where the CPU has it.
    ``libraries``: names of the kernel libraries whose kernels may be chosen where measurements say so, and the library is installed:
    "onednn", or "none"; a model that got such a kernel needs the library where it runs.
    ``executor``: "aot" makes one native function of a model whose sizes follow from its inputs' (others stay VM programs), "vm" never, so
    that a profile sees each kernel.  ``cxx``: the compiler driver that links the shared library; default: $CXX, then the first found
    in PATH.
    """

    name = "cpu"
    host_calls = True
    traceable = True

    def __init__(
        self,
        *,
        threads: int | None = None,
        mcpu: str = "native",
        mtriple: str = "",
        mattr: tuple[str, ...] | str = (),
        precision: str = "float32",
        libraries: Sequence[str] | str = ("onednn",),
        executor: str = "aot",
        cxx: str = "",
    ) -> None:
        if threads is None:
            threads = default_threads()
        if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= 1024:
            raise TargetError(f"threads must be a whole number from 1 to 1024, not {threads!r}", where="target cpu")
        if executor not in ("aot", "vm"):
            raise TargetError(f'executor must be "aot" or "vm", not {executor!r}', where="target cpu")
        if precision not in dots.PRECISIONS:
            known = ", ".join(f'"{p}"' for p in dots.PRECISIONS)
            raise TargetError(f"precision must be one of {known}, not {precision!r}", where="target cpu")
        self.threads, self.executor, self.precision, self.libraries = threads, executor, precision, _names(libraries)
        triple = mtriple or compat.llvm_host_triple()
        cpu = compat.llvm_host_cpu() if mcpu == "native" else mcpu
        if not compat.llvm_knows_cpu(cpu, triple):
            raise TargetError(
                f"LLVM knows no CPU {cpu!r} for {triple}",
                where="target cpu, option mcpu",
                todo='use "native", "x86-64-v2", "x86-64-v3", or another name of `clang --print-supported-cpus`',
            )
        features = tuple(filter(None, mattr.split(","))) if isinstance(mattr, str) else tuple(mattr)
        self.mcpu, self.mtriple, self.mattr, self.cxx = cpu, triple, features, cxx
        spec: dict[str, Any] = {"kind": "llvm", "mcpu": cpu, "num-cores": threads}
        if mtriple:
            spec["mtriple"] = mtriple
        if features:
            spec["mattr"] = list(features)
        self._tvm_target = tvm.target.Target(spec)
        if _NARROW in compat.llvm_features(self._tvm_target):
            spec["mattr"] = [*features, f"-{_NARROW}"]
            self._tvm_target = tvm.target.Target(spec)
        self._spec = spec
        # LLVM tells what the CPU has; what the system lets programs use may be less
        here = cpu_features() if mcpu == "native" and not mtriple else frozenset(_TILE_NAMES.values())
        missing = frozenset(feature for feature, name in _TILE_NAMES.items() if name not in here)
        machine = Machine.of(self._tvm_target, threads, precision, missing)
        # where another machine's code is made, its libraries are not here
        wanted = triple == compat.llvm_host_triple() and "onednn" in self.libraries
        self._onednn = onednn.headers() if wanted else None
        self.machine = replace(machine, libraries=("onednn",)) if self._onednn else machine
        narrow = self.machine.narrow
        if narrow and not set(narrow.features) & compat.llvm_features(self._tvm_target):
            raise TargetError(
                f"the CPU {cpu} has no instructions for {precision} ({' or '.join(narrow.features)})",
                where="target cpu, option precision",
                todo='leave it at "float32", or name a CPU that has them (mcpu=znver4, sapphirerapids)',
            )

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            "threads": self.threads,
            "mcpu": self.mcpu,
            "mtriple": self.mtriple,
            "mattr": list(self.mattr),
            "precision": self.precision,
            "libraries": list(self.libraries),
            "executor": self.executor,
        }

    @property
    def profiling_options(self) -> Mapping[str, Any]:
        # the linker is named only where someone chose one: a subclass need not know the option
        return {**self.options, "executor": "vm", **({"cxx": self.cxx} if self.cxx else {})}

    @property
    def tvm_target(self) -> tvm.target.Target:
        return self._tvm_target

    @property
    def runtime(self) -> Mapping[str, Any]:
        has = compat.llvm_features(self._tvm_target)
        names = _KERNEL_NAMES
        if self.machine.narrow and self.machine.narrow.operand in self.machine.tile_registers:
            tiles = dots.TILE_REGISTERS[self.machine.narrow.operand]
            names = names | {name: _TILE_NAMES[name] for name in ("amx-tile", tiles)}
        features = sorted(name for llvm_name, name in names.items() if llvm_name in has)
        machine = (self.mtriple or compat.llvm_host_triple()).split("-")[0]
        return {"device": "cpu", "machine": machine, "threads": self.threads, "features": features}

    def libraries_of(self, schedules: Collection[str]) -> list[str]:
        return [name for name in self.machine.libraries if name in schedules]

    def refusals(self, mod: tvm.IRModule) -> list[Refusal]:
        return []  # everything that Relax can say compiles for a CPU; packed functions are checked by the pipeline

    @property
    def record_key(self) -> tuple[str, str]:
        features = "".join(f" {feature}" for feature in self.mattr)
        machine, way = self.machine, "serial" if self.threads == 1 else "parallel"
        halves = " in halves" if machine.halves else ""
        family = f"{self.name} {machine.vector_bits} bits{halves} x {machine.registers} {way}"
        return f"{self.name} {self.mcpu}{features} threads={self.threads}", family

    @property
    def integer_products(self) -> TakesIntegers | None:
        return words.pays if self.precision == "int8" else None

    def graph_stages(self, choices: Choices) -> list[Stage]:
        def layouts(mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
            return rewrite_layouts(mod, self.machine, choices)

        def row_kernels(mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
            return rewrite_rows(mod, self.machine)

        # layouts first: they decide which axes of a reduction are the trailing ones
        return [Stage("cpu-layouts", layouts), Stage("cpu-rows", row_kernels)]

    def fusion_stages(self, choices: Choices) -> list[Stage]:
        # in trials, kernels of one workload must do one job, whoever makes them
        return [] if choices.trial else [Stage("cpu-join-readers", lambda mod, notes: join_readers(mod))]

    def kernel_stages(self, choices: Choices) -> list[Stage]:
        def schedule(mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
            return schedule_module(mod, self.machine, choices, notes)

        return [Stage("cpu-schedule", schedule)]

    @property
    def search(self) -> Search:
        machine = self.machine
        return Search(
            lanes=machine.lanes("float32"),
            threads=self.threads,
            finish=lambda function: finish_searched(function, machine),
            spaces=lambda schedule: space.schedules(schedule, machine),
            fits=lambda schedule: space.fits(schedule, machine),
        )

    def program_stages(self, weights: Weights) -> list[Stage]:
        def ahead_of_time(mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
            try:
                return compile_ahead(mod, weights)
            except Dynamic:
                return mod
            except NotStatic as reason:
                notes.add("cpu-ahead-of-time", f"the model stays a VM program: main has {reason}")
                return mod

        return [Stage("cpu-ahead-of-time", ahead_of_time)] if self.executor == "aot" else []

    def unoptimised(self) -> CpuTarget | None:
        if self.machine.narrow and self.machine.narrow.operand in self.machine.tile_registers:
            return None  # LLVM lays out tiles of registers as it optimises
        other = copy.copy(self)
        other._tvm_target = tvm.target.Target({**self._spec, "opt-level": 0})
        return other

    def generate(self, mod: tvm.IRModule) -> Any:
        triple = self.mtriple or compat.llvm_host_triple()
        # without the call, loops run on TVM's pool: threads.c is written for Linux
        return compat.build_vm(mod, self.tvm_target, announce=ANNOUNCE if "linux" in triple else "")

    def build(self, executable: Any, directory: Path) -> bytes:
        compiler = self.compiler()
        path = directory / "library.so"
        try:
            executable.export_library(str(path), fcompile=_linker(compiler, self._onednn))
        except subprocess.CalledProcessError as e:
            text = e.output.decode(errors="replace") if isinstance(e.output, bytes) else str(e.output)
            raise TargetError(f"{compiler} failed to link the library:\n{text.strip()}", where="target cpu") from e
        return path.read_bytes()

    def compiler(self) -> str:
        """The compiler driver to link with.  Raises TargetError when there is none."""
        wanted = self.cxx or os.environ.get("CXX", "")
        for name in (wanted,) if wanted else _COMPILERS:
            if found := shutil.which(name):
                return found
        raise TargetError(
            f"the C++ compiler {wanted!r} is not there" if wanted else f"no C++ compiler found (looked for {', '.join(_COMPILERS)})",
            where="target cpu: linking the compiled kernels into a shared library",
            todo="install one (apt install g++, or clang), or name it by the option cxx or the environment variable CXX",
        )


def _linker(compiler: str, headers: Path | None) -> Any:
    """What export_library calls with (output, object files, …): links without TVM's own search for a compiler.

    ``headers``: oneDNN's, for the binding of kernels that call it.
    """

    def link(output: str, objects: list[str], **_: Any) -> None:
        more: list[str] = []
        if headers and any(onednn.SYMBOL.encode() in Path(o).read_bytes() for o in objects):
            binding = f"{output}.onednn.o"
            _run(onednn.compile_command(compiler, headers, binding))
            more = [binding, "-ldl", "-lpthread"]  # these were no part of the C library before glibc 2.34
        if any(ANNOUNCE.encode() in Path(o).read_bytes() for o in objects):
            # last: -x, for drivers that would take it for C++, holds for all that follows
            more += ["-pthread", "-std=gnu11", "-x", "c", str(_THREADS)]
        _run([compiler, "-shared", "-fPIC", "-O2", "-o", output, *objects, *more])

    return link


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _names(libraries: Sequence[str] | str) -> tuple[str, ...]:
    """The kernel libraries that an option names."""
    names = tuple(filter(None, libraries.split(","))) if isinstance(libraries, str) else tuple(libraries)
    if names == ("none",):
        return ()
    if unknown := [name for name in names if name not in KNOWN]:
        what = f'libraries must be "none" or of {", ".join(KNOWN)}, not {", ".join(map(str, unknown))}'
        raise TargetError(what, where="target cpu, option libraries")
    return names

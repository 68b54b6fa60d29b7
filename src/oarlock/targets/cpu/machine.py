"""What the schedules need to know of a CPU: vector width, registers, threads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import tvm

from ... import compat
from . import dots

# WebAssembly's vectors do a quarter as much in the same time, and a loop that is shared costs no more (docs/web-threads.md).  What only
# reads and writes is as fast as elsewhere: it starts as late.
EARLY = 4
_HALVES = ("znver4",)  # LLVM's names of the CPUs that have vectors of 512 bits and units of 256


@dataclass(frozen=True)
class Machine:
    """``vector_bits``: width of the widest vectors; ``registers``: how many of them; ``threads``: 1 = no parallel loops.

    ``precision``: the target's option: which products take narrower operands (dots.PRECISIONS).
    ``halves``: whether it works on a vector of full width in two halves, so that one of half the width takes half the time.
    ``flushes``: whether it computes with denormal numbers slowly, and can take them as 0 (state.py).
    ``tile_registers``: the narrow operands that it has tile registers for (amx.py).
    ``libraries``: the kernel libraries that may be candidates.
    ``spreads``: whether an element that multiplies several vectors is held in a register of its own, those of all rows at once
    (engines of WebAssembly load them before they multiply).
    ``fuses``: whether it has an instruction for x · y + z with one rounding.
    ``early``: products are shared by threads from that many times less work on than where vectors are a server's.
    """

    vector_bits: int
    registers: int
    threads: int
    precision: str = "float32"
    tile_registers: frozenset[str] = frozenset()
    flushes: bool = False
    halves: bool = False
    libraries: tuple[str, ...] = ()
    spreads: bool = False
    early: int = 1
    fuses: bool = False

    @staticmethod
    def of(target: tvm.target.Target, threads: int, precision: str, without: frozenset[str] = frozenset()) -> Machine:
        """``without``: LLVM features that the target's CPU has, but not this machine."""
        features = compat.llvm_features(target) - without
        if "wasm" in str(target.attrs.get("mtriple", "")):
            # engines keep one of x86's sixteen registers to themselves; without vectors, numbers are held one by one
            return Machine(128 if "simd128" in features else 32, 15, threads, precision, spreads=True, early=EARLY)
        found = Machine._vectors(features, threads, precision)
        tiles = frozenset(t for t, f in dots.TILE_REGISTERS.items() if {"amx-tile", f} <= features)
        halves, fuses = str(target.attrs.get("mcpu", "")) in _HALVES, bool(features & {"fma", "avx512f", "neon"})
        return replace(found, tile_registers=tiles, flushes="sse2" in features, halves=halves, fuses=fuses)

    @staticmethod
    def _vectors(features: frozenset[str], threads: int, precision: str) -> Machine:
        if "avx512f" in features:
            # also where LLVM's tuning prefers 256 bits (Intel's servers): that is for code with few vectors, kernels are full of them
            return Machine(512, 32, threads, precision)
        if "avx" in features:
            return Machine(256, 16, threads, precision)
        if "neon" in features:
            return Machine(128, 32, threads, precision)
        return Machine(128, 16, threads, precision)

    def shares(self, work: int, least: int) -> bool:
        """Whether a loop of so much work runs on several threads; ``least``: from how much on it pays, beside what it costs to share it."""
        return self.threads > 1 and work * self.early >= least

    @property
    def narrow(self) -> dots.Narrow | None:
        """Which products take narrower operands, and which."""
        return dots.PRECISIONS[self.precision]

    def lanes(self, dtype: str) -> int:
        """How many elements of ``dtype`` a vector holds (at least 1)."""
        bits = 8 if dtype == "bool" else int(tvm.DataType(dtype).bits)
        return max(1, self.vector_bits // bits)

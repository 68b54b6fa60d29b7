"""What the schedules need to know of a CPU: vector width, registers, threads."""

from __future__ import annotations

from dataclasses import dataclass

import tvm

from ... import compat
from . import dots


@dataclass(frozen=True)
class Machine:
    """``vector_bits``: width of the widest vectors; ``registers``: how many of them; ``threads``: 1 = no parallel loops.

    ``precision``: the target's option: which products take narrower operands (dots.PRECISIONS).
    ``libraries``: the kernel libraries that may be candidates.
    """

    vector_bits: int
    registers: int
    threads: int
    precision: str = "float32"
    libraries: tuple[str, ...] = ()

    @staticmethod
    def of(target: tvm.target.Target, threads: int, precision: str) -> Machine:
        features = compat.llvm_features(target)
        if "avx512f" in features:
            # also where LLVM's tuning prefers 256 bits (Intel's servers): that is for code with few vectors, kernels are full of them
            return Machine(512, 32, threads, precision)
        if "avx" in features:
            return Machine(256, 16, threads, precision)
        if "neon" in features:
            return Machine(128, 32, threads, precision)
        return Machine(128, 16, threads, precision)

    @property
    def narrow(self) -> dots.Narrow | None:
        """Which products take narrower operands, and which."""
        return dots.PRECISIONS[self.precision]

    def lanes(self, dtype: str) -> int:
        """How many elements of ``dtype`` a vector holds (at least 1)."""
        bits = 8 if dtype == "bool" else int(tvm.DataType(dtype).bits)
        return max(1, self.vector_bits // bits)

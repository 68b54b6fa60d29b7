"""What the schedules need to know of a CPU: vector width, registers, threads."""

from __future__ import annotations

from dataclasses import dataclass

import tvm

from ... import compat


@dataclass(frozen=True)
class Machine:
    """``vector_bits``: width of the widest vectors; ``registers``: how many of them; ``threads``: 1 = no parallel loops.

    ``operands``: what products of float32 tensors take their operands as.
    """

    vector_bits: int
    registers: int
    threads: int
    operands: str = "float32"

    @staticmethod
    def of(target: tvm.target.Target, threads: int, operands: str) -> Machine:
        features = compat.llvm_features(target)
        if "avx512f" in features:
            # CPUs whose LLVM tuning prefers 256-bit vectors split wider ones, but keep the 32 registers of AVX-512
            return Machine(256 if "prefer-256-bit" in features else 512, 32, threads, operands)
        if "avx" in features:
            return Machine(256, 16, threads, operands)
        if "neon" in features:
            return Machine(128, 32, threads, operands)
        return Machine(128, 16, threads, operands)

    def lanes(self, dtype: str) -> int:
        """How many elements of ``dtype`` a vector holds (at least 1)."""
        bits = 8 if dtype == "bool" else int(tvm.DataType(dtype).bits)
        return max(1, self.vector_bits // bits)

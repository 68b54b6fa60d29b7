"""The CPU target: NHWC convolutions and matmuls on packed weights, and schedules of our own for LLVM."""

from .target import CpuTarget

__all__ = ["CpuTarget"]

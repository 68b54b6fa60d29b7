"""The schedule library of the CPU: one file a family of kernels, tried in order; a kernel that none takes stays as it is."""

from .dispatch import schedule_module

__all__ = ["schedule_module"]

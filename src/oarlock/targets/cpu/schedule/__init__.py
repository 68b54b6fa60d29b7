"""The schedule library of the CPU: one file a family of kernels, tried in order; a kernel that none takes stays as it is."""

from . import space
from .dispatch import finish_searched, schedule_module

__all__ = ["finish_searched", "schedule_module", "space"]

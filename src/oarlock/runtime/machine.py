"""What this machine has: CPU features, and the threads that kernels should use when nobody says."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path


def default_threads() -> int:
    """TVM_NUM_THREADS or OMP_NUM_THREADS where set, else the physical cores that this process may use."""
    for name in ("TVM_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value) > 0:
            return int(value)
    return physical_cores()


def physical_cores() -> int:
    """How many cores this process may use, hardware threads of one core counted once."""
    cores = {_core_of(cpu) for cpu in os.sched_getaffinity(0)}
    return max(1, min(len(cores), _quota() or len(cores)))


def _core_of(cpu: int) -> str:
    """What the logical CPUs of one physical core have in common."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quota() -> int | None:
    """Whole CPUs that the container's quota allows; None without a quota."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        return None if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return None


@cache
def cpu_features() -> frozenset[str]:
    """The CPU's features by the kernel's names ("avx2", "avx512f", "asimd"); empty when it does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                if key.strip() in ("flags", "Features"):
                    return frozenset(value.split())
    except OSError:
        pass
    return frozenset()


_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA = 158, 0x1023, 18  # Linux on x86-64


@cache
def allow_tile_registers() -> bool:
    """Ask the system to let this process, with all its threads, use AMX's tile registers; False where it refuses.

    They are much to save when threads take turns, so Linux gives them only to those who ask.
    """
    return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA) == 0)

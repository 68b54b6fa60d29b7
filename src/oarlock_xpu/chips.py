"""The chips, from the one table that the emulator has too (native/xpu/runtime/include/xpu/chips.def)."""

from __future__ import annotations

import dataclasses
import functools
import re
from dataclasses import dataclass

from oarlock.errors import TargetError

from . import native


@dataclass(frozen=True)
class Chip:
    """Bytes, counts, 1e9 bytes/s, MHz, µs and 1e12 multiply-adds/s; the table says which numbers are published and which assumed."""

    name: str
    title: str
    clusters: int
    cores: int
    sdnn: int
    max_ptr: int
    lm: int
    sm: int
    sdnn_mem: int
    l3: int
    gm: int
    gm_gbs: float
    l3_gbs: float
    mhz: float
    launch_us: float
    f32: float
    i16: float
    i8: float
    replay_us: float
    move_part: float
    mac_part: float

    @property
    def gm_rate(self) -> float:
        """1e9 bytes a second from and to GDDR that kernels reach."""
        return self.gm_gbs * self.move_part

    @property
    def l3_rate(self) -> float:
        """The same for L3."""
        return self.l3_gbs * self.move_part


@functools.cache
def chips() -> dict[str, Chip]:
    """Every chip by name."""
    path = native.sources() / "runtime" / "include" / "xpu" / "chips.def"
    fields = dataclasses.fields(Chip)
    found = {}
    for row in re.findall(r"^XPU_CHIP\((.*)\)\s*$", path.read_text(encoding="utf-8"), re.MULTILINE):
        values = [value.strip().strip('"') for value in row.split(",")]
        kinds = {"str": str, "int": int, "float": float}
        found[values[0]] = Chip(*(kinds[str(f.type)](v) for f, v in zip(fields, values, strict=True)))
    return found


def chip(name: str) -> Chip:
    """The chip of this name; TargetError for an unknown one."""
    if name not in chips():
        raise TargetError(f"there is no chip {name!r}", todo=f"use one of: {', '.join(chips())}")
    return chips()[name]

"""Targets by name.  Built-in ones stand in this folder; others are found through the entry-point group ``oarlock.targets``."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from ..errors import TargetError
from .base import Notes, Part, Place, Refusal, Search, Stage, Target

__all__ = ["Notes", "Part", "Place", "Refusal", "Search", "Stage", "Target", "get", "names"]

ENTRY_POINTS = "oarlock.targets"
_BUILT_IN = {
    "cpu": "oarlock.targets.cpu:CpuTarget",
    "cuda": "oarlock.targets.cuda:CudaTarget",
    "web": "oarlock.targets.web:WebTarget",
    "webgpu": "oarlock.targets.webgpu:WebGpuTarget",
}


def _sources() -> dict[str, str]:
    found = {e.name: e.value for e in entry_points(group=ENTRY_POINTS)}
    return {**found, **_BUILT_IN}


def names() -> list[str]:
    """The names of all known targets, sorted."""
    return sorted(_sources())


def get(name: str, **options: Any) -> Target:
    """The target called ``name`` with these options.

    Raises TargetError for an unknown name, a target package that does not load, or a wrong option.
    """
    sources = _sources()
    if name not in sources:
        raise TargetError(f"unknown target {name!r}", todo=f"use one of: {', '.join(sorted(sources))}")
    module, _, attribute = sources[name].partition(":")
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as e:
        raise TargetError(f"the package of target {name!r} does not load: {e}", where=sources[name]) from e
    if not (isinstance(cls, type) and issubclass(cls, Target)):
        raise TargetError(f"target {name!r} is not a subclass of oarlock.targets.Target", where=sources[name])
    try:
        return cls(**options)
    except TypeError as e:
        raise TargetError(f"wrong option for target {name!r}: {e}", where=sources[name]) from e

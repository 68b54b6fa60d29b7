"""Oarlock compiles PaddlePaddle models with Apache TVM and runs them without Paddle.

    artifact = oarlock.compile("model/", target="cpu", shapes={"x": (None, 3, None, None)})
    artifact.save("model.oar")
    outputs = oarlock.load("model.oar").run({"x": array})

Names are loaded when they are first used: running an artifact loads no compiler.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import (
    ArtifactError,
    HostCallError,
    InputError,
    InternalError,
    ModelError,
    OarlockError,
    TargetError,
    UnsupportedError,
    UnsupportedOperators,
)

if TYPE_CHECKING:
    from .checking import check
    from .checking.why import why
    from .compiler import compile
    from .kernels.contest import tune
    from .model import Program, load_model
    from .model.write import save_model
    from .ops.registry import operator
    from .profiling.profiler import profile
    from .quantising.quantise import quantize
    from .reporting.diff import Build, diff
    from .reporting.report import report
    from .runtime.artifact import Artifact
    from .runtime.host import host_operator
    from .runtime.session import Session, load

_LAZY = {
    "Artifact": ".runtime.artifact",
    "Program": ".model",
    "Session": ".runtime.session",
    "check": ".checking",
    "Build": ".reporting.diff",
    "compile": ".compiler",
    "diff": ".reporting.diff",
    "host_operator": ".runtime.host",
    "load": ".runtime.session",
    "load_model": ".model",
    "operator": ".ops.registry",
    "profile": ".profiling.profiler",
    "quantize": ".quantising.quantise",
    "report": ".reporting.report",
    "save_model": ".model.write",
    "tune": ".kernels.contest",
    "why": ".checking.why",
}

__all__ = [
    "Artifact",
    "ArtifactError",
    "Build",
    "HostCallError",
    "InputError",
    "InternalError",
    "ModelError",
    "OarlockError",
    "Program",
    "Session",
    "TargetError",
    "UnsupportedError",
    "UnsupportedOperators",
    "__version__",
    "check",
    "compile",
    "diff",
    "host_operator",
    "load",
    "load_model",
    "operator",
    "profile",
    "quantize",
    "report",
    "save_model",
    "tune",
    "why",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name], __name__), name)
    globals()[name] = value  # the next access is a plain one, also where a submodule has the same name
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

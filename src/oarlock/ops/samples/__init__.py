"""Samples: small calls of Paddle's API, a few for each operator.  They feed the tests, the fuzzer and the support table.

    sample("leaky_relu", lambda paddle, x: paddle.nn.functional.leaky_relu(x, 0.3), x=f32(2, 3))

One module a family; each sample is exported by Paddle, imported by Oarlock, and the two are compared (static and dynamic dims).
"""

from __future__ import annotations

import importlib
import pkgutil

from .base import SAMPLES, Sample, sample


def load_all() -> list[Sample]:
    """Every sample of every family."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return SAMPLES


__all__ = ["Sample", "load_all", "sample"]

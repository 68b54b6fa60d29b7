"""``oarlock web tune``: the contest and the searches of oarlock.kernels, their trials run in a browser (docs/web-tune.md)."""

from .tune import tune_in_browser

__all__ = ["tune_in_browser"]

"""Compare with Paddle."""

from .compare import CheckReport, OutputCheck, check

__all__ = ["CheckReport", "OutputCheck", "check"]

"""Helpers of this folder's tests, and those of the contest's, can be imported as plain modules."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("targets", "kernels")]

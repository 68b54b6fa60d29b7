"""Every strategy: importing this registers them."""

from __future__ import annotations

import importlib
from pathlib import Path

from drawing import STRATEGIES

for _file in sorted(Path(__file__).parent.glob("drawn_*.py")):
    importlib.import_module(_file.stem)

__all__ = ["STRATEGIES"]

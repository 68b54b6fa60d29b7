"""A folder that shows a fault by itself: a small Paddle model, its inputs, what Paddle gives, and a script that compares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..inputs import save_npz
from ..model.write import save_model
from ..strictjson import dumps
from .excerpt import Excerpt

_SCRIPT = '''"""{about}

Exit status 0: Oarlock gives what Paddle gave (expected.npz); 1: it does not.
"""
import sys
from pathlib import Path

import numpy as np

import oarlock
from oarlock.checking.compare import compare

here = Path(__file__).parent
model = oarlock.compile(here / "model/inference.json", {target!r}, {shapes!r}, options={options!r})
got = oarlock.Session(model).run(dict(np.load(here / "inputs.npz")))
expected = dict(np.load(here / "expected.npz"))
checks = [compare(name, got[name], expected[name], {tolerance!r}) for name in got]
for check in checks:
    print(f"{{check.name}}: {{'right' if check.ok else check.why}}")
sys.exit(not all(check.ok for check in checks))
'''


def write_reproducer(
    folder: Path, excerpt: Excerpt, about: str, target: str, options: Mapping[str, Any], tolerance: float, facts: Mapping[str, Any]
) -> Path:
    """``folder`` with model/, inputs.npz, expected.npz, reproduce.py and why.json → the script."""
    (folder / "model").mkdir(parents=True, exist_ok=True)
    save_model(excerpt.program, folder / "model/inference")
    save_npz(folder / "inputs.npz", {name: np.asarray(a) for name, a in excerpt.inputs.items()})
    save_npz(folder / "expected.npz", dict(zip(excerpt.program.outputs, excerpt.expected, strict=True)))
    (folder / "why.json").write_text(dumps(facts, indent=1), encoding="utf-8")
    script = folder / "reproduce.py"
    script.write_text(
        _SCRIPT.format(about=about, target=target, shapes=excerpt.shapes, options=dict(options), tolerance=tolerance), encoding="utf-8"
    )
    return script

"""Runs of a built model in Node, by web/run.mjs; for tests and for tools/run_cases_web.py."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

SCRIPT = Path(__file__).parents[1] / "web/run.mjs"


def given(folder: Path, *sets: dict[str, np.ndarray]) -> Path:
    """A folder of inputs, for a run with each set."""
    folder.mkdir(exist_ok=True)
    described = []
    for i, inputs in enumerate(sets):
        for n, array in enumerate(inputs.values()):
            (folder / f"{i}.{n}.bin").write_bytes(np.ascontiguousarray(array).tobytes())
        shapes = {name: {"dtype": str(a.dtype), "shape": list(a.shape)} for name, a in inputs.items()}
        described.append({name: facts | {"file": f"{i}.{n}.bin"} for n, (name, facts) in enumerate(shapes.items())})
    (folder / "sets.json").write_text(json.dumps(described))
    return folder


def in_node(site: Path | str, folder: Path, variant: str = "", *, key: Path | None = None, script: Path = SCRIPT) -> list[dict[str, Any]]:
    """A result for each of the folder's sets of inputs: see web/run.mjs.  ``key``: the file with a protected model's key."""
    command = ["node", str(script), str(site), variant, str(folder), *([] if key is None else [str(key)])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Node: {done.stderr.strip()[-1000:]}")
    return json.loads(done.stdout)


def arrays(result: dict[str, Any]) -> list[np.ndarray]:
    """The outputs of a run, in their order."""
    if "error" in result:
        raise RuntimeError(result["error"])
    return [np.frombuffer(base64.b64decode(t["data"]), t["dtype"]).reshape(t["shape"]) for t in result["outputs"].values()]

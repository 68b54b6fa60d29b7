"""What each kernel of a model makes, as it runs: the memory of its results, by what the model calls them.  Needs no compiler.

Kernels must be called one by one: compile with ``executor="vm"`` for the CPU, ``graphs=False`` for devices (a target's
``profiling_options`` have that).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArtifactError, InputError
from . import dtypes
from .recording import Cursor, given_by, watch
from .session import Session
from .tensors import copied

INDEX = "index.json"


@dataclass(frozen=True)
class Layer:
    """A kernel call of ``main``: its number, its kernel, and the results that it gives.

    ``name``: what the model calls the operation that it gives (that of its first result); ``step``: it is a step of that operation, and
    its results are none of the model's.  ``operators``: of all that it computes.  ``results``: (operation, number among its results) of
    each, None for those that the model has no name for.
    """

    number: int
    kernel: str
    name: str
    operators: str
    results: tuple[tuple[int, int] | None, ...]

    @property
    def step(self) -> bool:
        return not any(self.results)


def layers_of(session: Session) -> list[Layer]:
    """The kernel calls of a session's model, in order.  ArtifactError for an artifact that does not tell them."""
    manifest = session.artifact.manifest
    if "results" not in manifest or manifest.get("options", {}).get("executor") not in (None, "vm"):
        raise ArtifactError(
            "the artifact's kernels are not called one by one, or it does not tell what they are for",
            where=session.artifact.path,
            todo="give the model itself, or compile it again, with --option executor=vm (CPU)",
        )
    if manifest["options"].get("graphs"):
        raise ArtifactError(
            "the artifact's kernels are launched together, as graphs",
            where=session.artifact.path,
            todo="give the model itself, or compile it with --option graphs=false",
        )
    named, calls = manifest["operations"], manifest["calls"]["main"]
    out = []
    for number, ((kernel, operations), results) in enumerate(zip(calls, manifest["results"], strict=True)):
        held = tuple(None if r is None else (int(r[0]), int(r[1])) for r in results)
        first = next((h[0] for h in held if h is not None), operations[-1] if operations else None)
        name = "" if first is None else named[str(first)][1]
        out.append(Layer(number, kernel, name, _words([named[str(n)][0] for n in operations]), held))
    return out


_SIZES = ("full_int_array", "full", "shape64", "shape")  # operators that tell sizes and numbers, and do nothing


def _words(operators: list[str]) -> str:
    return " + ".join([o for o in operators if o not in _SIZES] or operators[-1:])


def run_layers(
    session: Session,
    inputs: Mapping[str, Any],
    take: Callable[[Layer, list[np.ndarray]], None],
    pattern: str = "*",
    begin: Callable[[Layer, list[Any]], None] | None = None,
) -> dict[str, np.ndarray]:
    """Run the model once, and give ``take`` each layer whose name fits ``pattern`` (as of files: * ? [abc]) with copies of its results
    right after its kernel; what a device has is waited for.  Returns the model's results.  ``begin`` gets it before its kernel, with the
    tensors that this will write; of a call of the host, which returns its results, what it reads.

    What loops call counts to nothing; branches that are not taken are passed over.
    """
    layers = layers_of(session)
    cursor = Cursor(session.artifact.manifest)

    def see(name: str, before: bool, result: Any, arguments: tuple[Any, ...]) -> None:
        here = cursor.of_main(name, before)
        if here is None or (before and begin is None) or not fnmatchcase(layers[here].name, pattern):
            return
        given = given_by(result, arguments, len(layers[here].results))
        try:
            if before and begin is not None:
                begin(layers[here], given)
            else:
                take(layers[here], [copied(t) for t in given])
        except OSError as error:
            raise InputError(f"a layer cannot be written: {error.strerror}", where=str(error.filename)) from error

    return watch(session, inputs, see, "a layer cannot be read")


# ---- dumps


def dump_layers(session: Session, inputs: Mapping[str, Any], folder: Path, pattern: str = "*") -> tuple[dict[str, np.ndarray], int]:
    """Run the model and write each layer whose name fits ``pattern`` to a file of its own, NNNN-name.npz with arrays "0", "1", … (its
    results), and an index.json of all of them in order.  Returns the model's results and the number of layers.

    The index: for each layer its number, kernel, name, operators, whether it is a step, the file, and dtypes and shapes.
    InputError when nothing fits the pattern, or the folder cannot be written.
    """
    names = [layer.name for layer in layers_of(session)]
    if not any(fnmatchcase(name, pattern) for name in names):
        shown = ", ".join(list(dict.fromkeys(filter(None, names)))[:5])
        raise InputError(f"no layer has a name like {pattern!r}", todo=f"names are, for example: {shown}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder cannot be made: {error.strerror}", where=str(folder)) from error
    index: list[dict[str, Any]] = []

    def take(layer: Layer, arrays: list[np.ndarray]) -> None:
        file = f"{layer.number:04d}-{_file_name(layer.name or layer.kernel)}.npz"
        np.savez(folder / file, **{str(i): _storable(a) for i, a in enumerate(arrays)})
        index.append(
            {
                "number": layer.number,
                "kernel": layer.kernel,
                "name": layer.name,
                "operators": layer.operators,
                "step": layer.step,
                "file": file,
                "results": [
                    {"dtype": a.dtype.name, "shape": list(a.shape), "holds": h} for a, h in zip(arrays, layer.results, strict=True)
                ],
            }
        )

    outputs = run_layers(session, inputs, take, pattern)
    document = {"target": session.artifact.manifest.get("target"), "pattern": pattern, "layers": index}
    (folder / INDEX).write_text(json.dumps(document, indent=1), encoding="utf-8")
    return outputs, len(index)


def read_layer(folder: Path, entry: Mapping[str, Any]) -> list[np.ndarray]:
    """The results of one layer of a dump's index."""
    with np.load(folder / entry["file"], allow_pickle=False) as archive:
        arrays = [archive[str(i)] for i in range(len(entry["results"]))]
    return [
        a.view(dtypes.numpy_dtype(r["dtype"])) if a.dtype.name != r["dtype"] else a for a, r in zip(arrays, entry["results"], strict=True)
    ]


def read_index(folder: Path) -> Iterator[dict[str, Any]]:
    """The layers of a dump."""
    yield from json.loads((folder / INDEX).read_text(encoding="utf-8"))["layers"]


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-")[-80:] or "layer"


def _storable(array: np.ndarray) -> np.ndarray:
    """npz has no bfloat16: its bits."""
    bits = dtypes.carrier(array.dtype)
    return array if bits is None else array.view(bits)

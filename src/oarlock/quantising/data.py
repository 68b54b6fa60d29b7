"""Examples of a model's input: a folder of .npz files or pictures, one .npz file with many examples, or arrays."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..inputs import image_inputs, npz_inputs
from ..runtime.signature import TensorSpec

Feed = dict[str, np.ndarray]
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Example:
    """``name``: where it comes from; ``read``: its arrays by input, read only when they are needed; ``mark``: another text when what it
    holds is changed."""

    name: str
    read: Callable[[], Feed]
    mark: Callable[[], str] = str


Data = str | os.PathLike[str] | Sequence[Mapping[str, Any]] | Mapping[str, Any]


def examples(data: Data | Iterable[Mapping[str, Any]], specs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[Any]]) -> list[Example]:
    """The examples in ``data``, in order of their names.  InputError when there are none.

    A folder: each .npz file is one example, or each picture is, for a model with one image input.  One .npz file, or arrays by name: each
    array has the examples along its first axis, which is the batch axis or, for arrays with one axis more than the input, one before it.
    """
    if isinstance(data, str | os.PathLike):
        found = _of_path(Path(data), specs, shapes)
    elif isinstance(data, Mapping):
        found = _of_arrays({name: np.asarray(array) for name, array in data.items()}, specs, "data")
    else:
        feeds = [{name: np.asarray(array) for name, array in feed.items()} for feed in data]
        found = [Example(f"data[{i}]", partial(dict, feed), partial(_digest, feed)) for i, feed in enumerate(feeds)]
    if not found:
        raise InputError("there are no examples to calibrate with", where="" if not isinstance(data, str | os.PathLike) else str(data))
    return found


def _of_path(path: Path, specs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[Any]]) -> list[Example]:
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in (*PICTURES, ".npz"))
        if not files:
            raise InputError("no .npz files and no pictures are in this folder", where=str(path), todo="put one file an example there")
        return [Example(f.name, partial(_of_file, f, specs, shapes), partial(_stamp, f)) for f in files]
    if path.suffix.lower() in PICTURES:
        return [Example(path.name, lambda: _of_file(path, specs, shapes), partial(_stamp, path))]
    if not path.exists():
        raise InputError("there is no such file or folder", where=str(path), todo="give a folder, an .npz file, or a picture")
    return [replace(example, mark=partial(_stamp, path)) for example in _of_arrays(npz_inputs(path), specs, str(path))]


def _stamp(path: Path) -> str:
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"


def _digest(feed: Feed) -> str:
    total = hashlib.sha256()
    for name, array in sorted(feed.items()):
        total.update(f"{name} {array.dtype} {array.shape} ".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _of_file(path: Path, specs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[Any]]) -> Feed:
    if path.suffix.lower() == ".npz":
        return npz_inputs(path)
    pictures = [s for s in specs if s.shape is not None and len(s.shape) == 4]
    if len(specs) != 1 or not pictures:
        raise InputError("pictures need a model with one image input", where=str(path), todo="give .npz files with an array for each input")
    return image_inputs(pictures[0], path, shapes.get(pictures[0].name))


def _of_arrays(arrays: Feed, specs: Sequence[TensorSpec], where: str) -> list[Example]:
    missing = [s.name for s in specs if s.name not in arrays]
    if missing:
        raise InputError(f"there is no array for {', '.join(missing)}", where=where, todo=f"the inputs are {', '.join(map(str, specs))}")
    counts, cut = set(), {}
    for spec in specs:
        array, rank = arrays[spec.name], len(spec.shape or ())
        if array.ndim == rank + 1:
            cut[spec.name] = list(array)
        elif array.ndim == rank and rank:
            size = (spec.shape or (1,))[0]
            batch = size if isinstance(size, int) else 1
            if not batch or len(array) % batch:
                raise InputError(f"{len(array)} examples do not fill batches of {batch}", where=f"{where}: {spec}")
            cut[spec.name] = [array[i : i + batch] for i in range(0, len(array), batch)]
        else:
            raise InputError(f"an array of {array.ndim} axes holds no examples of {spec}", where=where)
        counts.add(len(cut[spec.name]))
    if len(counts) > 1:
        raise InputError("the arrays hold different numbers of examples", where=where, todo="give each input as many")

    def example(number: int) -> Feed:
        return {name: np.ascontiguousarray(parts[number]) for name, parts in cut.items()}

    count = counts.pop() if counts else 0
    return [Example(f"[{i}]", partial(example, i), lambda i=i: _digest(example(i))) for i in range(count)]  # type: ignore[misc]


def split(found: Sequence[Example], held_out: int | None) -> tuple[list[Example], list[Example]]:
    """(those to calibrate with, those to judge by): a fifth, spread evenly, is held out (at most 16); one alone serves for both."""
    if len(found) == 1:
        return list(found), list(found)
    count = min(16, max(1, len(found) // 5)) if held_out is None else held_out
    if not 0 < count < len(found):
        raise InputError(f"{count} of {len(found)} examples cannot be held out", todo="hold out at least one, and leave one")
    kept = {(2 * i + 1) * len(found) // (2 * count) for i in range(count)}
    return [e for i, e in enumerate(found) if i not in kept], [e for i, e in enumerate(found) if i in kept]

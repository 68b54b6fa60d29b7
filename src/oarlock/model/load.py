"""``load_model``: find a model's files, tell their format, read them, and bind the weights."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from ..errors import InputError, ModelError
from . import pir
from .normalise import normalise
from .params import bind_combined, bind_separate, inside, map_file
from .program import Program

_GRAPHS = (".json", ".pdmodel")
_PREFERRED = ("inference", "model", "__model__")
_FEW = 10
_FIRST_BYTES = b"\x0a\x22\x2a"
"""Protobuf's keys of the fields of a legacy program: blocks, version, versions of operators."""


def load_model(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview,
    *,
    params: bytes | memoryview | None = None,
) -> Program:
    """Read a Paddle model: PIR ``.json``, legacy ``.pdmodel`` or ``__model__``, with its weights.

    ``source`` is a folder, a graph file, a path without its extension (as ``paddle.jit.save`` takes it), or the graph's
    bytes; with bytes, ``params`` are the bytes of the combined ``.pdiparams``.  Weights are mapped, not copied: the file
    must not be changed while the Program is used.  Raises ModelError when files are missing, damaged, or not Paddle's.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(memoryview(source).cast("B"), params)
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"a model is a path or bytes, not {type(source).__name__}", todo="give a folder, a file, or the bytes of one")
    if params is not None:
        raise InputError("params= goes with the bytes of a graph", todo="put the .pdiparams beside the graph file")
    return _from_path(Path(source))


def _from_bytes(graph: memoryview, weights: bytes | memoryview | None) -> Program:
    where = "the model given as bytes"
    program = _read_graph(graph, where)
    names = _stored(program)
    if names:
        if weights is None:
            raise ModelError(f"the model has {len(names)} parameters, but no weights were given", where=where, todo="give them as params=")
        bind_combined(program.parameters, names, weights, "the weights given as bytes")
    return _finish(program, graph, {"path": "", "params_size": len(memoryview(weights).cast("B")) if weights and names else 0})


def _from_path(path: Path) -> Program:
    graph_path = _find_graph(path)
    graph = map_file(graph_path)
    program = _read_graph(graph, str(graph_path))
    names = _stored(program)
    bound = _bind(program, names, graph_path) if names else {"params": "", "params_size": 0}
    return _finish(program, graph, {"path": str(graph_path), **bound})


def _finish(program: Program, graph: memoryview, source: dict[str, Any]) -> Program:
    program.source |= source | {"sha256": hashlib.sha256(graph).hexdigest()}
    return normalise(program)


def _read_graph(graph: memoryview, where: str) -> Program:
    """The program in ``graph``, whose first bytes say which format it is."""
    start = bytes(graph[:64])
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise ModelError("the file is empty", where=where, todo="check that the download is complete")
    # A legacy program begins with a newline's byte and a length, which may be that of "{": JSON goes on with a key.
    if text[:1] == b"{" and (start[:1] != b"\n" or text[1:].lstrip()[:1] in (b"", b'"', b"}")):
        return pir.read_program(graph, where)
    if start.startswith(b"PK") and b"manifest.json" in start:
        raise ModelError(
            "this is an Oarlock artifact, which is compiled already", where=where, todo="give the Paddle model that it was made from"
        )
    if start.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")):
        raise ModelError(
            "this is a pickle or an archive (.pdparams, .pdopt?), not a program",
            where=where,
            todo="export the model with paddle.jit.save and give the .json or .pdmodel file",
        )
    if start[0] not in _FIRST_BYTES:
        raise ModelError(
            "this is no Paddle program: neither PIR's JSON nor a legacy program",
            where=where,
            todo="give a .json or .pdmodel file that paddle.jit.save wrote, or __model__",
        )
    from . import legacy

    return legacy.read_program(graph, where)


def _stored(program: Program) -> list[str]:
    """Names of the parameters whose data stands in the weight files: the persistable ones."""
    absent = {op.results[0].name for op in program.block.ops if op.name == "builtin.parameter" and op.attrs.get("persistable") is False}
    return sorted(name for name in program.parameters if name not in absent)


# ---- finding files ---------------------------------------------------------------------------------------------------


def _find_graph(path: Path) -> Path:
    if os.path.isfile(path):
        if path.suffix in (".pdiparams", ".pdparams", ".info"):
            raise ModelError(
                f"{path.name} holds weights, not a program", where=str(path), todo="give the .json or .pdmodel file, or their folder"
            )
        return path
    if os.path.isdir(path):
        return _find_in_folder(path)
    for suffix in _GRAPHS:
        if path.name and os.path.isfile(candidate := path.with_name(path.name + suffix)):
            return candidate
    raise ModelError("there is no such file or folder", where=str(path), todo="give a model folder, a .json or .pdmodel file, or __model__")


def _find_in_folder(folder: Path) -> Path:
    """The folder's program: inference.* or model.* or __model__ first, else the only one there is."""
    try:
        files = sorted(f for f in folder.iterdir() if f.is_file() and (f.suffix in _GRAPHS or f.name == "__model__"))
    except OSError as error:
        raise ModelError(f"the folder cannot be read: {error}", where=str(folder), todo="check its permissions") from None
    candidates = [f for f in files if f.suffix != ".json" or _looks_like_pir(f)]
    for stem in _PREFERRED:
        preferred = [f for f in candidates if f.stem == stem]
        if preferred:
            candidates = preferred
            break
    if not candidates:
        raise ModelError(
            "no Paddle program is in this folder",
            where=str(folder),
            todo="a program is a .json or .pdmodel file, or __model__; export the model with paddle.jit.save",
        )
    if len(candidates) > 1:
        names = ", ".join(f.name for f in candidates[:_FEW]) + (", …" if len(candidates) > _FEW else "")
        raise ModelError(f"the folder holds several programs: {names}", where=str(folder), todo="give the path of one of them")
    return candidates[0]


def _looks_like_pir(path: Path) -> bool:
    """Folders often hold other JSON (a tokenizer, a configuration): a PIR file names its magic near the beginning."""
    try:
        with path.open("rb") as file:
            return b'"base_code"' in file.read(1 << 16)
    except OSError:
        return False


def _bind(program: Program, names: list[str], graph: Path) -> dict[str, str | int]:
    """Bind the weights beside ``graph``; where they are (a file, or the folder of one file a parameter) and their bytes.

    ``x.json`` and ``x.pdmodel`` have ``x.pdiparams``; ``__model__`` has ``__params__``, or one file a parameter.
    """
    folder = graph.parent
    combined = [folder / f"{graph.stem}.pdiparams", folder / "__params__"] if graph.suffix in _GRAPHS else [folder / "__params__"]
    combined.append(folder / f"{graph.name}.pdiparams")
    for path in combined:
        if os.path.isfile(path):
            inside(folder, path.name, graph)
            data = map_file(path)
            bind_combined(program.parameters, names, data, str(path))
            return {"params": str(path), "params_size": len(data)}
    if any(os.path.isfile(inside(folder, name)) for name in names):
        bind_separate(program.parameters, names, folder)
        return {"params": str(folder), "params_size": sum(inside(folder, name).stat().st_size for name in names)}
    raise ModelError(
        f"the weights are missing: the program has {len(names)} parameters",
        where=str(combined[0]),
        todo=f"put {combined[0].name} beside {graph.name}, or one file a parameter, named as the parameter",
    )

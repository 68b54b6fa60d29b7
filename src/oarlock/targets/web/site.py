"""``oarlock web build``: a model as a folder for any web server or npm project.

    model.json            what it takes and gives, and its variants, the best first (web/src/types.ts: Manifest)
    <hash>.wasm           a module of kernels and their plan, one a variant
    <hash>.json           the shaders and the plan of the variant webgpu
    <hash>.bin            the weights, in chunks; variants share those that are alike
    oarlock.js, oarlock-worker.js, types/    the runtime, and its types for TypeScript
    index.html            a page that runs the model, and shows what takes how long

Files named by a hash never change: a server may let browsers keep them for ever.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..._version import __version__
from ...compiler import compile as compile_model
from ...errors import InputError, UnsupportedError
from ...model import Program, load_model
from ...runtime.artifact import Artifact
from ...runtime.signature import TensorSpec
from ...web_variants import EVERY, VARIANTS, WEBGPU
from .chosen import compile_chosen
from .protect import Lock, key_for, stripped
from .target import WebTarget

CHUNK_BYTES = 8 << 20
DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")  # that JavaScript has arrays of
_RUNTIME = Path(__file__).with_name("runtime")  # what web/build.mjs makes
_HASHED = re.compile(r"[0-9a-f]{20}\.(wasm|bin|json)")


@dataclass(frozen=True)
class File:
    """A file that was written: ``kind`` is module, weights, runtime, types or manifest; ``gzipped``: its bytes as a server sends it."""

    name: str
    kind: str
    bytes: int
    gzipped: int
    variant: str = ""


@dataclass(frozen=True)
class Site:
    """What was written, each variant's artifact, why variants were left out, and which kernels records chose.

    ``by_record``: variant → workload → candidate (chosen.py).
    """

    folder: Path
    files: tuple[File, ...]
    artifacts: Mapping[str, Artifact]
    notes: tuple[str, ...] = ()
    by_record: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def build_site(
    model: Program | str | Path,
    folder: str | Path,
    *,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    variants: Sequence[str] | None = None,
    records: str | Path | bool = True,
    progress: Callable[[str, int, int], None] | None = None,
    describe: bool = False,
    protect: str | Path | None = None,
) -> Site:
    """Compile a model for the web and write the folder; its files of another build are replaced.

    ``shapes``: as in compile; sizes that are not fixed stay open till the model runs.  ``variants``: of EVERY; by default all, but
    that one for GPUs is left out, with a note, where the model cannot run there (it takes fixed sizes) or is protected.
    ``records``: as in compile.  ``describe``: plans tell what each kernel takes and gives, for tools.
    ``protect``: the file of a key, outside of the folder, with which modules and weights are encrypted; a new key where there is no
    such file.
    Raises what compile raises, and InputError where the folder cannot be written.
    """
    wanted = EVERY if variants is None else variants
    if unknown := [name for name in wanted if name not in EVERY]:
        raise InputError(f"there is no variant {', '.join(unknown)}", todo=f"use: {', '.join(EVERY)}")
    if not wanted:
        raise InputError("there is no variant to build", todo=f"use some of: {', '.join(EVERY)}")
    program = model if isinstance(model, Program) else load_model(model)
    folder = Path(folder)
    _must_be_ours(folder)
    key = None if protect is None else key_for(protect, folder)
    chosen = [name for name in EVERY if name in wanted]
    tell = progress or (lambda stage, done, total: None)
    artifacts: dict[str, Artifact] = {}
    notes: list[str] = []
    by_record: dict[str, dict[str, str]] = {}
    for n, name in enumerate(chosen):

        def report(stage: str, done: int, total: int, n: int = n, name: str = name) -> None:
            tell(f"{name}: {stage}", n * total + done, len(chosen) * total)

        extra = {"describe": True} if describe else {}
        if name != WEBGPU:
            target = WebTarget(variant=name, describe=describe)
            artifacts[name], by_record[name] = compile_chosen(program, target, shapes, records, report)
            continue
        try:
            if key is not None:
                raise UnsupportedError("shaders are not encrypted yet: a protected model has none", where=f"variant {WEBGPU}")
            artifacts[name] = compile_model(program, WEBGPU, shapes, options=extra, records=records, progress=report)
        except UnsupportedError as reason:
            if variants is not None:
                raise
            notes.append(f"there is no variant {WEBGPU}: {reason}")
    signature = next(iter(artifacts.values())).signature
    tensors = {"inputs": [_tensor(spec) for spec in signature.inputs], "outputs": [_tensor(spec) for spec in signature.outputs]}
    lock = None
    if key is not None:
        plans = {name: stripped(artifact.library)[1] for name, artifact in artifacts.items()}
        lock = Lock(key, tensors, plans)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = _write(folder, artifacts, tensors, lock)
    except OSError as error:
        raise InputError(f"the folder cannot be written: {error.strerror}", where=str(folder)) from error
    return Site(folder, tuple(files), artifacts, tuple(notes), by_record)


def _must_be_ours(folder: Path) -> None:
    """InputError where files of somebody else would be overwritten."""
    try:
        ours = "oarlock web" in (folder / "model.json").read_text(encoding="utf-8", errors="replace")[:1000]
    except OSError:
        ours = False
    taken = [name for name in ("model.json", "index.html") if (folder / name).exists()]
    if taken and not ours:
        raise InputError(
            f"the folder has a {taken[0]} of its own", where=str(folder), todo="name a new folder, or one that this command wrote"
        )


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    spec = spec.stored  # complex numbers are pairs in an array of floats
    if spec.dtype not in DTYPES:
        raise UnsupportedError(f"JavaScript has no arrays of {spec.dtype}", where=str(spec), todo="cast it within the model")
    if spec.shape is None:
        raise UnsupportedError("its rank follows from nothing that is known when the model is compiled", where=str(spec))
    return spec.to_json()


def _write(folder: Path, artifacts: Mapping[str, Artifact], tensors: dict[str, Any], lock: Lock | None) -> list[File]:
    files: dict[str, File] = {}

    def put(name: str, kind: str, content: bytes, variant: str = "") -> None:
        if name in files:  # variants share weights
            return
        (folder / name).write_bytes(content)
        files[name] = File(name, kind, len(content), len(gzip.compress(content, 6)), variant)

    def part(kind: str, end: str, content: bytes, variant: str, role: str) -> dict[str, Any]:
        content = content if lock is None else lock.seal(content, role)
        digest = hashlib.sha256(content).hexdigest()
        put(f"{digest[:20]}.{end}", kind, content, variant)
        return {"file": f"{digest[:20]}.{end}", "bytes": len(content), "sha256": digest}

    before = [path for path in folder.iterdir() if _HASHED.fullmatch(path.name)]
    variants = []
    for name, artifact in artifacts.items():
        (weights,) = artifact.weights
        data = weights.tobytes()
        chunks = [data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)]
        # what is encrypted a server cannot compress any more
        code = artifact.library if lock is None else zlib.compress(stripped(artifact.library)[0], 9)
        entry: dict[str, Any] = {"name": name}
        if name == WEBGPU:
            plan = json.loads(artifact.library)
            entry |= {"needs": [WEBGPU, *plan["needs"]], "limits": plan["limits"]}
        else:
            entry |= {"needs": VARIANTS[name].needs}
        entry["module"] = part("module", "json" if name == WEBGPU else "wasm", code, name, f"module {name}")
        stored = [part("weights", "bin", chunk, name, f"weights {i} of {len(chunks)}") for i, chunk in enumerate(chunks)]
        variants.append(entry | {"weights": stored})
    manifest = {"format": "oarlock web", "version": 1, "oarlock": __version__, **tensors, "variants": variants}
    manifest |= {"protection": lock.facts} if lock is not None else {}
    put("model.json", "manifest", json.dumps(manifest, indent=1).encode())
    (folder / "types").mkdir(exist_ok=True)
    for path in sorted(_RUNTIME.rglob("*")):
        if path.is_file():
            put(str(path.relative_to(_RUNTIME)), "types" if path.suffix == ".ts" else "runtime", path.read_bytes())
    for path in before:
        if path.name not in files:
            path.unlink()
    return list(files.values())

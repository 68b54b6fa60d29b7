"""Models as folders of a page, built once; those of one network share their weights."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import oarlock
from oarlock.targets.web.site import build_site

VARIANTS = ("relaxed-simd-threads", "relaxed-simd", "simd128")  # all browsers since 2023; threads where the page has its headers


def package_folder(name: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"the package {name} with the models is not installed: run `make web-demo`")
    return Path(next(iter(spec.submodule_search_locations)))


def members(model: Path, page: Path, name: str, shapes: Iterable[Sequence[int | None]], variants: Sequence[str] = VARIANTS) -> list[dict]:
    """``model`` for each shape of its only input x (None: any size), in folders under the page's; what its models.json says of them."""
    out = []
    for shape in shapes:
        folder = page / "models" / name / "x".join("any" if dim is None else str(dim) for dim in shape[2:])
        if not _is_new(folder, model):
            start = time.perf_counter()
            site = build_site(model, folder, shapes={"x": list(shape)}, variants=variants)
            _share_weights(folder, page / "models" / name)
            code = sum(file.gzipped for file in site.files if file.kind == "module") / len(site.artifacts)
            print(f"  {folder}: {time.perf_counter() - start:.1f} s, {code / 1e3:.0f} kB of kernels gzipped", flush=True)
        out.append({"folder": str(folder.relative_to(page)), "shape": list(shape)})
    return out


def _is_new(folder: Path, model: Path) -> bool:
    """Whether a folder was built after its model, and after Oarlock's sources."""
    manifest = folder / "model.json"
    if not manifest.exists():
        return False
    sources = [*model.parent.glob(f"{model.name}*"), *model.glob("*"), *Path(oarlock.__file__).parent.rglob("*.py")]
    return manifest.stat().st_mtime > max(path.stat().st_mtime for path in sources)


def _share_weights(folder: Path, shared: Path) -> None:
    """Put the weights, named by their contents, where other sizes of the network have theirs: a browser fetches them once."""
    path = folder / "model.json"
    manifest = json.loads(path.read_text())
    for variant in manifest["variants"]:
        for part in variant["weights"]:
            if (folder / part["file"]).exists():
                (folder / part["file"]).replace(shared / part["file"])
            part["file"] = f"../{part['file']}"
    path.write_text(json.dumps(manifest, indent=1))

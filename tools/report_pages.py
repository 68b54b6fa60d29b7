"""Make the report pages of some models, and pictures of them for docs/reports.md.

    python tools/report_pages.py [--out build/report-pages] [--only NAME] [--runs 20]

PP-OCR's recogniser comes with a package (``make demo``), PP-YOLOE and BERT are exported in the zoo's environment
(``make .venv-zoo/.ready``).
Pages go to ``--out``, pictures at two widths to docs/images.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from zoo.recipes import packaged_recipes  # noqa: E402

import oarlock  # noqa: E402

PICTURES = ROOT / "docs/images"
MOST_BYTES = 400_000
COLOURS = (256, 160, 96, 64)  # of a picture's palette: the first with which it is small enough


@dataclass(frozen=True)
class Subject:
    """``recipe``: of the zoo.  ``call``: what is picked on the wide picture.  ``dark``: which of its pictures."""

    name: str
    recipe: str
    call: int
    dark: bool = False


SUBJECTS = (
    Subject("pp-ocr-rec", "PP-OCRv5_mobile_rec", 33),
    Subject("pp-yoloe", "detection/PPYOLOE_plus_crn_s", 40, dark=True),
    Subject("bert", "nlp/BertModel", 12),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build/report-pages")
    parser.add_argument("--only", default="", help="part of a name")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--python", default=str(ROOT / ".venv-zoo/bin/python"), help="of the zoo's environment")
    options = parser.parse_args()
    for subject in SUBJECTS:
        if options.only in subject.name:
            page = options.out / f"{subject.name}.html"
            make_page(subject, page, options)
            take_pictures(subject, page)


def make_page(subject: Subject, page: Path, options: argparse.Namespace) -> None:
    page.parent.mkdir(parents=True, exist_ok=True)
    model, inputs = get(subject, options)
    shapes = {name: array.shape for name, array in inputs.items()}
    found = oarlock.report(str(model), shapes=shapes, threads=1, inputs=inputs, runs=options.runs)
    page.write_text(found.html(), encoding="utf-8")
    if found.accuracy is None:
        sys.exit(f"{subject.name}: not compared with Paddle: {found.without}")
    print(f"{subject.name}: {len(found.profile.program['calls'])} calls, {found.accuracy.wrong} wrong, {page.stat().st_size // 1000} kB")


def get(subject: Subject, options: argparse.Namespace) -> tuple[Path, dict[str, np.ndarray]]:
    """The model, and inputs for it."""
    if "/" not in subject.recipe:
        (recipe,) = [r for r in packaged_recipes() if r.name == subject.recipe]
        return recipe.export(options.out), {"x": np.random.default_rng(0).standard_normal((1, 3, 48, 320)).astype("float32")}
    folder = options.out / "zoo" / subject.recipe
    if not (folder / "run-0.npz").exists():
        command = [options.python, "-m", "zoo.export", str(options.out / "zoo")]
        done = subprocess.run(command, input=f"{subject.recipe}\n", text=True, cwd=ROOT, capture_output=True, check=False)
        if done.returncode or not (folder / "run-0.npz").exists():
            sys.exit(f"{subject.recipe} cannot be exported:\n{done.stdout}{done.stderr}")
    with np.load(folder / "run-0.npz") as run:
        return folder, {name.removeprefix("in:"): run[name] for name in run.files if name.startswith("in:")}


def take_pictures(subject: Subject, page: Path) -> None:
    PICTURES.mkdir(exist_ok=True)
    scheme = "dark" if subject.dark else "light"
    wide, narrow = PICTURES / f"report-{subject.name}-1400.png", PICTURES / f"report-{subject.name}-420.png"
    arguments = [str(wide), "1400", scheme, str(subject.call), str(narrow), "420", scheme]
    command = ["node", str(ROOT / "tools/page_pictures.mjs"), str(page), *arguments]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{page}: {done.stderr}")
    shown: dict[str, Any] = json.loads(done.stdout)
    if shown["errors"]:
        sys.exit(f"{page}: {shown['errors']}")
    for picture in (wide, narrow):
        shrink(picture)
        print(f"  {picture.relative_to(ROOT)}: {picture.stat().st_size // 1000} kB")


def shrink(path: Path) -> None:
    """Fewer colours, until the file is small enough to be kept."""
    from PIL import Image

    whole = Image.open(path).convert("RGB")
    for colours in COLOURS:
        whole.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            return
    sys.exit(f"{path} stays larger than {MOST_BYTES} bytes")


if __name__ == "__main__":
    main()

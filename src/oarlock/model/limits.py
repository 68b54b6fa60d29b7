"""Bounds on what a model file may ask for, checked before anything is parsed or allocated.

A damaged or hostile file must end in a ModelError: not in a crash, a hang, or memory far beyond its own size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..errors import ModelError

DAMAGED = "the model file is damaged: export it again, or check that the download is complete"

MAX_NESTING = 240
"""JSON levels.  A region of a control-flow operator takes six, so this is about forty loops inside one another."""

MAX_DIGITS = 400
"""Digits of one number in JSON; the longest double in positional notation has 309 before the point."""

MAX_RANK = 64
MAX_ELEMENTS = 1 << 46
"""Elements of one tensor type: the product of its known dims."""

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1

_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (MAX_DIGITS + 1))
_STEP = np.zeros(256, np.int8)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1
_CHUNK = 1 << 16


def parse_json(data: bytes | memoryview, where: str, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The value of a JSON text whose depth and numbers are within bounds; ModelError otherwise.

    ``hook`` may replace each object, innermost first.  NaN and Infinity as bare words are refused: Paddle writes strings.
    """
    _check_json(data, where)
    try:
        return json.loads(str(data, "utf-8-sig"), object_hook=hook, parse_constant=_refuse_constant)
    except (ValueError, RecursionError, MemoryError) as error:
        raise ModelError(f"this is not valid JSON: {error}", where=where, todo=DAMAGED) from None


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")


def _check_json(data: bytes | memoryview, where: str) -> None:
    """Depth of the brackets outside of strings, and length of the digit runs, before a recursive parser sees them."""
    if _LONG_NUMBER.search(data):
        raise ModelError(f"a number has more than {MAX_DIGITS} digits", where=where, todo=DAMAGED)
    text = bytes(data)
    if b"\\" in text:  # with the pairs of backslashes gone, one before a quote escapes it
        text = text.replace(rb"\\", b"__").replace(rb"\"", b"__")
    depth = quotes = 0
    for start in range(0, len(text), _CHUNK):
        chunk = np.frombuffer(text, np.uint8, min(_CHUNK, len(text) - start), start)
        seen = quotes + np.cumsum(chunk == ord('"'), dtype=np.int32)
        levels = depth + np.cumsum(np.where(seen % 2 == 0, _STEP[chunk], 0), dtype=np.int32)
        depth, quotes = int(levels[-1]), int(seen[-1]) % 2
        if levels.max() > MAX_NESTING:
            raise ModelError(f"the JSON is nested more than {MAX_NESTING} levels deep", where=where, todo=DAMAGED)


def check_int64(value: Any, what: str, where: str) -> int:
    """``value`` when it is an integer of 64 bits; a bool is not one."""
    if type(value) is not int or not INT64_MIN <= value <= INT64_MAX:
        raise ModelError(f"{what} must be a 64-bit integer, not {_short(value)}", where=where, todo=DAMAGED)
    return value


def check_text(value: Any, what: str, where: str) -> str:
    """``value`` when it is a string that can be written as UTF-8."""
    if type(value) is not str:
        raise ModelError(f"{what} must be a string, not {_short(value)}", where=where, todo=DAMAGED)
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ModelError(f"{what} is not valid Unicode: {value!a}", where=where, todo=DAMAGED) from None
    return value


def check_dims(dims: Iterable[Any], where: str, *, lenient: bool = False) -> tuple[int, ...]:
    """Dims of a tensor type: −1 is unknown; the rank and the product of the known ones are bounded.

    ``lenient`` reads any negative dim as unknown: Paddle's own shape inference multiplies −1 with other dims.
    """
    out = tuple(check_int64(d, "a dim", where) for d in dims)
    if lenient:
        out = tuple(max(d, -1) for d in out)
    if len(out) > MAX_RANK:
        raise ModelError(f"a tensor has {len(out)} dims, more than {MAX_RANK}", where=where, todo=DAMAGED)
    count = 1
    for d in out:
        if d < -1:
            raise ModelError(f"a dim is {d}; only −1 may stand for an unknown one", where=where, todo=DAMAGED)
        count *= max(d, 1)
        if count > MAX_ELEMENTS:
            raise ModelError(f"a tensor of shape {out} is too large", where=where, todo=DAMAGED)
    return out


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"a {type(value).__name__} of {len(value)}"
    if type(value) is int and value.bit_length() > 128:
        return "a very large integer"
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "…"

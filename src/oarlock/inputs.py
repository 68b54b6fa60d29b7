"""Inputs for a model from the command line: random arrays, .npz files, pictures."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from .errors import InputError
from .runtime.dtypes import numpy_dtype
from .runtime.signature import TensorSpec

# what a dynamic dim gets when nobody says: a batch of one, a picture's usual side, a short sequence
_IMAGE_SIDE, _SEQUENCE = 224, 16


def parse_shapes(options: Iterable[str]) -> dict[str, tuple[int | str | None, ...]]:
    """``["x=1,3,?,w"]`` → {"x": (1, 3, None, "w")}: a number fixes a dim, ``?`` or ``-1`` leaves it dynamic, a name is shared."""
    out: dict[str, tuple[int | str | None, ...]] = {}
    for option in options:
        name, found, text = option.rpartition("=")
        if not found or not name:
            raise InputError(f"{option!r} is no shape", todo="write --shape NAME=1,3,224,224 (? for a dynamic dim)")
        dims: list[int | str | None] = []
        for part in filter(None, (p.strip() for p in text.split(","))):
            if part in ("?", "-1", "None"):
                dims.append(None)
            elif part.isdigit():
                dims.append(int(part))
            elif part.isidentifier():
                dims.append(part)
            else:
                raise InputError(f"{part!r} in the shape of {name!r} is no dim", todo="give a number, ? or a name")
        out[name] = tuple(dims)
    return out


def concrete_shape(spec: TensorSpec, given: Sequence[int | str | None] | None, symbols: dict[str, int]) -> tuple[int, ...]:
    """A shape to try an input with: the given sizes, then the declared ones, then a usual size for each dynamic dim."""
    declared = spec.shape or ()
    if given is not None and len(given) != len(declared):
        raise InputError(f"the shape given for {spec.name!r} has {len(given)} dims, the model has {len(declared)}", where=str(spec))
    out = []
    for axis, dim in enumerate(declared):
        asked = given[axis] if given is not None else None
        if isinstance(asked, int):
            out.append(asked)
            symbols.setdefault(str(dim), asked)
        elif isinstance(dim, int):
            out.append(dim)
        else:
            usual = 1 if axis == 0 else (_IMAGE_SIDE if len(declared) == 4 and axis > 1 else (3 if len(declared) == 4 else _SEQUENCE))
            out.append(symbols.setdefault(str(dim), usual))
    return tuple(out)


def random_inputs(
    specs: Iterable[TensorSpec], shapes: Mapping[str, Sequence[int | str | None]] | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Seeded random inputs: floats uniform in −1 … 1, integers 0 … 9, booleans a fair coin."""
    rng = np.random.default_rng(seed)
    specs = list(specs)
    unknown = set(shapes or {}) - {s.name for s in specs}
    if unknown:
        raise InputError(f"shapes name unknown inputs: {', '.join(sorted(unknown))}", todo=f"the inputs are {', '.join(map(str, specs))}")
    symbols: dict[str, int] = {}
    out = {}
    for spec in specs:
        shape = concrete_shape(spec, (shapes or {}).get(spec.name), symbols)
        if spec.dtype == "bool":
            out[spec.name] = rng.random(shape) > 0.5
        elif "int" in spec.dtype:
            out[spec.name] = rng.integers(0, 10, shape).astype(spec.dtype)
        else:
            out[spec.name] = rng.uniform(-1, 1, shape).astype(numpy_dtype(spec.dtype))
    return out


def npz_inputs(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name (nothing is unpickled)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(f"the file is no .npz of plain arrays: {error}", where=str(path), todo="save it with numpy.savez") from error


def image_inputs(
    spec: TensorSpec,
    path: str | Path,
    size: tuple[int, int] | None = None,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
) -> dict[str, np.ndarray]:
    """A picture as the one image input of a model (NCHW float32, one picture): RGB, resized, (x / 255 − mean) / std.

    ``size`` is (height, width); by default the model's own, or the picture's rounded to multiples of 32 where the model's is dynamic.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError("reading a picture needs Pillow", todo="pip install pillow") from error
    shape = spec.shape or ()
    if len(shape) != 4 or "float" not in spec.dtype or shape[1] not in (1, 3, None) and not isinstance(shape[1], str):
        raise InputError(f"the input {spec} takes no picture", todo="give --npz")
    try:
        with Image.open(path) as opened:
            picture = opened.convert("L" if shape[1] == 1 else "RGB")
    except (OSError, ValueError) as error:
        raise InputError(f"the picture cannot be read: {error}", where=str(path)) from error
    rounded = [max(32, round(side / 32) * 32) for side in (picture.height, picture.width)]
    height, width = size or [d if isinstance(d, int) else r for d, r in zip(shape[2:], rounded, strict=True)]
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255.0
    pixels = pixels.reshape(height, width, -1)
    channels = pixels.shape[2]
    normal = (pixels - np.asarray(mean[:channels], np.float32)) / np.asarray(std[:channels], np.float32)
    return {spec.name: np.ascontiguousarray(normal.transpose(2, 0, 1)[None]).astype(numpy_dtype(spec.dtype))}

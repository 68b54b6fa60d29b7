"""Arrays for a model from the command line and back: random ones, .npz files, pictures."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from .errors import InputError
from .runtime.dtypes import COMPLEX, EXTENDED, numpy_dtype
from .runtime.signature import TensorSpec

# what a dynamic dim gets when nobody says: a batch of one, a picture's usual side, a short sequence
_IMAGE_SIDE, _SEQUENCE = 224, 16
_MOST_ELEMENTS, _MOST_SIDE = 1 << 30, 1 << 14


def parse_shapes(options: Iterable[str]) -> dict[str, tuple[int | str | None, ...]]:
    """``["x=1,3,?,w"]`` → {"x": (1, 3, None, "w")}: a number fixes a dim, ``?`` or ``-1`` leaves it dynamic, a name is shared."""
    out: dict[str, tuple[int | str | None, ...]] = {}
    for option in options:
        name, found, text = option.rpartition("=")
        if not found or not name:
            raise InputError(f"{option!r} is no shape", todo="write --shape NAME=1,3,224,224 (? for a dynamic dim)")
        if name in out:
            raise InputError(f"two shapes were given for {name!r}", todo="give one")
        dims: list[int | str | None] = []
        for part in (p.strip() for p in text.split(",")) if text.strip() else ():
            if part in ("?", "-1", "None"):
                dims.append(None)
            elif part.isdecimal() and len(part) < 19:
                dims.append(int(part))
            elif part.isidentifier():
                dims.append(part)
            else:
                raise InputError(f"{part!r} in the shape of {name!r} is no dim", todo="give a number, ? or a name")
        out[name] = tuple(dims)
    return out


def _concrete_shape(spec: TensorSpec, given: Sequence[int | str | None] | None, symbols: dict[str, int]) -> tuple[int, ...]:
    """A shape to try an input with: the given sizes, then the declared ones, then a usual size for each dynamic dim."""
    declared = spec.shape or ()
    out = []
    for axis, dim in enumerate(declared):
        asked = given[axis] if given is not None else None
        if isinstance(asked, int):
            out.append(asked)
        elif isinstance(dim, int):
            out.append(dim)
        else:
            usual = 1 if axis == 0 else (_IMAGE_SIDE if len(declared) == 4 and axis > 1 else (3 if len(declared) == 4 else _SEQUENCE))
            out.append(symbols.setdefault(str(dim), usual))
    return tuple(out)


def random_inputs(
    specs: Iterable[TensorSpec], shapes: Mapping[str, Sequence[int | str | None]] | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Seeded random inputs: floats (and both parts of complex numbers) uniform in −1 … 1, integers 0 … 9, booleans a fair coin."""
    rng = np.random.default_rng(seed)
    specs = list(specs)
    unknown = set(shapes or {}) - {s.name for s in specs}
    if unknown:
        raise InputError(f"shapes name unknown inputs: {', '.join(sorted(unknown))}", todo=f"the inputs are {', '.join(map(str, specs))}")
    symbols: dict[str, int] = {}  # a size given for one input holds for every input with the same symbol
    for spec in specs:
        declared, given = spec.shape or (), (shapes or {}).get(spec.name)
        if given is not None and len(given) != len(declared):
            raise InputError(f"the shape given for {spec.name!r} has {len(given)} dims, the model has {len(declared)}", where=str(spec))
        pairs = zip(declared, given or (), strict=False)
        symbols |= {dim: asked for dim, asked in pairs if isinstance(dim, str) and isinstance(asked, int)}
    out = {}
    for spec in specs:
        shape = _concrete_shape(spec, (shapes or {}).get(spec.name), symbols)
        if math.prod(shape) > _MOST_ELEMENTS:
            raise InputError(f"{list(shape)} is too large for a random input", where=str(spec), todo="give smaller dims, or --npz")
        if spec.dtype == "bool":
            out[spec.name] = rng.random(shape) > 0.5
        elif spec.dtype in COMPLEX:
            out[spec.name] = (rng.uniform(-1, 1, shape) + 1j * rng.uniform(-1, 1, shape)).astype(spec.dtype)
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
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from error
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own for damaged files
        raise InputError("the file is no .npz of plain arrays", where=f"{path}: {error}", todo="save it with numpy.savez") from error


def save_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name to an .npz file.  bfloat16 and float8, which the format lacks, become float32.

    numpy.savez takes names as keywords, so that it refuses an array called "file".
    """
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                plain = array.astype(np.float32) if array.dtype.name in EXTENDED else array
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(plain), allow_pickle=False)
    except OSError as error:
        raise InputError(f"the file cannot be written: {error.strerror or error}", where=str(path)) from error


def image_inputs(
    spec: TensorSpec,
    path: str | Path,
    asked: Sequence[int | str | None] | None = None,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
) -> dict[str, np.ndarray]:
    """A picture as the one image input of a model (NCHW float32, one picture): RGB, resized, (x / 255 − mean) / std.

    Height and width are those of ``asked`` (a shape of the input), else the model's own, else the picture's rounded to multiples of 32.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError("reading a picture needs Pillow", todo="pip install 'oarlock[image]'") from error
    shape = spec.shape or ()
    if len(shape) != 4 or "float" not in spec.dtype or shape[1] not in (1, 3, None) and not isinstance(shape[1], str):
        raise InputError(f"the input {spec} takes no picture", todo="give --npz")
    try:
        with Image.open(path) as opened:
            picture = opened.convert("L" if shape[1] == 1 else "RGB")
    except Exception as error:  # each of Pillow's decoders has errors of its own
        raise InputError(f"the picture cannot be read: {error}", where=str(path), todo="give a PNG or JPEG file") from error
    rounded = [max(32, round(side / 32) * 32) for side in (picture.height, picture.width)]
    if asked is not None and len(asked) != 4:
        raise InputError(f"the shape given for {spec.name!r} has {len(asked)} dims, the model has 4", where=str(spec))
    sides = [next(d for d in dims if isinstance(d, int)) for dims in zip((asked or shape)[2:], shape[2:], rounded, strict=True)]
    if not all(0 < side <= _MOST_SIDE for side in sides):
        raise InputError(f"a picture cannot be resized to {sides[0]}×{sides[1]}", todo=f"give sides from 1 to {_MOST_SIDE}")
    height, width = sides
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255.0
    pixels = pixels.reshape(height, width, -1)
    channels = pixels.shape[2]
    normal = (pixels - np.asarray(mean[:channels], np.float32)) / np.asarray(std[:channels], np.float32)
    return {spec.name: np.ascontiguousarray(normal.transpose(2, 0, 1)[None]).astype(numpy_dtype(spec.dtype))}

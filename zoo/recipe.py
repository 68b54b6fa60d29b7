"""What a recipe is: data that says how a model is made, so that it can be listed, hashed and given to another interpreter."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

# how faithful a model is to what is published
OFFICIAL = "official"  # the package's architecture at a published size, seeded weights
REDUCED = "reduced"  # the package's architecture, fewer or narrower layers
OWN = "re-implemented"  # no package has it: written here after the paper, small
PRETRAINED = "pretrained"  # the published weights

Values = str | tuple[Any, ...]


@dataclass(frozen=True)
class Input:
    """One input: ``shape`` as it is exported (None is dynamic) and the ``sample`` that it is compared on (default: 1 for None).

    ``values``: "normal", "uniform" (0 … 1), "ones", "zeros", ("int", low, high), ("arange",) along the last dim, ("array", nested lists),
    or "module:function" of this package, called with (numpy generator, shape).
    """

    shape: tuple[int | None, ...]
    sample: tuple[int, ...] = ()
    dtype: str = "float32"
    values: Values = ""
    name: str = ""

    def make(self, rng: np.random.Generator, batch: int | None = None) -> np.ndarray:
        """The sample, with another first dim where ``batch`` says so and the export left it open."""
        dims = list(self.sample or (1 if d is None else d for d in self.shape))
        if batch is not None and self.shape and self.shape[0] is None:
            dims[0] = batch
        return np.asarray(_values(self.values, rng, dims, self.dtype)).astype(self.dtype)


def _values(kind: Values, rng: np.random.Generator, dims: list[int], dtype: str) -> np.ndarray:
    if not kind:
        kind = "normal" if dtype.startswith("float") else ("int", 0, 10)
    if isinstance(kind, tuple):
        what, *rest = kind
        if what == "int":
            return rng.integers(rest[0], rest[1], dims)
        if what == "arange":
            return np.broadcast_to(np.arange(dims[-1]), dims)
        if what == "array":
            return np.array(rest[0])
        raise ValueError(f"no such values: {kind}")
    if ":" in kind:
        return resolve(kind)(rng, dims)
    return {
        "normal": lambda: rng.standard_normal(dims),
        "uniform": lambda: rng.random(dims),
        "ones": lambda: np.ones(dims),
        "zeros": lambda: np.zeros(dims),
    }[kind]()


@dataclass(frozen=True)
class Recipe:
    """A model.  ``build`` names the function ("module:function" of this package) that gives the Paddle layer from ``arguments``.

    ``source``     the package with its version, or where the architecture comes from
    ``kind``       OFFICIAL, REDUCED, OWN or PRETRAINED
    ``written``    "pir", "legacy" (by Paddle 3.3) or "legacy-2.6" (by Paddle 2.6.2, in an environment of its own)
    ``setup``      "module:function" called before anything of the package is imported
    ``finish``     "module:function" called with the layer before it is exported
    ``calibrate``  the batch that batch norms get their statistics from; 0: they keep the initial ones
    ``jitter``     parameters that are constant at first (ones, zeros) become random
    ``slides``     names of the model families of Paddle's model overview that this stands for
    """

    family: str
    name: str
    build: str
    inputs: tuple[Input, ...]
    source: str
    kind: str = OFFICIAL
    arguments: dict[str, Any] = field(default_factory=dict)
    written: str = "pir"
    setup: str = ""
    finish: str = ""
    calibrate: int = 4
    jitter: bool = True
    slides: tuple[str, ...] = ()
    note: str = ""

    @property
    def key(self) -> str:
        return f"{self.family}/{self.name}"

    @property
    def digest(self) -> str:
        """Changes when the recipe does, so that a stale result can be told."""
        said = replace(self, slides=(), note="")
        return f"{zlib.crc32(repr(said).encode()):08x}"

    @property
    def seed(self) -> int:
        return zlib.crc32(self.name.encode()) & 0x7FFFFFFF

    def legacy(self, version: str) -> Recipe:
        """The same model written as ``.pdmodel``, by Paddle "3.3" or "2.6"."""
        written = "legacy-2.6" if version == "2.6" else "legacy"
        return replace(self, name=f"{self.name}_legacy{version.replace('.', '')}", written=written, slides=())


def resolve(name: str) -> Callable[..., Any]:
    """ "paddleseg:build" → that function of zoo.paddleseg."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(f"zoo.{module}"), attribute)


def image(side: int, width: int | None = None, *, channels: int = 3, dynamic: str = "batch", batch: int = 1, **more: Any) -> Input:
    """A picture (N, C, H, W); dynamic: "batch", "all" (batch, height and width) or "none"."""
    width = width or side
    shape: dict[str, tuple[int | None, ...]] = {
        "batch": (None, channels, side, width),
        "all": (None, channels, None, None),
        "none": (batch, channels, side, width),
    }
    return Input(shape[dynamic], (batch, channels, side, width), **more)


def tokens(high: int, length: int = 16, batch: int = 2, low: int = 0, **more: Any) -> Input:
    """Token ids (batch, length), both dynamic."""
    return Input((None, None), (batch, length), "int64", ("int", low, high), **more)


def numbers(*values: int, dtype: str = "int64") -> Input:
    """A 1-D dynamic input of these numbers (lengths of sequences, …)."""
    return Input((None,), (len(values),), dtype, ("array", values))


def unique(recipes: Iterable[Recipe]) -> list[Recipe]:
    """The recipes; an error where two have one name."""
    found: dict[str, Recipe] = {}
    for recipe in recipes:
        if recipe.key in found:
            raise ValueError(f"two recipes are called {recipe.key}")
        found[recipe.key] = recipe
    return list(found.values())

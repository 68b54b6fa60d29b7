"""All recipes, family by family."""

from __future__ import annotations

import importlib

from .pretrained import packaged_recipes
from .recipe import Recipe, unique

__all__ = ["FAMILIES", "Recipe", "all_recipes", "packaged_recipes"]

# modules of this package that give recipes()
FAMILIES = (
    "pretrained",
    "vision",
    "paddleclas",
    "ppim",
    "paddleseg",
    "detection",
    "keypoint",
    "paddlenlp",
    "multimodal",
    "speech",
    "gan",
    "video",
    "graph",
    "timeseries",
    "diffusion",
    "own",
    "legacy",
)


def all_recipes() -> list[Recipe]:
    """Every recipe; the names are unique."""
    return unique(r for family in FAMILIES for r in importlib.import_module(f".{family}", __package__).recipes())

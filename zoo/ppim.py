"""Vision transformers of ppim."""

from __future__ import annotations

import importlib
from typing import Any

from . import compat
from .recipe import Recipe, image

_NAMES = {
    "cait": ("cait_xxs_24",),
    "coat": ("coat_ti", "coat_lite_ti"),
    "cdnv2": ("cdnv2_a",),
    "pit": ("pit_ti", "pit_ti_distilled"),
    "mixer": ("mixer_b",),
    "lvvit": ("lvvit_s",),
    "t2t": ("t2t_vit_7", "t2t_vit_14"),
    "pvt": ("pvt_ti",),
    "tnt": ("tnt_s",),
    "deit": ("deit_ti_distilled",),
}


def setup() -> None:
    import paddle

    compat.without("visualdl")
    compat.paddle_fluid().data_feeder = paddle.base.data_feeder


def build(module: str, name: str) -> Any:
    made = getattr(importlib.import_module(f"ppim.models.{module}"), name)(pretrained=False)
    return made[0] if isinstance(made, tuple) else made


def recipes() -> list[Recipe]:
    return [
        Recipe(
            "ppim",
            name,
            "ppim:build",
            (image(224),),
            "ppim==1.1.0",
            arguments={"module": module, "name": name},
            setup="ppim:setup",
            calibrate=1,
        )
        for module, names in _NAMES.items()
        for name in names
    ]

"""Every constructor of paddle.vision.models, at the published picture sizes."""

from __future__ import annotations

from typing import Any

from .recipe import Recipe, image

_NAMES = """
    resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext50_64x4d resnext101_32x4d resnext101_64x4d resnext152_32x4d
    resnext152_64x4d wide_resnet50_2 wide_resnet101_2 vgg11 vgg13 vgg16 vgg19 mobilenet_v1 mobilenet_v2 mobilenet_v3_small
    mobilenet_v3_large LeNet densenet121 densenet161 densenet169 densenet201 densenet264 alexnet inception_v3 squeezenet1_0 squeezenet1_1
    googlenet shufflenet_v2_x0_25 shufflenet_v2_x0_33 shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0
    shufflenet_v2_swish
"""
_SIDES = {"inception_v3": 299, "LeNet": 28}  # where they are not 224
_SLIDES = {"vgg16": "VGG", "googlenet": "GoogLeNet", "densenet121": "DenseNet"}


def build(name: str) -> Any:
    from paddle.vision import models

    return models.LeNet() if name == "LeNet" else getattr(models, name)()


def recipe(name: str, side: int = 0) -> Recipe:
    """``side``: another picture than the published one."""
    size = image(side or _SIDES.get(name, 224), channels=1 if name == "LeNet" else 3)
    slides = (_SLIDES[name],) if name in _SLIDES else ()
    return Recipe("vision", name, "vision:build", (size,), "paddle.vision 3.3.1", arguments={"name": name}, slides=slides)


def recipes() -> list[Recipe]:
    return [recipe(name) for name in _NAMES.split()]

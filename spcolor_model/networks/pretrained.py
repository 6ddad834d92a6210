"""Backbones by name, with their pretrained weights."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from .backbone import Backbone
from .efficientnet import EfficientNetLite0
from .published import find
from .vgg import VGG19
from .weights import load_into, load_state


class BackboneName(str, Enum):
    """Frozen feature networks."""

    vgg19 = "vgg19"
    efficientnet_lite0 = "efficientnet_lite0"


def load_backbone(name: BackboneName, weights: str | Path | None = None) -> Backbone:
    """Return a backbone with its weights.

    Args:
        name: which one.
        weights: file of VGG-19's, or its folder; else they are looked for in the usual places.

    Raises:
        FileNotFoundError, ValueError: weights that are not there or not VGG-19's.

    Example:
        >>> load_backbone(BackboneName.efficientnet_lite0).correspondence_channels
        (16, 24, 40, 112)
    """
    if name is BackboneName.efficientnet_lite0:
        return EfficientNetLite0()
    backbone = VGG19("caffe")
    path = find("vgg19_conv", weights)
    load_into(backbone, load_state(path), source=path)
    return backbone

"""Semantic priors: from images to class maps, all with one interface."""

from .base import ClassMaps, Prior, class_maps
from .clusters import DEFAULT_SEGMENTS, ClusterPrior
from .presence import unrelated_mask
from .simple import MaskPrior, NoPrior

__all__ = [
    "DEFAULT_SEGMENTS",
    "ClassMaps",
    "ClusterPrior",
    "MaskPrior",
    "NoPrior",
    "Prior",
    "class_maps",
    "unrelated_mask",
]

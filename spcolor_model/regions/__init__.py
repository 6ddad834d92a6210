"""Edits of the class correspondence: regions drawn by hand, pairs of classes, colours that stay."""

from .edits import Edits, Pair, Region
from .files import load_edits, parse_edits
from .prior import EditedPrior
from .recolor import Recolor
from .shapes import Box, Mask, Polygon, Shape

__all__ = [
    "Box",
    "EditedPrior",
    "Edits",
    "Mask",
    "Pair",
    "Polygon",
    "Recolor",
    "Region",
    "Shape",
    "load_edits",
    "parse_edits",
]

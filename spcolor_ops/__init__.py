"""Ragged per-class correspondence operators for PyTorch."""

from ._library import BACKENDS
from .correspondence import (
    Correspondence,
    MaxSimilarity,
    segment_correspondence,
    segment_max_similarity,
    segment_softmax_warp,
    varlen_correspondence,
)
from .cosine_similarity import CosineBlocks, segment_cosine_similarity
from .layout import SegmentLayout, segment_layout
from .nn import SegmentCorrespondence
from .tuning import tune

__version__ = "0.1.0"

__all__ = [
    "BACKENDS",
    "Correspondence",
    "CosineBlocks",
    "MaxSimilarity",
    "SegmentCorrespondence",
    "SegmentLayout",
    "segment_correspondence",
    "segment_cosine_similarity",
    "segment_layout",
    "segment_max_similarity",
    "segment_softmax_warp",
    "tune",
    "varlen_correspondence",
]

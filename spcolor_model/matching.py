"""Colours and confidence that the reference lends to the target (paper eq. 6-14).

Dimensions: N target and M reference positions, C channels, K classes, h rows and w columns of the
target's feature grid, H and W of a photo.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spcolor_ops import segment_correspondence

from .features import MATCHING_LEVELS, WorkingImage, joint_features, resize
from .operands import Observer, Operands
from .prior import ClassMaps

_TEMPERATURE = 0.01


class Match(NamedTuple):
    """What the matching hands to the filling.

    Attributes:
        ab: [2, h, w]. Warped colour; 0 where unrelated.
        confidence: [h, w]. S = S_w S_clT S'_clR; 0 where unrelated.
        unrelated: [h, w] bool. The target's class is one that the reference lacks.
    """

    ab: Tensor
    confidence: Tensor
    unrelated: Tensor


class MatchInputs(NamedTuple):
    """Arguments of `segment_correspondence` for one pair.

    Attributes:
        query: [1, N, C]. key: [1, M, C]. value: [1, M, 3], the channels a, b and S_clR.
        query_labels: [1, N]. key_labels: [1, M].
    """

    query: Tensor
    key: Tensor
    value: Tensor
    query_labels: Tensor
    key_labels: Tensor


def match_inputs(
    target: WorkingImage, reference: WorkingImage, reference_ab: np.ndarray, maps: ClassMaps
) -> MatchInputs:
    """Gather what the correspondence operator needs for one pair.

    Args:
        target: gray replicated.
        reference: likewise.
        reference_ab: [H, W, 2] of the reference photo.
        maps: of (target, reference).

    Example:
        >>> match_inputs(target, reference, ab, maps).query.shape
        torch.Size([1, 4032, 472])
    """
    query, key = joint_features([target, reference], MATCHING_LEVELS)
    grid = reference.grid
    ab = resize(torch.from_numpy(reference_ab).permute(2, 0, 1), grid)
    query_labels, _ = maps.of(0, target.grid)
    key_labels, key_confidence = maps.of(1, grid)
    value = torch.cat([ab, key_confidence[None]]).flatten(1).T
    rows = (query, key, value, query_labels.flatten(), key_labels.flatten())
    return MatchInputs(*(x[None] for x in rows))


def match(
    target: WorkingImage,
    reference: WorkingImage,
    reference_ab: np.ndarray,
    maps: ClassMaps,
    observe: Observer | None = None,
) -> Match:
    """Warp the reference's colours to the target, each class from its own class only.

    One call of `segment_correspondence` (eq. 6-10) with the value channels a, b and S_clR gives
    the warped ab (eq. 7-9), S_w (eq. 10) and the aligned S'_clR (eq. 12-13); then
    S = S_w S_clT S'_clR (eq. 14).

    Args, shapes: as `match_inputs`; `observe` is called with what is matched, as `Operands`.

    Example:
        >>> match(target, reference, ab, maps).ab.shape
        torch.Size([2, 56, 72])
    """
    inputs = match_inputs(target, reference, reference_ab, maps)
    grid = target.grid
    # The published network centres each class before the cosine; eq. 6 does not say so.
    operands = Operands(
        *(x[0] for x in inputs), maps.num_segments, _TEMPERATURE, True, grid, reference.grid
    )
    if observe is not None:
        observe(operands)
    out = segment_correspondence(
        *inputs,
        num_segments=operands.num_segments,
        temperature=operands.temperature,
        center=operands.center,
    )
    _, target_confidence = maps.of(0, grid)
    warped = out.warped[0].T.unflatten(1, grid)
    return Match(
        ab=warped[:2],
        confidence=out.similarity[0].reshape(grid) * target_confidence * warped[2],
        unrelated=out.index[0].reshape(grid) < 0,
    )

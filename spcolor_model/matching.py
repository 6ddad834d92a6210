"""Colours and confidence that the reference lends to the target (paper eq. 6-14).

Dimensions: N target and M reference positions, C channels, K classes, h rows and w columns of the
target's feature grid, H and W of a photo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spcolor_ops import segment_correspondence

from .features import MATCHING_LEVELS, WorkingImage, joint_features, resize
from .operands import Observer, Operands
from .prior import ClassMaps
from .references import as_list, taken

_TEMPERATURE = 0.01


class Match(NamedTuple):
    """What the matching hands to the filling.

    Attributes:
        ab: [2, h, w]. Warped colour; 0 where unrelated.
        confidence: [h, w]. S = S_w S_clT S'_clR; 0 where unrelated.
        unrelated: [h, w] bool. The target's class is one that the references lack.
        taken: [h, w] int64. Which reference has the most similar position, from 0; -1 where
            unrelated. None of a match that was made of something else.
    """

    ab: Tensor
    confidence: Tensor
    unrelated: Tensor
    taken: Tensor | None = None


class MatchInputs(NamedTuple):
    """Arguments of `segment_correspondence` for a target and its references.

    Attributes:
        query: [1, N, C]. key: [1, M, C], of all references. value: [1, M, 3], a, b and S_clR.
        query_labels: [1, N]. key_labels: [1, M].
    """

    query: Tensor
    key: Tensor
    value: Tensor
    query_labels: Tensor
    key_labels: Tensor


def match_inputs(
    target: WorkingImage,
    reference: WorkingImage | Sequence[WorkingImage],
    reference_ab: np.ndarray | Sequence[np.ndarray],
    maps: ClassMaps,
) -> MatchInputs:
    """Gather what the correspondence operator needs.

    Args:
        target: gray replicated.
        reference: likewise; or several.
        reference_ab: [H, W, 2] of the reference photo; or of each.
        maps: of (target, *references).

    Example:
        >>> match_inputs(target, reference, ab, maps).query.shape
        torch.Size([1, 4032, 472])
    """
    references, colours = as_list(reference), as_list(reference_ab)
    query_labels, _ = maps.of(0, target.grid)
    chosen = _sharing(target, references, maps)
    # Features are standardised over all that is compared, so what cannot match stays out of them.
    query, *keys = joint_features([target, *(references[i] for i in chosen)], MATCHING_LEVELS)
    values, labels = [], []
    for number in chosen:
        grid = references[number].grid
        ab = resize(torch.from_numpy(colours[number]).permute(2, 0, 1), grid)
        key_labels, key_confidence = maps.of(number + 1, grid)
        values.append(torch.cat([ab, key_confidence[None]]).flatten(1).T)
        labels.append(key_labels.flatten())
    rows = (query, *map(torch.cat, (keys, values)), query_labels.flatten(), torch.cat(labels))
    return MatchInputs(*(x[None] for x in rows))


def _sharing(
    target: WorkingImage, references: Sequence[WorkingImage], maps: ClassMaps
) -> list[int]:
    """Return which references share a class with the target; all of them where none does."""
    wanted, _ = maps.of(0, target.grid)
    labels = (maps.of(number, image.grid)[0] for number, image in enumerate(references, 1))
    found = [number for number, own in enumerate(labels) if torch.isin(own, wanted).any()]
    return found or list(range(len(references)))


def match(
    target: WorkingImage,
    reference: WorkingImage | Sequence[WorkingImage],
    reference_ab: np.ndarray | Sequence[np.ndarray],
    maps: ClassMaps,
    observe: Observer | None = None,
) -> Match:
    """Warp the references' colours to the target, each class from its own class only.

    One call of `segment_correspondence` (eq. 6-10) with the value channels a, b and S_clR gives
    the warped ab (eq. 7-9), S_w (eq. 10) and the aligned S'_clR (eq. 12-13); then
    S = S_w S_clT S'_clR (eq. 14).

    Args, shapes: as `match_inputs`; `observe` is called with what is matched, as `Operands`.

    Example:
        >>> match(target, reference, ab, maps).ab.shape
        torch.Size([2, 56, 72])
    """
    references = as_list(reference)
    inputs = match_inputs(target, references, reference_ab, maps)
    grid = target.grid
    # The published network centres each class before the cosine; eq. 6 does not say so.
    key_grid = references[0].grid if len(references) == 1 else (1, inputs.key.shape[1])
    operands = Operands(
        *(x[0] for x in inputs), maps.num_segments, _TEMPERATURE, True, grid, key_grid
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
    index = out.index[0].reshape(grid)
    chosen = _sharing(target, references, maps)
    counts = [math.prod(x.grid) * (number in chosen) for number, x in enumerate(references)]
    return Match(
        ab=warped[:2],
        confidence=out.similarity[0].reshape(grid) * target_confidence * warped[2],
        unrelated=index < 0,
        taken=taken(index, counts),
    )

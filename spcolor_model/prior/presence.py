"""Which regions of the target have nothing like them in the references.

Dimensions: N target and M reference positions, C channels, h rows and w columns of the grid.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from spcolor_ops import segment_max_similarity

from ..features import PRESENCE_LEVELS, WorkingImage, joint_features, resize

# A position is unmatched below this share of what the pair's better matches reach. The quantile
# stands above the median because an object without counterpart may fill half of the photo.
_RATIO = 0.6
_QUANTILE = 0.8
# Edge-aware smoothing on the grid: strength, and gray levels (0..255) that make an edge.
_SMOOTHING = 64.0
_EDGE = 6.0


def unrelated_mask(target: WorkingImage, *references: WorkingImage) -> Tensor:
    """Mark the target positions whose best match in any reference is poor for these photos.

    With the unit semantic features x of the target and y of all references,

        r_i = max_j x_i . y_j    (smoothed inside the target's edges),
        unrelated_i = r_i < 0.6 quantile(r, 0.8).

    The quantile makes the test relative: two photos of one scene match with 0.9, two photos of one
    kind of scene with 0.4, and in both an object that one of them lacks stays far below.

    Args:
        target: the gray photo.
        references: likewise.

    Returns:
        [h, w] bool.

    Example:
        >>> unrelated_mask(image, image).any()
        tensor(False)
    """
    query, *keys = joint_features([target, *references], PRESENCE_LEVELS)
    query, key = query[None], torch.cat(keys)[None]
    one_class = [torch.zeros(x.shape[:2], dtype=torch.int64) for x in (query, key)]
    best = segment_max_similarity(query, key, *one_class, num_segments=1).similarity
    best = best.reshape(target.grid)
    guide = resize(target.pixels[:1], best.shape)[0].clamp(0, 255).numpy().astype(np.uint8)
    smooth = cv2.ximgproc.fastGlobalSmootherFilter(guide, best.numpy(), _SMOOTHING, _EDGE)
    return torch.from_numpy(smooth) < _RATIO * best.quantile(_QUANTILE)

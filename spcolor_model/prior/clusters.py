"""The embedded prior: clusters of pretrained features, joint over target and references.

Dimensions: N target and M reference positions, C channels, K clusters, h rows and w columns of the
feature grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from ..features import SEMANTIC_LEVELS, WorkingImage, joint_features
from .base import ClassMaps, class_maps
from .presence import unrelated_mask

# The k of the paper; docs/quality.md compares others.
DEFAULT_SEGMENTS = 22
# Softmax temperature of the cluster cosines.
_TEMPERATURE = 0.05
# A cluster with fewer reference positions than these (count, share of the target's) is stray.
_MIN_POSITIONS = 8
_MIN_SHARE = 0.05


class ClusterPrior:
    """Cluster all images' features into K classes, and keep apart what the references lack.

    k-means on the unit features of all images gives cluster centres u_c. With the cosines
    s_ic = x_i . u_c, averaged over 3 x 3 positions,

        C(i) = argmax_c s_ic,    S_cl(i) = max_c softmax_c(s_ic / 0.05).

    A cluster of which the references hold only stray positions is absent: its target positions go
    to their best cluster that is present. Target positions for which no reference has a match
    (`unrelated_mask`) get class K, which no reference position has.

    Args:
        num_segments: number of clusters K.
        seed: of k-means; the same seed gives the same maps.

    Raises:
        ValueError: num_segments below 1.

    Example:
        >>> maps = ClusterPrior(22)([target_image, reference_image])
        >>> maps.num_segments
        23
    """

    def __init__(self, num_segments: int = DEFAULT_SEGMENTS, *, seed: int = 0) -> None:
        if num_segments < 1:
            raise ValueError(f"num_segments: expected at least 1, got {num_segments}")
        self.num_segments = num_segments
        self.seed = seed

    def __call__(self, images: Sequence[WorkingImage]) -> ClassMaps:
        """Return the class maps of a target and its references.

        Raises:
            ValueError: fewer than two images, or fewer positions in them than clusters.
        """
        if len(images) < 2:
            raise ValueError(f"images: expected a target and a reference, got {len(images)}")
        features = joint_features(images, SEMANTIC_LEVELS, own_statistics=True)
        positions = sum(map(len, features))
        if self.num_segments > positions:
            raise ValueError(
                f"num_segments: expected at most {positions}, the positions of all photos, "
                f"got {self.num_segments}"
            )
        centres = self._centres(torch.cat(features))
        target, *references = (
            _smooth((x @ centres.T).T.unflatten(1, image.grid))
            for x, image in zip(features, images, strict=True)
        )
        present = _present(target, references)
        related_scores = target.masked_fill(~present[:, None, None], -torch.inf)
        labels = related_scores.argmax(0).masked_fill(unrelated_mask(*images), len(centres))
        return class_maps(
            [labels, *(scores.argmax(0) for scores in references)],
            [_confidence(related_scores), *map(_confidence, references)],
            len(centres) + 1,
        )

    def _centres(self, features: Tensor) -> Tensor:
        """Return unit cluster centres [K, C] of features [N + M, C]."""
        kmeans = KMeans(self.num_segments, n_init=1, random_state=self.seed)
        kmeans.fit(features.numpy())
        return F.normalize(torch.from_numpy(kmeans.cluster_centers_), dim=1)


def _smooth(scores: Tensor) -> Tensor:
    """Average scores [K, h, w] over 3 x 3 positions."""
    return F.avg_pool2d(scores, 3, stride=1, padding=1, count_include_pad=False)


def _present(target: Tensor, references: Sequence[Tensor]) -> Tensor:
    """Tell which clusters the references have, from scores [K, h, w] of each image -> [K] bool."""
    in_target, *in_each = (
        scores.argmax(0).flatten().bincount(minlength=len(scores))
        for scores in (target, *references)
    )
    in_references = torch.stack(in_each).sum(0)
    needed = (_MIN_SHARE * in_target).clamp(min=_MIN_POSITIONS)
    # A tiny reference may hold no cluster of that size; then its largest is present.
    return in_references >= needed.clamp(max=int(in_references.max()))


def _confidence(scores: Tensor) -> Tensor:
    """Return max_c softmax_c(scores / temperature) of scores [K, h, w] as [h, w]."""
    return (scores / _TEMPERATURE).softmax(0).amax(0)

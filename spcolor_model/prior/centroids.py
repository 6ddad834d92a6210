"""The embedded prior with fixed classes, for training: nothing but a package to download.

Dimensions: B images, C channels of the features, H rows and W columns of an image, h = H / 8 rows
and w = W / 8 columns of the grid, K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from spcolor_ops import _checks

from ..features import SEMANTIC_LEVELS, STRIDE, network, network_input
from ..networks.weights import load_into, load_state
from .probe import ClusterProbe

# The largest stride of the network.
_MULTIPLE = 32
# A softmax temperature of 0.05, that of `ClusterPrior`, whose features these are.
_SCALE = 20.0
_POSITIONS_PER_PHOTO = 64


class CentroidPrior(nn.Module):
    """A `TensorPrior` of clusters of EfficientNet-Lite0 features, fitted once over many photos.

    `semantic_features` through a `ClusterProbe` of scale 20. The centroids are the state of this
    module; the network, which comes as a package and is the same for all, is not.

    Args:
        centroids: [K, C], as of `fit`.

    Raises:
        TypeError, ValueError: centroids that are no floating [K, C].

    Example:
        >>> prior = CentroidPrior.fit(batches_of_rgb, 22)
        >>> labels, confidence = prior(torch.rand(2, 3, 256, 256))
        >>> labels.shape
        torch.Size([2, 32, 32])
    """

    def __init__(self, centroids: Tensor) -> None:
        super().__init__()
        self.probe = ClusterProbe(centroids, scale=_SCALE)

    @classmethod
    def fit(cls, photos: Iterable[Tensor], num_segments: int, *, seed: int = 0) -> CentroidPrior:
        """Cluster the features of photos by k-means.

        Each photo gives 64 positions at random, about 110 kB.

        Args:
            photos: batches [B, 3, H, W] in 0..1, of any sizes that `semantic_features` takes.
            num_segments: number of classes K.
            seed: of the positions and of k-means; the same seed gives the same centroids.

        Raises:
            TypeError, ValueError: num_segments that is no integer from 1, or fewer positions.
        """
        _checks.check_num_segments(num_segments)
        random = torch.Generator().manual_seed(seed)
        sample = []
        for batch in photos:
            for rows in semantic_features(batch).flatten(2).transpose(1, 2).cpu():
                chosen = torch.randperm(len(rows), generator=random)[:_POSITIONS_PER_PHOTO]
                sample.append(rows[chosen])
        found = sum(map(len, sample))
        if found < num_segments:
            raise ValueError(f"photos: expected at least {num_segments} positions, got {found}")
        kmeans = MiniBatchKMeans(num_segments, batch_size=4096, n_init=3, random_state=seed)
        kmeans.fit(torch.cat(sample).numpy())
        return cls(torch.from_numpy(kmeans.cluster_centers_))

    @classmethod
    def load(cls, path: str | Path, num_segments: int) -> CentroidPrior:
        """Return the prior of a run's `prior.safetensors`.

        Raises:
            FileNotFoundError, ValueError: no such file, or not that of K clusters.
        """
        prior = cls.empty(num_segments)
        load_into(prior, load_state(path), source=str(path))
        return prior

    @classmethod
    def empty(cls, num_segments: int) -> CentroidPrior:
        """Return a prior of K centroids that are 0, for `load_state_dict`."""
        channels = semantic_features(torch.zeros(1, 3, _MULTIPLE, _MULTIPLE)).shape[1]
        return cls(torch.zeros(num_segments, channels))

    @property
    def num_segments(self) -> int:
        """Number of classes K."""
        return self.probe.num_segments

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels [B, h, w] int64 in 0..K-1 and confidence [B, h, w] in 1/K..1.

        Args:
            rgb: [B, 3, H, W] in 0..1; H and W are multiples of 32.
        """
        return self.probe(semantic_features(rgb))


@torch.no_grad()
def semantic_features(rgb: Tensor) -> Tensor:
    """Return unit features that tell what a thing is, at every 8th pixel.

    What `joint_features(images, SEMANTIC_LEVELS, own_statistics=True)` gives single photos.

    Args:
        rgb: [B, 3, H, W] in 0..1; H and W are multiples of 32.

    Returns:
        [B, 432, H / 8, W / 8] float32.

    Raises:
        TypeError, ValueError: another type or shape.

    Example:
        >>> semantic_features(torch.rand(2, 3, 256, 256)).shape
        torch.Size([2, 432, 32, 32])
    """
    _checks.check_features("rgb", rgb, "B 3 H W")
    _checks.check_size("rgb", rgb, 1, 3, "RGB")
    if any(length == 0 or length % _MULTIPLE for length in rgb.shape[2:]):
        got = list(rgb.shape)
        raise ValueError(f"rgb: expected H and W that are multiples of {_MULTIPLE}, got {got}")
    grid = [length // STRIDE for length in rgb.shape[2:]]
    pyramid = _network_on(rgb.device).forward_intermediates(
        network_input(rgb.float()), intermediates_only=True
    )
    levels = []
    for level in SEMANTIC_LEVELS:
        maps = F.interpolate(pyramid[level], grid, mode="bilinear", antialias=True)
        std, mean = torch.std_mean(maps, dim=(2, 3), keepdim=True)
        levels.append(F.normalize((maps - mean) / std.clamp(min=1e-6), dim=1))
    return F.normalize(torch.cat(levels, dim=1), dim=1)


@cache
def _network_on(device: torch.device) -> nn.Module:
    """Return the network on a device: a copy, because others use the one on the CPU."""
    return network() if device.type == "cpu" else copy.deepcopy(network()).to(device)

"""STEGO: classes without labels, from a DINO vision transformer (Hamilton et al., ICLR 2022).

Dimensions: B images, E channels of a token, h rows and w columns of the grid of patches (one each
8 pixels), K classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from spcolor_ops import _checks

from ..prior.probe import ClusterProbe
from .weights import load_into, load_state

IMAGE_SIZE = 256
# The classes and the code of the published checkpoint cocostuff27_vit_base_5.
NUM_CLUSTERS = 27
CODE_CHANNELS = 90
# DINO adds it to the size before it divides, so that rounding cannot lose the last row.
_SIZE_OFFSET = 0.1
# What the published checkpoint holds for its own training and evaluation.
_TRAINING_ONLY = ("train_cluster_probe.", "linear_probe.", "decoder.")


class Stego(nn.Module):
    """Classes and confidences of photos: C and S_cl of the paper (section III-B).

    A frozen DINO ViT-B/8 describes every patch of 8 x 8 pixels, a small head makes a code of 90
    channels of it, and a `ClusterProbe` says which of the K clusters it is. The parameters have
    the names of the published checkpoint: `net.model.*`, `net.cluster1.*`, `net.cluster2.*` and
    `cluster_probe.clusters`. Weights are random until they are loaded.

    Args:
        num_segments: number of classes K.
        backbone: what `dino_vit` returns; ViT-B/8 where None.

    Raises:
        TypeError, ValueError: num_segments that is no integer from 1.

    Example:
        >>> stego = Stego.from_checkpoint(find("cocostuff27_vit_base_5"), num_segments=22)
        >>> labels, confidence = stego(torch.rand(1, 3, 256, 256))
        >>> labels.shape
        torch.Size([1, 32, 32])
    """

    def __init__(
        self, num_segments: int = NUM_CLUSTERS, *, backbone: nn.Module | None = None
    ) -> None:
        super().__init__()
        _checks.check_num_segments(num_segments)
        self.net = CodeNet(dino_vit() if backbone is None else backbone)
        self.cluster_probe = ClusterProbe(torch.randn(num_segments, CODE_CHANNELS))
        for name, values in (("mean", IMAGENET_DEFAULT_MEAN), ("std", IMAGENET_DEFAULT_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        num_segments: int = NUM_CLUSTERS,
        *,
        backbone: nn.Module | None = None,
    ) -> Stego:
        """Load a checkpoint of STEGO, and merge its 27 clusters to fewer where asked to.

        Args:
            path: a Lightning .ckpt, or any file that `load_state` reads with the same names; what
                it holds for STEGO's own training is left out.
            num_segments: number of classes, 1..27; `reduce_centroids` where below 27.
            backbone: what `dino_vit` returns, if the checkpoint is not of ViT-B/8.

        Raises:
            FileNotFoundError, ValueError: as `load_state`, `load_into` and `reduce_centroids`.
        """
        stego = cls(backbone=backbone)
        load_into(stego, load_state(path), source=path, ignore=_TRAINING_ONLY)
        if num_segments != NUM_CLUSTERS:
            centroids = reduce_centroids(stego.cluster_probe.clusters, num_segments)
            stego.cluster_probe = ClusterProbe(centroids)
        return stego

    @property
    def num_segments(self) -> int:
        """Number of classes K."""
        return self.cluster_probe.num_segments

    @torch.no_grad()
    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels [B, 32, 32] int64 in 0..K-1 and confidence [B, 32, 32] in 1/K..1.

        Args:
            rgb: [B, 3, 256, 256] in 0..1.

        Raises:
            TypeError, ValueError: another type or shape; `StegoPrior` takes any size.
        """
        _checks.check_features("rgb", rgb, "B 3 256 256")
        for dim, size in ((1, 3), (2, IMAGE_SIZE), (3, IMAGE_SIZE)):
            _checks.check_size("rgb", rgb, dim, size, "STEGO's input")
        images = (rgb.to(self.mean.dtype) - self.mean) / self.std
        return self.cluster_probe(self.net(images))


class CodeNet(nn.Module):
    """DINO's tokens x of every patch, and STEGO's head over them.

        code = A_1 x + A_3 relu(A_2 x)    (A_1, A_2, A_3 affine)

    The published head drops channels out in training; it is frozen here, and has no dropout.

    Args:
        backbone: what `dino_vit` returns.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        width = backbone.embed_dim
        self.model = backbone
        self.cluster1 = nn.Sequential(nn.Conv2d(width, CODE_CHANNELS, 1))
        self.cluster2 = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, CODE_CHANNELS, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return codes [B, 90, H / 8, W / 8] of normalised images [B, 3, H, W]."""
        tokens = patch_tokens(self.model, images)
        return self.cluster1(tokens) + self.cluster2(tokens)


def dino_vit(name: str = "vit_base_patch8_224.dino", **options: object) -> nn.Module:
    """Return timm's vision transformer of a DINO checkpoint, untrained, for images of any size.

    Args:
        name: timm's model; its parameters have DINO's names.
        options: for `timm.create_model`, such as `depth`.

    Example:
        >>> len(dino_vit().state_dict())
        150
    """
    return timm.create_model(
        name, pretrained=False, num_classes=0, dynamic_img_size=True, **options
    )


def patch_tokens(vit: nn.Module, images: Tensor) -> Tensor:
    """Return what the last block of a DINO transformer says of every patch, after its norm.

    Unlike timm's own forward, positions are resampled as DINO does (`resample_positions`).

    Args:
        vit: what `dino_vit` returns.
        images: [B, 3, H, W], normalised; H and W are multiples of the patch size.

    Returns:
        [B, E, h, w].
    """
    patches = vit.patch_embed(images)
    size = patches.shape[1:3]
    tokens = torch.cat([vit.cls_token.expand(len(images), -1, -1), patches.flatten(1, 2)], dim=1)
    tokens = vit.norm(vit.blocks(tokens + resample_positions(vit.pos_embed, size)))
    return tokens[:, 1:].transpose(1, 2).unflatten(2, size)


def resample_positions(positions: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample a position embedding to another grid, bicubically, as DINO does.

    The grid's coordinate of row y is (y + 0.5) n / (h + 0.1) - 0.5, and likewise of a column: DINO
    divides by a size that is 0.1 larger.

    Args:
        positions: [1, 1 + n * n, E]; the class token's comes first and stays.
        size: (h, w).

    Returns:
        [1, 1 + h * w, E].

    Example:
        >>> resample_positions(torch.randn(1, 785, 768), (32, 32)).shape
        torch.Size([1, 1025, 768])
    """
    side = round((positions.shape[1] - 1) ** 0.5)
    if tuple(size) == (side, side):
        return positions
    grid = positions[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    scale = [(length + _SIZE_OFFSET) / side for length in size]
    grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def reduce_centroids(centroids: Tensor, num_segments: int, *, seed: int = 122) -> Tensor:
    """Merge centroids to fewer by k-means, for the paper's k below 27 (Table III).

    Starts from rows of the centroids that the seed picks, as the published code does, and uses
    their plain Euclidean distance. It runs until no row changes its cluster, where the published
    code stops once all centres together move by less than 0.01; and a cluster that loses its last
    row takes the row farthest from its own, where the published code does not end.

    Args:
        centroids: [N, E].
        num_segments: number of clusters, 1..N.
        seed: of NumPy's legacy generator; 122 in the published code.

    Returns:
        [num_segments, E]: the mean of each cluster.

    Raises:
        TypeError, ValueError: other shapes, or a number that is not in 1..N.

    Example:
        >>> reduce_centroids(torch.randn(27, 90), 22).shape
        torch.Size([22, 90])
    """
    _checks.check_features("centroids", centroids, "N E")
    _checks.check_num_segments(num_segments)
    if num_segments > len(centroids):
        raise ValueError(f"num_segments: expected at most {len(centroids)}, got {num_segments}")
    rows = centroids.detach().cpu().double().numpy()
    # The published choice of rows can only be made with the generator that made it.
    random = np.random.RandomState(seed)
    start = rows[random.choice(len(rows), num_segments, replace=False)]
    means = KMeans(num_segments, init=start, n_init=1, tol=0).fit(rows).cluster_centers_
    return torch.from_numpy(means).to(centroids)

"""Priors of image tensors, for training: the interface, its use for single photos, and one class.

Dimensions: B images, H rows and W columns of an image, h rows and w columns of the grid, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spcolor_ops import _checks

from ..features import STRIDE, WorkingImage
from .base import ClassMaps, class_maps


class TensorPrior(Protocol):
    """A prior whose classes are fixed before it sees a photo: `prior(rgb) -> labels, confidence`.

    A batch of photos of one size, rgb [B, 3, H, W] in 0..1, gives labels [B, h, w] int64 in
    0..num_segments-1 and confidence [B, h, w] float32 in 0..1 on the same device, without
    gradients. A class means the same in every call, so targets and references need not be seen
    together. That is what training asks for; a `Prior` sees one target and its reference, of any
    two sizes, and may make its classes for them. `PairPrior` makes a `Prior` of a `TensorPrior`.

    Attributes:
        num_segments: number of classes K.
    """

    num_segments: int

    def __call__(self, rgb: Tensor) -> tuple[Tensor, Tensor]: ...


class PairPrior:
    """A `TensorPrior` as a `Prior`: each photo is seen alone, at its own size.

    Labels and confidence are resampled to the photo's feature grid by the nearest position.

    Args:
        prior: a `TensorPrior`.
        device: where it computes.

    Example:
        >>> stego = Stego.from_checkpoint("cocostuff27_vit_base_5.ckpt")
        >>> colorize("gray.jpg", "colour.jpg", prior=PairPrior(StegoPrior(stego))).rgb.shape
        (768, 1024, 3)
    """

    def __init__(self, prior: TensorPrior, *, device: str | torch.device = "cpu") -> None:
        self.prior = prior
        self.device = device

    def __call__(self, images: Sequence[WorkingImage]) -> ClassMaps:
        """Return the class maps of B working images."""
        seen = [self._see(image) for image in images]
        labels, confidence = zip(*seen, strict=True)
        return class_maps(labels, confidence, self.prior.num_segments)

    def _see(self, image: WorkingImage) -> tuple[Tensor, Tensor]:
        """Return labels and confidence [h, w] on the grid of one photo."""
        labels, confidence = self.prior(image.pixels[None].to(self.device) / 255)
        # Labels are small enough to be exact in float32.
        maps = torch.stack([labels.float(), confidence.float()], dim=1).cpu()
        labels, confidence = F.interpolate(maps, image.grid, mode="nearest-exact")[0]
        return labels.long(), confidence


class GlobalPrior(nn.Module):
    """One class for every position, confidence 1: the global matching of earlier work.

    The paper's "non-local" (Table II), k = 1.

    Example:
        >>> labels, confidence = GlobalPrior()(torch.rand(2, 3, 256, 256))
        >>> labels.shape
        torch.Size([2, 32, 32])
    """

    num_segments = 1

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels 0 and confidence 1, both [B, ceil(H / 8), ceil(W / 8)].

        Args:
            rgb: [B, 3, H, W].
        """
        _checks.check_features("rgb", rgb, "B 3 H W")
        size = (len(rgb), *(-(-length // STRIDE) for length in rgb.shape[2:]))
        return rgb.new_zeros(size, dtype=torch.int64), rgb.new_ones(size, dtype=torch.float32)

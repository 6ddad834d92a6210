"""STEGO as the prior of the paper (section III-B).

Dimensions: B images, H rows and W columns of an image, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from spcolor_ops import _checks

if TYPE_CHECKING:
    from ..networks.stego import Stego

_INPUT = 256


class StegoPrior(nn.Module):
    """A `TensorPrior` of STEGO's classes, for photos of any size.

    A photo that is not 256 x 256 is resized to it, bilinearly, whatever its aspect ratio. Where it
    shrinks it is antialiased, which the published code does not do.

    Args:
        stego: the network, whose weights are part of this module's state.

    Example:
        >>> prior = StegoPrior(Stego.from_checkpoint("cocostuff27_vit_base_5.ckpt", 22))
        >>> labels, confidence = prior(torch.rand(2, 3, 480, 640))
        >>> labels.shape, prior.num_segments
        (torch.Size([2, 32, 32]), 22)
    """

    def __init__(self, stego: Stego) -> None:
        super().__init__()
        self.stego = stego

    @property
    def num_segments(self) -> int:
        """Number of classes K."""
        return self.stego.num_segments

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels [B, 32, 32] int64 and confidence [B, 32, 32] in 1/K..1.

        Args:
            rgb: [B, 3, H, W] in 0..1.
        """
        _checks.check_features("rgb", rgb, "B 3 H W")
        if rgb.shape[2:] != (_INPUT, _INPUT):
            rgb = F.interpolate(rgb, (_INPUT, _INPUT), mode="bilinear", antialias=True)
        return self.stego(rgb)

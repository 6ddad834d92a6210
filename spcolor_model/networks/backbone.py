"""What VGG-19 and its stand-in share: five maps of a frozen pretrained network.

Dimensions: B images, C channels, H rows and W columns of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from spcolor_ops import _checks

# The coarsest map has one position each 16 or 32 pixels.
_MIN_SIZE = 32


class Backbone(nn.Module):
    """A frozen feature extractor: `backbone(rgb)` returns five maps, fine to coarse.

    The weights never change and the network is always in evaluation mode; gradients flow to `rgb`
    alone. The correspondence network reads the four maps of `correspondence_maps`, the perceptual
    loss the last of the five.

    Attributes:
        name: of the network and its weights.
        correspondence_channels: channels C of the four maps at strides 2, 4, 8 and 16.
    """

    name: str
    correspondence_channels: tuple[int, int, int, int]
    # Index of the stride-2 map among the five.
    _stride_2: int

    def correspondence_maps(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the four maps at strides 2, 4, 8 and 16 of the five.

        Args:
            maps: what the backbone returned, five tensors [B, C, H / s, W / s].

        Example:
            >>> [x.shape[2] for x in backbone.correspondence_maps(backbone(rgb))]  # H = 256
            [128, 64, 32, 16]
        """
        return maps[self._stride_2 : self._stride_2 + 4]

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode: a network that trains calls this on all its parts."""
        return super().train(False)

    def _freeze(self) -> None:
        self.requires_grad_(False).eval()


def check_rgb(rgb: object) -> None:
    """Check an image batch [B, 3, H, W] that a backbone can read."""
    _checks.check_features("rgb", rgb, "B 3 H W")
    _checks.check_size("rgb", rgb, 1, 3, "R, G, B")
    if min(rgb.shape[2:]) < _MIN_SIZE:
        raise ValueError(
            f"rgb: expected at least {_MIN_SIZE} rows and columns, got shape {list(rgb.shape)}"
        )

"""EfficientNet-Lite0 in the place of VGG-19, where VGG-19's weights are absent.

Dimensions: B images, C channels, H rows and W columns of the image.
"""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor

from ..features import network, network_input
from .backbone import Backbone, check_rgb


class EfficientNetLite0(Backbone):
    """Return the five maps of EfficientNet-Lite0 with its packaged ImageNet weights.

    A stand-in, not the paper's network: results made with it must say so. The input is prepared as
    x = (255 rgb - 127) / 128.

    Example:
        >>> [tuple(x.shape[1:]) for x in EfficientNetLite0()(torch.rand(1, 3, 256, 256))]
        [(16, 128, 128), (24, 64, 64), (40, 32, 32), (112, 16, 16), (320, 8, 8)]
    """

    name = "efficientnet_lite0"
    correspondence_channels = (16, 24, 40, 112)
    _stride_2 = 0

    def __init__(self) -> None:
        super().__init__()
        # A copy: the shared network must stay where it is when this one moves to a GPU.
        self.network = deepcopy(network())
        self._freeze()

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """Extract the five maps.

        Args:
            rgb: [B, 3, H, W] in 0..1, H and W at least 32. A gray target is replicated.

        Returns:
            Five maps [B, C, H / s, W / s], rounded up: strides s = 2, 4, 8, 16, 32 with
            C = 16, 24, 40, 112, 320.

        Raises:
            TypeError, ValueError: another shape or an integer dtype.
        """
        check_rgb(rgb)
        return self.network.forward_intermediates(network_input(rgb), intermediates_only=True)

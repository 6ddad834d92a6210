"""The colorization network: from warped colour, S and luminance to ab.

Dimensions: B images, H rows and W columns.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spcolor_ops import _checks

_STRIDE = 8
# ab at which tanh saturates.
_AB_RANGE = 128.0


class ColorVidNet(nn.Module):
    """Colour the target from what the reference lends it (paper fig. 2, "colorization network").

    A U-Net of ten blocks down to an eighth of the size, where blocks 5 and 6 are dilated. Each
    block is instance-normalised, skips are added after that, and ab = 128 tanh(conv(x)). State
    dict: 65 keys, those of the published `ColorVidNet`, which comes from Deep Exemplar-based Video
    Colorization.

    Args:
        in_channels: of the input.
        width: channels of the first block, an even number; later blocks have 2, 4 and 8 times it.

    Raises:
        ValueError: width odd or below 2, or in_channels below 1.

    Example:
        >>> ColorVidNet()(torch.zeros(1, 4, 256, 256)).shape
        torch.Size([1, 2, 256, 256])
    """

    def __init__(self, in_channels: int = 4, width: int = 64) -> None:
        super().__init__()
        if in_channels < 1:
            raise ValueError(f"in_channels: expected at least 1, got {in_channels}")
        if width < 2 or width % 2:
            raise ValueError(f"width: expected a positive even number, got {width}")
        self.in_channels = in_channels
        w1, w2, w4, w8 = width, 2 * width, 4 * width, 8 * width
        self.conv1_1_new = nn.Sequential(
            _conv(in_channels, width // 2), nn.ReLU(), _conv(width // 2, w1)
        )
        self.conv1_2 = _conv(w1, w1)
        self.conv1_2norm_ss = _subsampling(w1)
        self.conv2_1, self.conv2_2 = _conv(w1, w2), _conv(w2, w2)
        self.conv2_2norm_ss = _subsampling(w2)
        self.conv3_1, self.conv3_2, self.conv3_3 = _conv(w2, w4), _conv(w4, w4), _conv(w4, w4)
        self.conv3_3norm_ss = _subsampling(w4)
        self.conv4_1, self.conv4_2, self.conv4_3 = _conv(w4, w8), _conv(w8, w8), _conv(w8, w8)
        self.conv5_1, self.conv5_2, self.conv5_3 = (_conv(w8, w8, dilation=2) for _ in range(3))
        self.conv6_1, self.conv6_2, self.conv6_3 = (_conv(w8, w8, dilation=2) for _ in range(3))
        self.conv7_1, self.conv7_2, self.conv7_3 = (_conv(w8, w8) for _ in range(3))
        self.conv8_1, self.conv3_3_short = _upsampling(w8, w4), _conv(w4, w4)
        self.conv8_2, self.conv8_3 = _conv(w4, w4), _conv(w4, w4)
        self.conv9_1, self.conv2_2_short = _upsampling(w4, w2), _conv(w2, w2)
        self.conv9_2 = _conv(w2, w2)
        self.conv10_1, self.conv1_2_short = _upsampling(w2, w2), _conv(w1, w2)
        self.conv10_2 = _conv(w2, w2)
        self.conv10_ab = nn.Conv2d(w2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict ab.

        Args:
            x: [B, in_channels, H, W], H and W multiples of 8, at least 16. The four channels of
                SPColor are, in this order, warped a and b (CIELAB units), S (about 0..1) and
                L - 50 (-50..50).

        Returns:
            ab [B, 2, H, W] in -128..128, CIELAB units.

        Raises:
            TypeError, ValueError: another shape or an integer dtype.
        """
        self._check(x)
        fine = _block(x, self.conv1_1_new, self.conv1_2)
        middle = _block(self.conv1_2norm_ss(fine), self.conv2_1, self.conv2_2)
        coarse = _block(self.conv2_2norm_ss(middle), self.conv3_1, self.conv3_2, self.conv3_3)
        x = _block(self.conv3_3norm_ss(coarse), self.conv4_1, self.conv4_2, self.conv4_3)
        x = _block(x, self.conv5_1, self.conv5_2, self.conv5_3)
        x = _block(x, self.conv6_1, self.conv6_2, self.conv6_3)
        x = _block(x, self.conv7_1, self.conv7_2, self.conv7_3)
        x = F.relu(self.conv8_1(x) + self.conv3_3_short(coarse))
        x = _block(x, self.conv8_2, self.conv8_3)
        x = F.relu(self.conv9_1(x) + self.conv2_2_short(middle))
        x = _block(x, self.conv9_2)
        x = F.relu(self.conv10_1(x) + self.conv1_2_short(fine))
        x = F.leaky_relu(self.conv10_2(x), 0.2)
        return _AB_RANGE * torch.tanh(self.conv10_ab(x))

    def _check(self, x: Tensor) -> None:
        _checks.check_features("x", x, "B C H W")
        _checks.check_size("x", x, 1, self.in_channels, "in_channels")
        if any(size < 2 * _STRIDE or size % _STRIDE for size in x.shape[2:]):
            raise ValueError(
                f"x: expected H and W multiples of {_STRIDE}, at least {2 * _STRIDE}, "
                f"got shape {list(x.shape)}"
            )


def _block(x: Tensor, *convs: nn.Module) -> Tensor:
    """Convolutions with a ReLU each, then instance norm."""
    for conv in convs:
        x = F.relu(conv(x))
    return F.instance_norm(x)


def _conv(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)


def _upsampling(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2), _conv(in_channels, out_channels))


def _subsampling(channels: int) -> nn.Conv2d:
    """Every second pixel, with a learned factor for each channel."""
    conv = nn.Conv2d(channels, channels, 1, stride=2, bias=False, groups=channels)
    # Plain subsampling at first: a random factor would drown some channels and flip others.
    nn.init.ones_(conv.weight)
    return conv

"""The discriminator of the adversarial loss: strided spectral-norm convolutions, self-attention.

Dimensions: B images, C channels, H rows and W columns, N = H/4 * W/4 positions of the attention.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spcolor_ops import _checks

_MAX_LAYERS = 6
_MIN_IMAGE_SIZE = 16
_LAST_KERNEL = 3
# Power iterations on fresh weights, so that sigma is right before the first training step.
_INITIAL_ITERATIONS = 15


class Discriminator(nn.Module):
    """Score whether Lab images are real, for the adversarial loss (paper eq. 17).

    4 x 4 convolutions of stride 2 halve the image until about 4 x 4 positions are left, one
    self-attention stands after the second, and score = mean(conv3x3(x)). State dict of the default
    size: 41 keys, those of the published code, whose network comes from Deep Exemplar-based Video
    Colorization.

    Args:
        width: channels of the first two layers; each later one doubles them.
        image_size: of the images, at least 16. 256 and more have six layers; each halving of the
            size drops the last of them.

    Raises:
        ValueError: width below 1 or image_size below 16.

    Example:
        >>> Discriminator()(torch.zeros(2, 3, 256, 256)).shape
        torch.Size([2, 1])
    """

    def __init__(self, width: int = 64, image_size: int = 256) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width: expected at least 1, got {width}")
        if image_size < _MIN_IMAGE_SIZE:
            raise ValueError(f"image_size: expected at least {_MIN_IMAGE_SIZE}, got {image_size}")
        # A layer each halving, until 4 to 7 positions of the side are left.
        self.num_layers = min(_MAX_LAYERS, image_size.bit_length() - 3)
        self.layer1_new = _layer(3, width, normalize=False)
        self.layer2 = _layer(width, width)
        self.attention = SelfAttention(width)
        channels = width
        for index in range(3, self.num_layers + 1):
            self.add_module(f"layer{index}", _layer(channels, 2 * channels))
            channels *= 2
        self.last_new = SpectralNormConv2d(channels, 1, _LAST_KERNEL)

    def forward(self, lab: Tensor) -> Tensor:
        """Score images.

        Args:
            lab: [B, 3, H, W], L in 0..100 and ab in CIELAB units, unscaled. H and W at least
                3 * 2^layers (192 with six layers).

        Returns:
            Scores [B, 1], unbounded.

        Raises:
            TypeError, ValueError: another shape or an integer dtype.
        """
        self._check(lab)
        x = self.attention(self.layer2(self.layer1_new(lab)))
        for index in range(3, self.num_layers + 1):
            x = getattr(self, f"layer{index}")(x)
        return self.last_new(x).mean(dim=(2, 3))

    def _check(self, lab: Tensor) -> None:
        _checks.check_features("lab", lab, "B 3 H W")
        _checks.check_size("lab", lab, 1, 3, "L, a, b")
        least = _LAST_KERNEL << self.num_layers
        if min(lab.shape[2:]) < least:
            raise ValueError(
                f"lab: expected H and W of at least {least} for {self.num_layers} layers, got "
                f"shape {list(lab.shape)}; a smaller image_size has fewer layers"
            )


class SelfAttention(nn.Module):
    """y_i = x_i + gamma sum_j softmax_j(q_i . k_j) v_j over all positions (SAGAN).

    The energies q_i . k_j are unscaled, and no [N, N] matrix is kept. gamma starts at 0.

    Args:
        channels: C of the input, the queries, the keys and the values.

    Example:
        >>> SelfAttention(64)(torch.zeros(1, 64, 64, 64)).shape
        torch.Size([1, 64, 64, 64])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv = SpectralNormConv2d(channels, channels, 1)
        self.key_conv = SpectralNormConv2d(channels, channels, 1)
        self.value_conv = SpectralNormConv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend.

        Args:
            x: [B, C, H, W].

        Returns:
            [B, C, H, W].
        """
        convs = (self.query_conv, self.key_conv, self.value_conv)
        # [B, 1 head, N, C] without gaps: fused attention takes no other strides.
        heads = (conv(x).flatten(2).transpose(1, 2)[:, None].contiguous() for conv in convs)
        attended = F.scaled_dot_product_attention(*heads, scale=1.0)
        return x + self.gamma * attended[:, 0].transpose(1, 2).unflatten(2, x.shape[2:])


class SpectralNormConv2d(nn.Module):
    """Convolution with W / sigma, where sigma is the largest singular value of W [O, I k k].

    One power iteration, v = W^T u / ||.|| then u = W v / ||.||, improves sigma = u . W v at each
    forward in training. In evaluation u and v rest, so that a score can be repeated (the published
    code iterates there too). u and v are constants to the gradient.

    State dict: module.bias [O], module.weight_u [O], module.weight_v [I k k] and
    module.weight_bar [O, I, k, k], which is W.

    Args:
        in_channels: I. out_channels: O. kernel_size: k. stride, padding: as in `nn.Conv2d`.

    Example:
        >>> SpectralNormConv2d(3, 64, 4, stride=2, padding=1)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 64, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        conv = nn.Conv2d(in_channels, out_channels, kernel_size)
        # The keys of the published code have this level between.
        self.module = nn.Module()
        self.module.weight_bar, self.module.bias = conv.weight, conv.bias
        rows, columns = conv.weight.flatten(1).shape
        for name, size in (("weight_u", rows), ("weight_v", columns)):
            self.module.register_buffer(name, F.normalize(torch.randn(size), dim=0, eps=1e-12))
        for _ in range(_INITIAL_ITERATIONS):
            self._iterate()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: [B, I, H, W].

        Returns:
            [B, O, H', W'].
        """
        if self.training:
            self._iterate()
        held = self.module
        # Clones: the next forward overwrites u and v, perhaps before this one's backward.
        u, v = held.weight_u.clone(), held.weight_v.clone()
        sigma = u @ (held.weight_bar.flatten(1) @ v)
        return F.conv2d(x, held.weight_bar / sigma, held.bias, self.stride, self.padding)

    @torch.no_grad()
    def _iterate(self) -> None:
        """One power iteration, in place."""
        matrix, u, v = self.module.weight_bar.flatten(1), self.module.weight_u, self.module.weight_v
        v.copy_(F.normalize(matrix.T @ u, dim=0, eps=1e-12))
        u.copy_(F.normalize(matrix @ v, dim=0, eps=1e-12))


def _layer(in_channels: int, out_channels: int, normalize: bool = True) -> nn.Sequential:
    """Convolution that halves the size, instance norm and LeakyReLU."""
    norm = [nn.InstanceNorm2d(out_channels)] if normalize else []
    conv = SpectralNormConv2d(in_channels, out_channels, 4, stride=2, padding=1)
    return nn.Sequential(conv, *norm, nn.LeakyReLU(0.2))

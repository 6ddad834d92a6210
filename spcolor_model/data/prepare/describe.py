"""What a photo looks like, in numbers that can be compared with those of another.

Everything is computed of the gray photo, because the targets of colorization are gray.

Dimensions: H rows and W columns of the photo, C channels of the network, 7 x 7 cells.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...color import rgb_to_lab
from ...networks import BackboneName, load_backbone

CELLS = 7
LOCAL_CHANNELS = 64
BINS = 10
# Seven cells of 32 pixels.
_SIDE = 224
# Loaded once in each process.
load_network = cache(load_backbone)

GLOBAL_CHANNELS = {BackboneName.efficientnet_lite0: 320, BackboneName.vgg19: 512}


class Description(NamedTuple):
    """What a photo looks like.

    Attributes:
        phash: 64 bits of the low frequencies.
        whole: [C] float16, unit: the mean over the cells.
        cells: [49, 64] float16, unit rows.
        histograms: [49, 10] uint16: how many of a cell's 1024 pixels are how bright.
    """

    phash: int
    whole: np.ndarray
    cells: np.ndarray
    histograms: np.ndarray


class Look(NamedTuple):
    """What a photo looks like, without what finds its duplicates; see `Description`."""

    whole: np.ndarray
    cells: np.ndarray
    histograms: np.ndarray


def describe(rgb: np.ndarray, features: BackboneName) -> Description:
    """Describe a photo.

    Args:
        rgb: [H, W, 3] uint8.
        features: which network.

    Raises:
        FileNotFoundError, ValueError: the network's weights are not there or damaged.

    Example:
        >>> describe(photo, BackboneName.efficientnet_lite0).cells.shape
        (49, 64)

    Source: paper section IV, after He et al. 2018, where the network is VGG-19.
    """
    # Of the extra "prepare"; whoever only looks does without.
    import imagehash

    bits = np.packbits(imagehash.phash(Image.fromarray(rgb)).hash)
    return Description(int.from_bytes(bits.tobytes(), "big"), *look(rgb, features))


def look(rgb: np.ndarray, features: BackboneName = BackboneName.efficientnet_lite0) -> Look:
    """Describe how a photo looks.

    The photo is stretched to a square, so that the cells cover all of it.

    Args, errors: as `describe`.

    Example:
        >>> look(photo).whole.shape
        (320,)
    """
    square = np.array(Image.fromarray(rgb).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))
    luminance = torch.from_numpy(rgb_to_lab(square)[0]) / 100
    with torch.inference_mode():
        maps = load_network(features)(luminance.expand(1, 3, -1, -1))[-1]
        found = F.adaptive_avg_pool2d(maps, CELLS)[0].flatten(1).T
        whole = F.normalize(found.mean(dim=0), dim=0)
        cells = F.normalize(found @ _projection(found.shape[1]), dim=1)
    return Look(whole.half().numpy(), cells.half().numpy(), _histograms(luminance.numpy()))


@cache
def _projection(channels: int) -> Tensor:
    """Return the random projection [C, 64] that is the same in every run."""
    values = np.random.default_rng(0).standard_normal((channels, LOCAL_CHANNELS))
    return torch.from_numpy(values).float()


def _histograms(luminance: np.ndarray) -> np.ndarray:
    """Count the values 0..1 of each cell of a luminance [224, 224] in 10 bins: [49, 10] uint16."""
    bins = np.clip(luminance * BINS, 0, BINS - 1).astype(np.int64)
    side = len(luminance) // CELLS
    cells = bins.reshape(CELLS, side, CELLS, side).swapaxes(1, 2).reshape(CELLS**2, -1)
    return np.stack([(cells == number).sum(axis=1) for number in range(BINS)], 1).astype(np.uint16)

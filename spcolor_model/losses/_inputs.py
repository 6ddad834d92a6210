"""What every loss does with its arguments first."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spcolor_ops import _checks


def as_float(name: str, x: object, dims: str) -> Tensor:
    """Check a floating tensor with the named dimensions; return it in at least float32.

    Squares of VGG-19's features pass float16's range, and a mean rounded to bfloat16 is coarse.
    """
    _checks.check_features(name, x, dims)
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_same_shape(name: str, x: Tensor, like_name: str, like: Tensor) -> None:
    if x.shape != like.shape:
        raise ValueError(
            f"{name}: expected shape {list(like.shape)} (that of {like_name}), got {list(x.shape)}"
        )


def similarity_mask(similarity: object, like_name: str, like: Tensor) -> Tensor:
    """Return 1 - S, [B, 1, H, W] without a gradient, of S [B, h', w'] of any grid.

    Every position takes the nearest S at its upper left corner. `like` is [B, C, H, W].
    """
    found = as_float("similarity", similarity, "B h' w'").detach()
    _checks.check_size("similarity", found, 0, like.shape[0], like_name)
    return 1 - F.interpolate(found[:, None], like.shape[2:], mode="nearest")

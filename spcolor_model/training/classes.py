"""What the semantic prior sees of a batch, and what it says.

Dimensions: B images, H rows and W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..data import Sample
from ..losses import lab_to_rgb
from ..model import Classes
from ..prior.tensor import TensorPrior
from .config import PriorConfig, Seen


def prior_rgb(luminance: Tensor, ab: Tensor, seen: Seen) -> Tensor:
    """Return a photo [B, 3, H, W] in 0..1 as the prior sees it: in colour, or its luminance alone.

    Args:
        luminance: [B, 1, H, W] in 0..100.
        ab: [B, 2, H, W].
        seen: which of both.
    """
    seen_ab = ab if seen is Seen.color else torch.zeros_like(ab)
    return lab_to_rgb(torch.cat([luminance, seen_ab], dim=1))


@torch.no_grad()
def batch_classes(
    prior: TensorPrior, batch: Sample, config: PriorConfig
) -> tuple[Classes, Classes]:
    """Return the classes of a batch's targets and references; what is stored is not computed."""
    seen = batch.luminance if config.target is Seen.color else batch.seen_luminance
    target = prior_rgb(seen, batch.ab, config.target)
    reference = prior_rgb(batch.reference_luminance, batch.reference_ab, config.reference)
    return (
        _classes(prior, target, batch.classes),
        _classes(prior, reference, batch.reference_classes),
    )


def _classes(prior: TensorPrior, rgb: Tensor, stored: Tensor) -> Classes:
    """Return the classes of photos [B, 3, H, W]; stored: [B, 2, h, w], NaN where there are none."""
    if stored.numel() == 0:
        return Classes(*prior(rgb))
    found = stored.clone()
    is_missing = stored[:, 0, 0, 0].isnan()
    if is_missing.any():
        found[is_missing] = torch.stack([x.float() for x in prior(rgb[is_missing])], dim=1)
    return Classes(found[:, 0].long(), found[:, 1])

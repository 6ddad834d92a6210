"""How well a generator colours held-out pairs."""

from __future__ import annotations

import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from ..data import ColorizationPairs, Sample
from ..losses import lab_to_rgb
from ..prior.tensor import TensorPrior
from .classes import batch_classes
from .config import PriorConfig
from .distributed import Process, sum_of_all


@torch.no_grad()
def validate(
    model: nn.Module,
    prior: TensorPrior,
    pairs: ColorizationPairs,
    config: PriorConfig,
    process: Process,
) -> dict[str, float]:
    """Return the means over the pairs, shared out to the processes.

        ab_error = mean |ab - truth| (Euclidean, in Lab units), psnr in dB over sRGB, similarity =
        mean S, unrelated = share of positions whose class the reference lacks

    and `gray_ab_error`, the error of leaving everything gray, to compare with.

    Args:
        model: `SPColor`, in whatever mode.
        prior: classes of a batch.
        pairs: held out, without self-references.
        config: what the prior sees.
        process: which share is this process's.
    """
    names = ("ab_error", "gray_ab_error", "psnr", "similarity", "unrelated")
    share = Subset(pairs, range(process.rank, len(pairs), process.world_size))
    sums = torch.zeros(len(names) + 1, dtype=torch.float64, device=process.device)
    # A generator of its own leaves the run's random numbers alone.
    for sample in DataLoader(share, batch_size=1, generator=torch.Generator()):
        batch = Sample(*(x.to(process.device) for x in sample))
        sums += torch.tensor([*_measure(model, prior, batch, config), 1]).to(sums)
    *totals, count = sum_of_all(sums).tolist()
    return {name: total / count for name, total in zip(names, totals, strict=True)}


def _measure(
    model: nn.Module, prior: TensorPrior, batch: Sample, config: PriorConfig
) -> list[float]:
    classes, reference_classes = batch_classes(prior, batch, config)
    prediction = model(
        batch.seen_luminance,
        batch.reference_luminance,
        batch.reference_ab,
        classes,
        reference_classes,
    )
    truth, found = (
        lab_to_rgb(torch.cat([batch.luminance, ab], dim=1)).double().cpu().numpy()
        for ab in (batch.ab, prediction.ab.float())
    )
    return [
        _error(prediction.ab, batch.ab),
        _error(torch.zeros_like(batch.ab), batch.ab),
        peak_signal_noise_ratio(truth, found, data_range=1),
        prediction.similarity.mean().item(),
        prediction.unrelated.float().mean().item(),
    ]


def _error(ab: Tensor, truth: Tensor) -> float:
    """Return the mean Euclidean distance of colours [B, 2, H, W]."""
    return (ab.float() - truth).norm(dim=1).mean().item()

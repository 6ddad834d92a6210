"""Relativistic average least-squares GAN."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spcolor_ops import _checks

from ._inputs import as_float


def adversarial_discriminator(
    real: Tensor, fake: Tensor, *, batch_mean: Callable[[Tensor], Tensor] = torch.mean
) -> Tensor:
    """Loss of the discriminator: real photos score 1 above the mean fake, fakes 1 below.

        L_D = ½ [ mean_b (r_b - batch_mean(f) - 1)² + mean_b (f_b - batch_mean(r) + 1)² ]

    Args:
        real: scores r of real photos, [B, 1], unbounded.
        fake: scores f of predictions, [B', 1]; the predictions are detached, the scores are not.
        batch_mean: mean of [B, 1] scores: `torch.mean` of the local batch, or
            `spcolor_model.training.distributed.global_mean`.

    Returns:
        A scalar; 0 where every real score is exactly 1 above every fake one.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> adversarial_discriminator(torch.ones(8, 1), torch.zeros(8, 1))
        tensor(0.)

    Source: the paper takes it from its reference [6]; A. Jolicoeur-Martineau, "The relativistic
    discriminator", 2018 (RaLSGAN), with the factor ½ of LSGAN.
    """
    real, fake = _scores("real", real), _scores("fake", fake)
    return _relativistic(real, fake, batch_mean)


def adversarial_generator(
    real: Tensor, fake: Tensor, *, batch_mean: Callable[[Tensor], Tensor] = torch.mean
) -> Tensor:
    """Loss of the generator: `adversarial_discriminator` with real and fake exchanged.

        L_adv = ½ [ mean_b (r_b - batch_mean(f) + 1)² + mean_b (f_b - batch_mean(r) - 1)² ]

    Args, Returns, Raises, Source: as in `adversarial_discriminator`. Real scores may be detached.

    Example:
        >>> adversarial_generator(torch.ones(8, 1), torch.zeros(8, 1))
        tensor(4.)
    """
    real, fake = _scores("real", real), _scores("fake", fake)
    return _relativistic(fake, real, batch_mean)


def _relativistic(better: Tensor, worse: Tensor, batch_mean: Callable[[Tensor], Tensor]) -> Tensor:
    """Return how far `better` is from 1 above the mean of `worse`, and the other way round."""
    above = better - batch_mean(worse)
    below = worse - batch_mean(better)
    return ((above - 1).square().mean() + (below + 1).square().mean()) / 2


def _scores(name: str, scores: Tensor) -> Tensor:
    scores = as_float(name, scores, "B 1")
    _checks.check_size(name, scores, 1, 1, "a score")
    return scores

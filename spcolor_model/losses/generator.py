"""The objective of the generator, WarpNet and ColorVidNet together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ._inputs import as_float
from .adversarial import adversarial_generator
from .contextual import contextual_pyramid
from .masked_l1 import similarity_masked_l1
from .perceptual import perceptual, similarity_masked_perceptual
from .self_reference import self_reference_l1
from .smoothness import smoothness


@dataclass(frozen=True)
class LossWeights:
    """Weights λ of the generator's losses; a term of weight 0 is not computed.

    Attributes:
        l1: of `self_reference_l1`.
        perceptual: of `perceptual` or `similarity_masked_perceptual`.
        adversarial: of `adversarial_generator`.
        smoothness: of `smoothness`.
        contextual: of `contextual_pyramid`; 0 in the paper, 0.2 in the published code.
        warp: of `self_reference_l1` of the warped colours; this project's own, 0 in the paper. It
            tells WarpNet directly what to match, which matters where it starts from nothing.
        masked_l1: of `similarity_masked_l1`; this project's own, 0 in the paper. Colours that were
            matched with little similarity are to fade.

    Raises:
        ValueError: a weight that is negative or not finite, or all 0.

    Example:
        >>> LossWeights(contextual=0.2).perceptual
        0.01

    Source: paper section IV.
    """

    l1: float = 2.0
    perceptual: float = 0.01
    adversarial: float = 0.4
    smoothness: float = 2.0
    contextual: float = 0.0
    warp: float = 0.0
    masked_l1: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name}: expected a finite weight of at least 0, got {weight}")
        if not any(asdict(self).values()):
            raise ValueError("weights: expected at least one above 0, got all 0")


@dataclass(frozen=True)
class GeneratorLoss:
    """The generator's weighted sum of losses.

        L_total = λ_L1 L1 + λ_SMP L_SMP + λ_adv L_adv + λ_smooth L_smooth
                  [+ λ_ctx L_ctx + λ_warp L_warp + λ_mL1 L_mL1]

    Attributes:
        weights: λ.
        masked: the perceptual term is masked by similarity (SMP), else plain, as in table II.
        l1_published_scale: divide the L1 term by B, as the published code does.
        batch_mean: as in `self_reference_l1` and `adversarial_generator`.

    Example:
        >>> loss = GeneratorLoss(LossWeights(l1=0, perceptual=0, adversarial=0))
        >>> total, terms = loss(ab=torch.ones(1, 2, 8, 8), truth_lab=torch.ones(1, 3, 8, 8))
        >>> list(terms)
        ['smoothness']

    Source: paper eq. 17.
    """

    weights: LossWeights = LossWeights()
    masked: bool = True
    l1_published_scale: bool = False
    batch_mean: Callable[[Tensor], Tensor] = torch.mean

    def __call__(
        self,
        *,
        ab: Tensor,
        truth_lab: Tensor,
        is_self: Tensor | None = None,
        features: Sequence[Tensor] = (),
        truth_features: Sequence[Tensor] = (),
        reference_features: Sequence[Tensor] = (),
        warped_ab: Tensor | None = None,
        similarity: Tensor | None = None,
        real: Tensor | None = None,
        fake: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return L_total and its terms.

        What only a term of weight 0 would read may be left out.

        Args:
            ab: predicted, [B, 2, H, W], in Lab units.
            truth_lab: the target in its true colours, [B, 3, H, W]: L in 0..100, a and b.
            is_self: [B] bool: the reference is the target itself.
            features: of the prediction: maps [B, C, h, w] of any backbone from fine to coarse. The
                perceptual term reads the last, the contextual term the last three.
            truth_features: likewise, of the target in its true colours.
            reference_features: likewise, of the reference in colour.
            warped_ab: [B, 2, h', w'].
            similarity: S, [B, h', w'].
            real: discriminator's scores of real photos, [B, 1].
            fake: its scores of the predictions, [B, 1].

        Returns:
            The total, a scalar with gradient, and the terms by their name in `LossWeights`:
            scalars, unweighted (total = sum of weight times term) and detached.

        Raises:
            TypeError, ValueError: naming the argument, what was expected and what came.
        """

        def perceptual_term() -> Tensor:
            maps = _last("features", features, 1) + _last("truth_features", truth_features, 1)
            return (
                similarity_masked_perceptual(*maps, similarity)
                if self.masked
                else perceptual(*maps)
            )

        def l1_term() -> Tensor:
            loss = self_reference_l1(ab, truth_lab[:, 1:], is_self, batch_mean=self.batch_mean)
            return loss / len(ab) if self.l1_published_scale else loss

        def warp_term() -> Tensor:
            warped = as_float("warped_ab", warped_ab, "B 2 h' w'")
            truth_ab = F.adaptive_avg_pool2d(truth_lab[:, 1:], warped.shape[2:])
            return self_reference_l1(warped, truth_ab, is_self, batch_mean=self.batch_mean)

        compute = {
            "l1": l1_term,
            "perceptual": perceptual_term,
            "adversarial": lambda: adversarial_generator(real, fake, batch_mean=self.batch_mean),
            "smoothness": lambda: smoothness(ab, truth_lab),
            "contextual": lambda: contextual_pyramid(
                _last("features", features, 3),
                _last("reference_features", reference_features, 3),
            ),
            "warp": warp_term,
            "masked_l1": lambda: similarity_masked_l1(ab, truth_lab[:, 1:], similarity),
        }
        weights = {name: weight for name, weight in asdict(self.weights).items() if weight}
        terms = {name: compute[name]() for name in weights}
        total = sum(weights[name] * term for name, term in terms.items())
        return total, {name: term.detach() for name, term in terms.items()}


def _last(name: str, maps: Sequence[Tensor], count: int) -> list[Tensor]:
    """Return the last `count` of a backbone's maps."""
    if len(maps) < count:
        raise ValueError(f"{name}: expected at least {count} maps, got {len(maps)}")
    return list(maps[-count:])

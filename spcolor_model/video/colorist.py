"""Colour the frames of a scene; the last result is one more reference.

Dimensions: N positions of a frame, H rows and W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spcolor_ops import Correspondence

from ..model import Classes
from ..networks.warp_net import Embedding, Positions
from ..trained_engine import TrainedEngine, Working

# Natural logarithm of the last result's weight; docs/video.md has what it was chosen by.
DEFAULT_LOG_WEIGHT = -30.0


class Colorist:
    """Colours of one frame after another.

    The references' features, classes and positions are computed once for a scene. With propagation
    the last frame's warped colours are one more reference, a call of the operator of its own:

        warped = sum_r w_r exp(lse_r) warped_r / sum_r w_r exp(lse_r),
        log w = 0 for the references, `log_weight` for the last result,

    and so are S_w and S'_clR. What the last result lends is what was warped to it, not what
    ColorVidNet made of that, which would be added again in every frame; its S'_clR is its own S_w
    S'_clR, so that what was uncertain stays so.

    Args:
        engine: whose own prior gives the classes, with the same centres for every frame.
        log_weight: of the last result; None colours frames apart, as the paper does.

    Example:
        >>> colorist = Colorist(TrainedEngine.default())
        >>> colorist.begin([reference])
        >>> colorist(luminance).shape
        (272, 640, 2)
    """

    def __init__(
        self, engine: TrainedEngine, log_weight: float | None = DEFAULT_LOG_WEIGHT
    ) -> None:
        self.engine = engine
        self.log_weight = log_weight
        self._references: Positions | None = None
        self._last: Positions | None = None

    @torch.inference_mode()
    def begin(self, references: Sequence[np.ndarray]) -> None:
        """Begin a scene with references [H', W', 3] uint8; the last result is forgotten."""
        seen = [self.engine.see_reference(one) for one in references]
        maps = self.engine.prior([one.seen for one in seen])
        self._references = Positions.join(
            [self.engine.positions(one, maps, index) for index, one in enumerate(seen)]
        )
        self._last = None

    @torch.inference_mode()
    def __call__(self, luminance: np.ndarray) -> np.ndarray:
        """Return ab [H, W, 2] float32 of the next frame, of luminance [H, W]."""
        target, classes, embedding = self._see(luminance)
        found = self.engine.model.match(embedding, classes, self._references)
        if self._last is not None:
            last = self.engine.model.match(embedding, classes, self._last)
            found = merge([found, last], [0.0, self.log_weight])
        if self.log_weight is not None:
            self._keep(_value(found), classes, embedding)
        return self.engine.color(luminance, target, found, embedding.grid, classes)[0]

    @property
    def state(self) -> Tensor | None:
        """What the last frame lends to the next, [1, N, 3]; None where it lends nothing."""
        return None if self._last is None else self._last.value

    @torch.inference_mode()
    def restore(self, luminance: np.ndarray, state: Tensor) -> None:
        """Go on after a frame of luminance [H, W] as if it had been coloured with that state."""
        _, classes, embedding = self._see(luminance)
        self._keep(state.to(self.engine.device), classes, embedding)

    def _see(self, luminance: np.ndarray) -> tuple[Working, Classes, Embedding]:
        target = self.engine.see_target(luminance)
        classes = self.engine.classes(self.engine.prior([target.seen]), 0, target.seen)
        return target, classes, self.engine.model.embed(target.luminance)

    def _keep(self, value: Tensor, classes: Classes, embedding: Embedding) -> None:
        warp_net = self.engine.model.warp_net
        self._last = warp_net.offer(embedding, value, classes.labels)


def merge(found: Sequence[Correspondence], log_weights: Sequence[float]) -> Correspondence:
    """Join matches with several sets of keys as if they had been one, each weighted.

        p_r = w_r exp(lse_r) / sum_r w_r exp(lse_r)

    weighs warped and similarity; lse is log sum_r w_r exp(lse_r). With weights 1, warped and lse
    are those of one call with all keys. A position without a key in any set stays unrelated.

    Args:
        found: of R sets of keys, for the same N positions.
        log_weights: R natural logarithms.

    Returns:
        `Correspondence`; `index` is that of the first set.

    Example:
        >>> merge([with_references, with_last_result], [0.0, -30.0]).warped.shape
        torch.Size([1, 4096, 3])
    """
    lse = torch.stack([one.lse + weight for one, weight in zip(found, log_weights, strict=True)])
    share = torch.softmax(lse, dim=0).nan_to_num(0)
    warped = sum(p[..., None] * one.warped for p, one in zip(share, found, strict=True))
    similarity = sum(p * one.similarity for p, one in zip(share, found, strict=True))
    return Correspondence(warped, similarity, found[0].index, lse.logsumexp(dim=0))


def _value(found: Correspondence) -> Tensor:
    """Return the a, b and S_w S'_clR of a result, [1, N, 3]."""
    confidence = found.similarity[..., None] * found.warped[..., 2:]
    return torch.cat([found.warped[..., :2], confidence], dim=-1)

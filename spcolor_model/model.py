"""SPColor: the networks, put together as the paper does (fig. 2).

Dimensions: B images, K classes, H rows and W columns of an image, h rows and w columns of a prior's
grid. Luminance is CIELAB's L in 0..100.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spcolor_ops import _checks

from .losses import lab_to_rgb
from .networks import Backbone, ColorVidNet, WarpNet

# ColorVidNet sees L around 0.
_MIDDLE_LUMINANCE = 50.0
_LUMINANCE_RANGE = 100.0


class Classes(NamedTuple):
    """What a prior says of a batch.

    Attributes:
        labels: [B, h, w] integers; outside 0..K-1 is no class.
        confidence: S_cl, [B, h, w] in 0..1.
    """

    labels: Tensor
    confidence: Tensor


class Prediction(NamedTuple):
    """The colours of a batch, and what led to them.

    Attributes:
        ab: [B, 2, H, W] in -128..128.
        warped: [B, 3, H/4, W/4]: warped a, warped b and S, all 0 in unrelated regions.
    """

    ab: Tensor
    warped: Tensor

    @property
    def similarity(self) -> Tensor:
        """S of paper eq. 14, [B, H/4, W/4]."""
        return self.warped[:, 2]

    @property
    def unrelated(self) -> Tensor:
        """Where nothing was warped, as the reference lacks the class, [B, H/4, W/4] bool."""
        return (self.warped == 0).all(dim=1)


class SPColor(nn.Module):
    """Colour gray images with the colours of references.

        (warped ab, S) = WarpNet(backbone(L_T), backbone(RGB_R), ab_R, classes)   (eq. 5-14)
        ab = ColorVidNet(warped ab, S, L_T)                                      (eq. 4)

    Args:
        backbone: frozen; its weights are not part of the state dict.
        warp_net: of the backbone's `correspondence_channels`.
        color_net: of 4 input channels.
        num_segments: number of classes K of the prior.
        temperature, center, precision, backend: as in `segment_correspondence`; the published code
            centres every class, which the paper does not mention.

    Example:
        >>> backbone = VGG19()
        >>> model = SPColor(backbone, WarpNet(), ColorVidNet(), num_segments=22)
        >>> model(luminance, reference_luminance, reference_ab, classes, reference_classes).ab.shape
        torch.Size([8, 2, 256, 256])
    """

    def __init__(
        self,
        backbone: Backbone,
        warp_net: WarpNet,
        color_net: ColorVidNet,
        *,
        num_segments: int,
        temperature: float = 0.01,
        center: bool = True,
        precision: str | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        _checks.check_num_segments(num_segments)
        # In a tuple, so that it is no part of this module: it has nothing to train or to save.
        self._frozen = (backbone,)
        self.warp_net = warp_net
        self.color_net = color_net
        self.options = {
            "num_segments": num_segments,
            "temperature": temperature,
            "center": center,
            "precision": precision,
            "backend": backend,
        }

    @property
    def backbone(self) -> Backbone:
        """The frozen feature network."""
        return self._frozen[0]

    def forward(
        self,
        luminance: Tensor,
        reference_luminance: Tensor,
        reference_ab: Tensor,
        classes: Classes,
        reference_classes: Classes,
    ) -> Prediction:
        """Predict ab. Target and reference may differ in size.

        Args:
            luminance: of the target, [B, 1, H, W]; H and W multiples of 16, at least 32.
            reference_luminance: [B, 1, H', W'], likewise.
            reference_ab: [B, 2, H', W'].
            classes: of the target.
            reference_classes: of the reference.

        Raises:
            TypeError, ValueError: naming the argument, what was expected and what came.
        """
        _check_luminance("luminance", luminance)
        _check_luminance("reference_luminance", reference_luminance)
        reference_rgb = lab_to_rgb(torch.cat([reference_luminance, reference_ab], dim=1))
        with torch.no_grad():
            target_maps = self._maps(gray(luminance))
            reference_maps = self._maps(reference_rgb)
        warped = self.warp_net(
            target_maps,
            reference_maps,
            reference_ab,
            classes.labels,
            reference_classes.labels,
            classes.confidence,
            reference_classes.confidence,
            **self.options,
        )
        enlarged = F.interpolate(warped, luminance.shape[2:], mode="nearest")
        centred = luminance - _MIDDLE_LUMINANCE
        return Prediction(self.color_net(torch.cat([enlarged, centred], dim=1)), warped)

    def _maps(self, rgb: Tensor) -> list[Tensor]:
        return self.backbone.correspondence_maps(self.backbone(rgb))


def gray(luminance: Tensor) -> Tensor:
    """Return what feature networks see of a gray image: L / 100 in all three channels.

    Args:
        luminance: [B, 1, H, W] in 0..100.

    Example:
        >>> gray(torch.full((1, 1, 2, 2), 50.0)).unique()
        tensor([0.5000])
    """
    return (luminance / _LUMINANCE_RANGE).expand(-1, 3, -1, -1)


def _check_luminance(name: str, luminance: object) -> None:
    _checks.check_features(name, luminance, "B 1 H W")
    _checks.check_size(name, luminance, 1, 1, "L")

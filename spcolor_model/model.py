"""SPColor: the networks, put together as the paper does (fig. 2).

Dimensions: B images, K classes, H rows and W columns of an image, h rows and w columns of a prior's
grid. Luminance is CIELAB's L in 0..100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spcolor_ops import Correspondence, _checks

from .losses import lab_to_rgb
from .networks import Backbone, ColorVidNet, WarpNet
from .networks.warp_net import Embedding, Positions
from .operands import Observer

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


class Features(NamedTuple):
    """What the backbone sees of an image.

    Attributes:
        maps: four, as `WarpNet` takes them.
        anchor: as of `anchor`, or None.
    """

    maps: Sequence[Tensor]
    anchor: Tensor | None


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
        anchored: the backbone's last three maps join WarpNet's embedding (`anchor`), so that
            matching starts from pretrained features.
        gray_reference: the backbone sees the reference in gray, as it does the target.
        residual: ColorVidNet predicts what to add to the warped ab, in place of ab.
        temperature, center, precision, backend: as in `segment_correspondence`; the published code
            centres every class, which the paper does not mention.

    `anchored`, `gray_reference` and `residual` are this project's own, for training with few
    photos; the paper has none of them.

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
        anchored: bool = False,
        gray_reference: bool = False,
        residual: bool = False,
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
        self.anchored = anchored
        self.gray_reference = gray_reference
        self.residual = residual
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
        num_segments: int | None = None,
        observe: Observer | None = None,
    ) -> Prediction:
        """Predict ab. Target and reference may differ in size.

        Args:
            luminance: of the target, [B, 1, H, W]; H and W multiples of 16, at least 32.
            reference_luminance: [B, 1, H', W'], likewise.
            reference_ab: [B, 2, H', W'].
            classes: of the target.
            reference_classes: of the reference.
            num_segments: number of classes K of another prior than the one in training.
            observe: as in `WarpNet.forward`.

        Raises:
            TypeError, ValueError: naming the argument, what was expected and what came.
        """
        _check_luminance("luminance", luminance)
        _check_luminance("reference_luminance", reference_luminance)
        target = self.see(luminance)
        reference = self.see(reference_luminance, reference_ab)
        warped = self.warp_net(
            target.maps,
            reference.maps,
            reference_ab,
            classes.labels,
            reference_classes.labels,
            classes.confidence,
            reference_classes.confidence,
            target_anchor=target.anchor,
            reference_anchor=reference.anchor,
            observe=observe,
            **self._options(num_segments),
        )
        return self.color(luminance, warped)

    @torch.no_grad()
    def see(self, luminance: Tensor, ab: Tensor | None = None) -> Features:
        """Return what the backbone sees of a target, or, with ab, of a reference.

        Args:
            luminance: [B, 1, H, W].
            ab: [B, 2, H, W], or None.
        """
        if ab is None or self.gray_reference:
            rgb = gray(luminance)
        else:
            rgb = lab_to_rgb(torch.cat([luminance, ab], dim=1))
        maps = self.backbone(rgb)
        own = anchor(maps, luminance.shape[2:]) if self.anchored else None
        return Features(self.backbone.correspondence_maps(maps), own)

    def embed(self, luminance: Tensor, ab: Tensor | None = None) -> Embedding:
        """Return what a target, or, with ab, a reference is matched by. Args: as `see`."""
        return self.warp_net.embed(*self.see(luminance, ab))

    def match(
        self,
        target: Embedding,
        classes: Classes,
        positions: Positions,
        num_segments: int | None = None,
        observe: Observer | None = None,
        key_grid: tuple[int, int] | None = None,
    ) -> Correspondence:
        """Match a target with the positions of any number of references.

        Args:
            target: as of `embed`.
            classes: of the target.
            positions: `warp_net.positions` of each reference, joined.
            num_segments: as in `forward`.
            observe, key_grid: as in `WarpNet.match`.
        """
        options = self._options(num_segments) | {"observe": observe, "key_grid": key_grid}
        return self.warp_net.match(target, classes.labels, positions, **options)

    def color(self, luminance: Tensor, warped: Tensor) -> Prediction:
        """Predict ab of what was warped.

        Args:
            luminance: of the target, [B, 1, H, W].
            warped: [B, 3, H/4, W/4], warped a, warped b and S.
        """
        enlarged = F.interpolate(warped, luminance.shape[2:], mode="nearest")
        centred = luminance - _MIDDLE_LUMINANCE
        ab = self.color_net(torch.cat([enlarged, centred], dim=1))
        if self.residual:
            ab = ab + F.interpolate(warped[:, :2], luminance.shape[2:], mode="bilinear")
        return Prediction(ab, warped)

    def _options(self, num_segments: int | None) -> dict[str, object]:
        """Return the operator's options, with the classes of another prior where it is given."""
        if num_segments is None:
            return self.options
        return self.options | {"num_segments": num_segments}


def anchor(maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Return pretrained features of an image [B, 3, H, W] that can be compared as they are.

    Each of a backbone's last three maps is instance-normalised, enlarged to a quarter of the image,
    and made unit length at every position; so is all of it together.

    Args:
        maps: what the backbone returned, five tensors.
        size: H and W.

    Returns:
        [B, A, H/4, W/4] of unit length.

    Example:
        >>> anchor(backbone(torch.rand(1, 3, 256, 256)), (256, 256)).shape
        torch.Size([1, 472, 64, 64])
    """
    grid = [length // 4 for length in size]
    enlarged = (F.interpolate(F.instance_norm(x), grid, mode="bilinear") for x in maps[-3:])
    return F.normalize(torch.cat([F.normalize(x, dim=1) for x in enlarged], dim=1), dim=1)


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

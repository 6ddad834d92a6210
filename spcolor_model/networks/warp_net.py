"""The correspondence network: embed both images, match within classes, warp colour.

Dimensions: B images, N target and M reference positions, C channels, K classes, H rows and W
columns of an image, h rows and w columns of a prior's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spcolor_ops import Correspondence, _checks, segment_correspondence

from ..operands import Observer, Operands

# Sizes of the four maps over that of the last.
_SCALES = (8, 4, 2, 1)


class Embedding(NamedTuple):
    """What an image is matched by.

    Attributes:
        x: [B, N, C].
        anchor: [B, N, A], or None.
        grid: the rows and columns of N.
    """

    x: Tensor
    anchor: Tensor | None
    grid: tuple[int, int]


class Positions(NamedTuple):
    """Keys of the operator and what they offer, of one image or of several; their order is free.

    Attributes:
        key: [B, M, C], or [B, M, C + A] with an anchor.
        value: [B, M, 3]: a, b and S_clR.
        labels: [B, M], the classes.

    Example:
        >>> Positions.join([positions_of_one, positions_of_another]).key.shape
        torch.Size([1, 8192, 256])
    """

    key: Tensor
    value: Tensor
    labels: Tensor

    @classmethod
    def join(cls, parts: Sequence[Positions]) -> Positions:
        """Return the positions of several images as one list."""
        return cls(*(torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True)))


class WarpNet(nn.Module):
    """Warp the reference's colours and confidence to the target (paper eq. 5-14, fig. 2).

    Four maps of a frozen backbone become one embedding x of C channels at a quarter of the image's
    size, with the same weights for target and reference; a projection each, theta and phi, leads
    to the paper's features. One call of `segment_correspondence` then gives, within each class,

        s_ij = cos(theta x_i, phi x_j)                          (eq. 6)
        (a, b, S'_clR)_i = sum_j softmax_j(s_ij / temperature) (a, b, S_clR)_j  (eq. 7-9, 12-13)
        S_i = max_j s_ij  S_clT,i  S'_clR,i                     (eq. 10, 14)

    The projections and the centring of each class before the cosine are the published code's; the
    paper does not mention them. State dict: 43 keys, those of the published `WarpNet`.

    Args:
        feature_channels: channels of the maps at strides 2, 4, 8 and 16.
        channels: C, a multiple of 4.

    Raises:
        ValueError: not four feature channels, or channels not a positive multiple of 4.

    Example:
        >>> backbone = VGG19()
        >>> warp_net = WarpNet(backbone.correspondence_channels)
        >>> target, reference = (backbone.correspondence_maps(backbone(x)) for x in (gray, colour))
        >>> warp_net(target, reference, ab, labels_t, labels_r, confidence_t, confidence_r,
        ...          num_segments=22).shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(
        self, feature_channels: Sequence[int] = (128, 256, 512, 512), channels: int = 256
    ) -> None:
        super().__init__()
        if len(feature_channels) != len(_SCALES):
            raise ValueError(f"feature_channels: expected 4, got {list(feature_channels)}")
        if channels < 4 or channels % 4:
            raise ValueError(f"channels: expected a positive multiple of 4, got {channels}")
        self.feature_channels = tuple(feature_channels)
        stride_2, stride_4, stride_8, stride_16 = feature_channels
        half, quarter = channels // 2, channels // 4
        # Layers of a branch are keys of the state dict, so their order is fixed.
        self.layer2_1 = nn.Sequential(*_conv(stride_2, half), *_conv(half, quarter, stride=2))
        self.layer3_1 = nn.Sequential(*_conv(stride_4, half), *_conv(half, quarter))
        self.layer4_1 = nn.Sequential(
            *_conv(stride_8, channels), *_conv(channels, quarter), nn.Upsample(scale_factor=2)
        )
        self.layer5_1 = nn.Sequential(
            *_conv(stride_16, channels),
            nn.Upsample(scale_factor=2),
            *_conv(channels, quarter),
            nn.Upsample(scale_factor=2),
        )
        self.layer = nn.Sequential(*(_ResidualBlock(channels) for _ in range(3)))
        self.theta_class = nn.Linear(channels, channels)
        self.phi_class = nn.Linear(channels, channels)

    def forward(
        self,
        target_features: Sequence[Tensor],
        reference_features: Sequence[Tensor],
        reference_ab: Tensor,
        target_labels: Tensor,
        reference_labels: Tensor,
        target_confidence: Tensor,
        reference_confidence: Tensor,
        *,
        num_segments: int,
        target_anchor: Tensor | None = None,
        reference_anchor: Tensor | None = None,
        temperature: float | Tensor = 0.01,
        center: bool = True,
        precision: str | None = None,
        backend: str | None = None,
        observe: Observer | None = None,
    ) -> Tensor:
        """Match and warp. Target and reference may differ in size.

        Args:
            target_features: four maps [B, C_s, H / s, W / s] at strides s = 2, 4, 8, 16; H and W
                multiples of 16, at least 32. Each position is made unit length here.
            reference_features: likewise, of the reference's H and W.
            reference_ab: [B, 2, H, W], ab in CIELAB units (about -128..127).
            target_labels: [B, h, w] integers of any grid, resized to H/4 x W/4 by nearest. Values
                outside 0..num_segments-1 mean "no class".
            reference_labels: [B, h, w], likewise.
            target_confidence: [B, h, w] S_clT in 0..1, likewise.
            reference_confidence: [B, h, w] S_clR in 0..1, likewise.
            num_segments: number of classes K.
            target_anchor: [B, A, H/4, W/4], features of unit length that join the projected ones
                before the cosine, so that matching starts from what they know; none in the paper.
            reference_anchor: likewise, of the reference's H and W.
            temperature, center, precision, backend: as in `segment_correspondence`.
            observe: called with the `Operands` of each image before they are matched.

        Returns:
            [B, 3, H/4, W/4] of the target's size: warped a, warped b and S. All are 0 where the
            reference lacks the target's class.

        Raises:
            TypeError, ValueError: naming the argument, what was expected and what came.
        """
        target = self.embed(target_features, target_anchor, name="target_features")
        reference = self.embed(reference_features, reference_anchor, name="reference_features")
        batch = target_features[0].shape[0]
        _check_ab(reference_ab, batch, reference.grid)
        _checks.check_size(
            "reference_features[0]", reference_features[0], 0, batch, "target_features[0]"
        )
        _check_prior("target", target_labels, target_confidence, batch)
        _check_prior("reference", reference_labels, reference_confidence, batch)
        out = self.match(
            target,
            target_labels,
            self.positions(reference, reference_ab, reference_labels, reference_confidence),
            observe=observe,
            key_grid=reference.grid,
            num_segments=num_segments,
            temperature=temperature,
            center=center,
            precision=precision,
            backend=backend,
        )
        return warped_maps(out, target.grid, target_confidence)

    def embed(
        self, maps: Sequence[Tensor], anchor: Tensor | None = None, *, name: str = "maps"
    ) -> Embedding:
        """Return what an image is matched by, as target and as reference.

        Args:
            maps: as `target_features`.
            anchor: as `target_anchor`.
            name: what an error message calls the maps.
        """
        grid = self._check_features(name, maps)
        branches = (self.layer2_1, self.layer3_1, self.layer4_1, self.layer5_1)
        x = [branch(F.normalize(x, dim=1)) for branch, x in zip(branches, maps, strict=True)]
        rows = None if anchor is None else anchor.flatten(2).transpose(1, 2)
        return Embedding(
            self.layer(torch.cat(x, dim=1)).flatten(2).transpose(1, 2), rows, tuple(grid)
        )

    def positions(
        self, reference: Embedding, ab: Tensor, labels: Tensor, confidence: Tensor
    ) -> Positions:
        """Return what one reference offers; those of several are joined by `Positions.join`.

        Args, shapes: as in `forward`.
        """
        ab = F.avg_pool2d(ab, 4)
        confidence = _nearest(confidence.to(ab.dtype), reference.grid)
        value = torch.cat([ab, confidence[:, None]], dim=1).flatten(2).transpose(1, 2)
        return self.offer(reference, value, labels)

    def offer(self, reference: Embedding, value: Tensor, labels: Tensor) -> Positions:
        """Return what an image offers as a reference, whose values are given.

        Args:
            reference: embedded.
            value: [B, M, 3]: a, b and S_clR.
            labels: [B, h, w], as `reference_labels`.
        """
        labels = _nearest_labels(labels, reference.grid)
        return Positions(_projected(self.phi_class, reference), value, labels)

    def match(
        self,
        target: Embedding,
        labels: Tensor,
        positions: Positions,
        *,
        num_segments: int,
        temperature: float | Tensor = 0.01,
        center: bool = True,
        precision: str | None = None,
        backend: str | None = None,
        observe: Observer | None = None,
        key_grid: tuple[int, int] | None = None,
    ) -> Correspondence:
        """Match a target with the positions of any number of references, in one call.

        Args:
            target: embedded.
            labels: [B, h, w], as `target_labels`.
            positions: of all references.
            num_segments, temperature, center, precision, backend, observe: as in `forward`.
            key_grid: what `observe` is told of the positions' grid; one row of all where None.

        Returns:
            `Correspondence`, one row for each target position; `index` counts all positions.
        """
        inputs = (
            _projected(self.theta_class, target),
            positions.key,
            positions.value,
            _nearest_labels(labels, target.grid),
            positions.labels,
        )
        if observe is not None:
            grids = (target.grid, key_grid or (1, positions.key.shape[1]))
            for one in zip(*inputs, strict=True):
                observe(Operands(*one, num_segments, temperature, center, *grids))
        return segment_correspondence(
            *inputs,
            num_segments=num_segments,
            temperature=temperature,
            center=center,
            precision=precision,
            backend=backend,
        )

    def _check_features(self, name: str, maps: Sequence[Tensor]) -> tuple[int, int]:
        """Check the four maps of one image; return the size of the stride-4 map."""
        if len(maps) != len(_SCALES):
            raise ValueError(f"{name}: expected 4 maps, got {len(maps)}")
        for index, x in enumerate(maps):
            _checks.check_features(f"{name}[{index}]", x, "B C H W")
        batch, _, rows, columns = maps[3].shape
        if min(rows, columns) < 2:
            raise ValueError(
                f"{name}[3]: expected at least 2 rows and columns (an image of 32 x 32), "
                f"got shape {list(maps[3].shape)}"
            )
        for index, (x, channels) in enumerate(zip(maps, self.feature_channels, strict=True)):
            expected = [batch, channels, _SCALES[index] * rows, _SCALES[index] * columns]
            if list(x.shape) != expected:
                raise ValueError(
                    f"{name}[{index}]: expected shape {expected} for an image whose size is a "
                    f"multiple of 16, got {list(x.shape)}"
                )
        return maps[1].shape[2:]


def warped_maps(out: Correspondence, grid: tuple[int, int], confidence: Tensor) -> Tensor:
    """Return warped a, warped b and S of what was matched as maps (paper eq. 14).

    Args:
        out: with warped a, b and S'_clR.
        grid: of the target.
        confidence: S_clT, [B, h, w] of any grid.

    Returns:
        [B, 3, *grid].

    Example:
        >>> warped_maps(out, (64, 64), confidence).shape
        torch.Size([1, 3, 64, 64])
    """
    warped = out.warped.transpose(1, 2).unflatten(2, grid)
    similarity = out.similarity.unflatten(1, grid)
    similarity = similarity * _nearest(confidence, grid) * warped[:, 2]
    return torch.cat([warped[:, :2], similarity[:, None].to(warped.dtype)], dim=1)


def _projected(projection: nn.Linear, image: Embedding) -> Tensor:
    """Return what is matched, [B, N, C] or, with an anchor, [B, N, C + A]."""
    projected = projection(image.x)
    if image.anchor is None:
        return projected
    # Of fresh weights the projected part is then the smaller one.
    return torch.cat([projected / projected.shape[2] ** 0.5, image.anchor], dim=2)


class _ReflectionPad(nn.Module):
    """`nn.ReflectionPad2d(1)` of slices: its own gradient is not deterministic on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        for dim in (2, 3):
            x = torch.cat([x.narrow(dim, 1, 1), x, x.narrow(dim, -2, 1)], dim)
        return x


class _ResidualBlock(nn.Module):
    """x + two padded convolutions of x; one slope serves both activations."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.padding = _ReflectionPad()
        self.conv1 = nn.Conv2d(channels, channels, 3)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(F.instance_norm(self.conv1(self.padding(x))))
        return self.prelu(x + F.instance_norm(self.conv2(self.padding(y))))


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    """Padding, 3 x 3 convolution, instance norm and PReLU."""
    conv = nn.Conv2d(in_channels, out_channels, 3, stride)
    return [_ReflectionPad(), conv, nn.InstanceNorm2d(out_channels), nn.PReLU()]


def _check_ab(reference_ab: object, batch: int, grid: Sequence[int]) -> None:
    _checks.check_features("reference_ab", reference_ab, "B 2 H W")
    expected = [batch, 2, 4 * grid[0], 4 * grid[1]]
    if list(reference_ab.shape) != expected:
        raise ValueError(
            f"reference_ab: expected shape {expected} like the image of reference_features, "
            f"got {list(reference_ab.shape)}"
        )


def _check_prior(side: str, labels: object, confidence: object, batch: int) -> None:
    _checks.check_tensor(f"{side}_labels", labels, "B h w")
    _checks.check_integer(f"{side}_labels", labels)
    _checks.check_features(f"{side}_confidence", confidence, "B h w")
    for name, maps in (("labels", labels), ("confidence", confidence)):
        _checks.check_size(f"{side}_{name}", maps, 0, batch, "target_features[0]")


def _nearest(maps: Tensor, grid: Sequence[int]) -> Tensor:
    """Resize [B, h, w] to [B, *grid]."""
    return F.interpolate(maps[:, None], tuple(grid), mode="nearest")[:, 0]


def _nearest_labels(labels: Tensor, grid: Sequence[int]) -> Tensor:
    """Resize labels [B, h, w] to positions [B, N]."""
    # PyTorch resizes floats alone; float64 holds every label that a class can have.
    return _nearest(labels.double(), grid).flatten(1).to(labels.dtype)

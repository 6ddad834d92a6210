"""Training-free exemplar-based colorization: prior, matching, filling.

Dimensions: H rows and W columns of the target; h rows and w columns of its feature grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from .color import gray_rgb, lab_to_rgb, rgb_to_lab
from .features import WorkingImage
from .filling import EdgeAwareFiller, Filler
from .images import as_mask, as_rgb
from .matching import Match, match
from .prior import DEFAULT_SEGMENTS, ClusterPrior, MaskPrior, NoPrior, Prior

ImageLike = str | Path | Image.Image | np.ndarray
PRIORS = ("clusters", "none", "masks")


class Colorization(NamedTuple):
    """A coloured photo and what led to it.

    Attributes:
        rgb: [H, W, 3] uint8, the result, of the target's size and luminance.
        gray: [H, W, 3] uint8, the target as it was seen.
        reference: [H', W', 3] uint8.
        target_labels: [h, w], the prior's classes.
        reference_labels: [h', w'].
        match: warped ab, confidence S and the unrelated mask, [h, w].
    """

    rgb: np.ndarray
    gray: np.ndarray
    reference: np.ndarray
    target_labels: Tensor
    reference_labels: Tensor
    match: Match


def colorize(
    target: ImageLike,
    reference: ImageLike,
    *,
    prior: str | Prior = "clusters",
    num_segments: int | None = None,
    target_mask: ImageLike | None = None,
    reference_mask: ImageLike | None = None,
    filler: Filler | None = None,
) -> Colorization:
    """Colour a photo with the colours of a reference photo (paper fig. 2, without training).

    The target's own colour, if it has any, is discarded: L is kept and

        ab = filler(warped ab, S, L),    S = S_w S_clT S'_clR    (paper eq. 5-14).

    Args:
        target: a path, a Pillow image, or a uint8 array [H, W] or [H, W, 3].
        reference: likewise, in colour.
        prior: "clusters" of pretrained features, "none" (one class: global matching), "masks", or
            any `spcolor_model.prior.Prior`.
        num_segments: number of clusters, 22 where None; for prior="clusters" alone.
        target_mask, reference_mask: for prior="masks"; pixels of equal value are one class.
        filler: what makes full-resolution ab of the match; an edge-aware filter where None.

    Returns:
        A `Colorization`; `.rgb` is the picture. The same input gives the same picture.

    Raises:
        FileNotFoundError, TypeError, ValueError: naming the argument or file, what was expected
            and what came.

    Example:
        >>> colorize("gray.jpg", "colour.jpg").rgb.shape
        (768, 1024, 3)
    """
    prior = make_prior(prior, num_segments, target_mask, reference_mask)
    reference_rgb = as_rgb("reference", reference)
    luminance, _ = rgb_to_lab(as_rgb("target", target))
    reference_luminance, reference_ab = rgb_to_lab(reference_rgb)
    gray = gray_rgb(luminance)
    # Features of a gray and of a coloured photo differ, so the reference is seen in gray as well.
    images = [WorkingImage(gray), WorkingImage(gray_rgb(reference_luminance))]
    maps = prior(images)
    found = match(*images, reference_ab, maps)
    ab = (filler or EdgeAwareFiller())(found, luminance)
    labels = [maps.of(index, image.grid)[0] for index, image in enumerate(images)]
    return Colorization(lab_to_rgb(luminance, ab), gray, reference_rgb, *labels, found)


def make_prior(
    prior: str | Prior,
    num_segments: int | None = None,
    target_mask: ImageLike | None = None,
    reference_mask: ImageLike | None = None,
) -> Prior:
    """Return the prior of a name, or the one given; arguments as in `colorize`.

    Raises:
        ValueError: an unknown name, or an argument that the named prior does not take or lacks.

    Example:
        >>> make_prior("clusters", 10).num_segments
        10
    """
    if prior != "clusters" and num_segments is not None:
        raise ValueError(f'num_segments: expected with prior="clusters" alone, got {num_segments}')
    masks = {"target_mask": target_mask, "reference_mask": reference_mask}
    for name, mask in masks.items():
        if (mask is None) == (prior == "masks"):
            wanted = "a mask" if prior == "masks" else 'none unless prior="masks"'
            raise ValueError(f"{name}: expected {wanted}, got {'none' if mask is None else 'one'}")
    if prior == "clusters":
        return ClusterPrior(DEFAULT_SEGMENTS if num_segments is None else num_segments)
    if prior == "none":
        return NoPrior()
    if prior == "masks":
        return MaskPrior([as_mask(name, mask) for name, mask in masks.items()])
    if not callable(prior):
        expected = ", ".join(repr(name) for name in PRIORS)
        raise ValueError(f"prior: expected one of {expected} or a callable, got {prior!r}")
    return prior

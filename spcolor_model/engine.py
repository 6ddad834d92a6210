"""Exemplar-based colorization of one photo: what is seen, an engine, and its colours on the photo.

Dimensions: H rows and W columns of the target; h rows and w columns of its matching grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from .color import gray_rgb, lab_to_rgb, rgb_to_lab
from .images import as_mask, as_rgb
from .matching import Match
from .prior import ClusterPrior, MaskPrior, NoPrior, Prior
from .references import as_list
from .regions import EditedPrior, Edits, Recolor, load_edits

ImageLike = str | Path | Image.Image | np.ndarray
ENGINES = ("trained", "match")
PRIORS = ("clusters", "none", "masks")
# A photo looks gray if the chroma of all but 1 % of it is below this.
_GRAY_CHROMA = 5.0
_QUANTILE = 0.99
# Rows and columns that are enough to see that.
_SAMPLED = 256


class Estimate(NamedTuple):
    """What an engine finds for a target and its references.

    Attributes:
        ab: [H, W, 2] float32, of the target's size.
        target_labels: [h, w], the prior's classes.
        labels_of_references: [h', w'] of each reference.
        match: warped ab, confidence S, the unrelated mask and which reference was taken, [h, w].
    """

    ab: np.ndarray
    target_labels: Tensor
    labels_of_references: Sequence[Tensor]
    match: Match


class Engine(Protocol):
    """Finds colours: `engine(luminance, references, prior) -> Estimate`.

    Called with the target's luminance [H, W] in 0..100, a list of references [H', W', 3] uint8 of
    any sizes, and a prior, or None for the engine's own.
    """

    def __call__(
        self, luminance: np.ndarray, references: Sequence[np.ndarray], prior: Prior | None
    ) -> Estimate: ...


class Colorization(NamedTuple):
    """A coloured photo and what led to it.

    Attributes:
        rgb: [H, W, 3] uint8, the result, of the target's size and luminance.
        gray: [H, W, 3] uint8, the target as it was seen.
        references: [H', W', 3] uint8 each.
        target_labels: [h, w], the prior's classes.
        labels_of_references: [h', w'] of each reference.
        match: warped ab, confidence S, the unrelated mask and which reference was taken, [h, w].
    """

    rgb: np.ndarray
    gray: np.ndarray
    references: Sequence[np.ndarray]
    target_labels: Tensor
    labels_of_references: Sequence[Tensor]
    match: Match

    @property
    def reference(self) -> np.ndarray:
        """The first reference, [H', W', 3] uint8."""
        return self.references[0]

    @property
    def reference_labels(self) -> Tensor:
        """Classes of the first reference, [h', w']."""
        return self.labels_of_references[0]


def has_color(rgb: np.ndarray) -> bool:
    """Tell whether a photo [H, W, 3] uint8 has more than traces of colour.

    Example:
        >>> has_color(np.full((9, 9, 3), 128, np.uint8))
        False
    """
    # A small red thing in a white room is what somebody may want to take the colour of.
    thinned = rgb[:: max(1, len(rgb) // _SAMPLED), :: max(1, rgb.shape[1] // _SAMPLED)]
    chroma = np.linalg.norm(rgb_to_lab(thinned)[1], axis=-1)
    return bool(np.quantile(chroma, _QUANTILE) >= _GRAY_CHROMA)


def colorize(
    target: ImageLike,
    reference: ImageLike | Sequence[ImageLike],
    *,
    engine: str | Engine = "trained",
    prior: str | Prior | None = "clusters",
    num_segments: int | None = None,
    target_mask: ImageLike | None = None,
    reference_mask: ImageLike | Sequence[ImageLike] | None = None,
    edits: Edits | str | Path | None = None,
) -> Colorization:
    """Colour a photo with the colours of a reference photo (paper fig. 2), or of several.

    The target's own colour, if it has any, is discarded; its luminance is kept. Positions of
    several references are the keys of one call of the operator, so that each position of the target
    takes its colour from whichever is most like it; one that shares no class with the target gives
    nothing and changes nothing, unless the prior makes its classes for all photos together.

    Args:
        target: a path, a Pillow image, or a uint8 array [H, W] or [H, W, 3].
        reference: likewise, in colour; or a list of them, of any sizes.
        engine: "trained", the paper's networks with this package's weights (`TrainedEngine`);
            "match", which needs no training (`MatchEngine`); or any `Engine`.
        prior: "clusters" of pretrained features, "none" (one class: global matching), "masks", or
            any `spcolor_model.prior.Prior`; None is the engine's own.
        num_segments: number of clusters, fitted to the pair; where None the engine's own prior is
            used. For prior="clusters" alone.
        target_mask, reference_mask: for prior="masks"; pixels of equal value are one class. As many
            of the references as there are references.
        edits: regions, pairs of classes and colours that stay, on top of any prior; or a file of
            them (`load_edits`). Where they change classes, of one reference alone.

    Returns:
        A `Colorization`; `.rgb` is the picture. The same input gives the same picture.

    Raises:
        FileNotFoundError, TypeError, ValueError: naming the argument or file, what was expected
            and what came.

    Example:
        >>> colorize("gray.jpg", "colour.jpg").rgb.shape
        (768, 1024, 3)
    """
    chosen_prior = make_prior(prior, num_segments, target_mask, reference_mask)
    chosen_engine = make_engine(engine)
    luminance, own_ab = rgb_to_lab(as_rgb("target", target))
    references = [as_rgb("reference", one) for one in as_list(reference)]
    if edits is None:
        found = chosen_engine(luminance, references, chosen_prior)
    else:
        edits = edits if isinstance(edits, Edits) else load_edits(edits)
        recolor = Recolor(edits, own_ab)
        if edits.change_classes:
            own = chosen_prior or _own_prior(chosen_engine)
            chosen_prior = _edited(own, edits, luminance, references)
        found = chosen_engine(luminance, references, chosen_prior)
        found = found._replace(ab=recolor(found.ab))
    return Colorization(
        lab_to_rgb(luminance, found.ab),
        gray_rgb(luminance),
        references,
        found.target_labels,
        found.labels_of_references,
        found.match,
    )


def _edited(
    prior: Prior, edits: Edits, luminance: np.ndarray, references: Sequence[np.ndarray]
) -> Prior:
    """Return a prior with its classes edited."""
    if len(references) > 1:
        raise ValueError(
            f"edits: expected one reference where classes are edited, got {len(references)}"
        )
    return EditedPrior(prior, edits, (luminance.shape, references[0].shape[:2]))


def _own_prior(engine: Engine) -> Prior:
    """Return the prior that an engine uses where it gets none."""
    prior = getattr(engine, "prior", None)
    if prior is None:
        raise ValueError(
            "prior: expected one, as the classes are edited and the engine has no `prior`"
        )
    return prior


def make_engine(engine: str | Engine, weights: str | Path | None = None) -> Engine:
    """Return the engine of a name, or the one given.

    Args:
        engine: as in `colorize`.
        weights: a checkpoint folder in place of this package's, for "trained" alone.

    Raises:
        FileNotFoundError, ValueError: an unknown name, or weights that cannot be used.

    Example:
        >>> make_engine("match")
        <spcolor_model.match_engine.MatchEngine object at ...>
    """
    if weights is not None and engine != "trained":
        raise ValueError(f'weights: expected with engine="trained" alone, got {weights}')
    if engine == "trained":
        from .trained_engine import TrainedEngine

        return TrainedEngine.default() if weights is None else TrainedEngine.load(weights)
    if engine == "match":
        from .match_engine import MatchEngine

        return MatchEngine()
    if not callable(engine):
        expected = ", ".join(repr(name) for name in ENGINES)
        raise ValueError(f"engine: expected one of {expected} or a callable, got {engine!r}")
    return engine


def make_prior(
    prior: str | Prior | None,
    num_segments: int | None = None,
    target_mask: ImageLike | None = None,
    reference_mask: ImageLike | Sequence[ImageLike] | None = None,
) -> Prior | None:
    """Return the prior of a name, or the one given, or None for an engine's own.

    Args, shapes: as in `colorize`.

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
        return None if num_segments is None else ClusterPrior(num_segments)
    if prior == "none":
        return NoPrior()
    if prior == "masks":
        every = ((name, one) for name, mask in masks.items() for one in as_list(mask))
        return MaskPrior([as_mask(name, one) for name, one in every])
    if prior is not None and not callable(prior):
        expected = ", ".join(repr(name) for name in PRIORS)
        raise ValueError(f"prior: expected one of {expected} or a callable, got {prior!r}")
    return prior

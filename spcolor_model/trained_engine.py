"""Colorization by trained networks, from the checkpoint of a training run.

Dimensions: H rows and W columns of the target; S and S' its working image's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spcolor_ops import Correspondence

from .color import gray_rgb, rgb_to_lab
from .engine import Estimate
from .features import WorkingImage, resize
from .filling import EdgeAwareFiller, Filler
from .matching import Match
from .model import Classes, SPColor
from .networks import load_backbone
from .networks.warp_net import Positions, warped_maps
from .operands import Observer
from .prior import ClassMaps, Prior
from .prior.tensor import PairPrior
from .references import as_list, taken
from .training.build import build_generator, build_prior
from .training.checkpoint import load_config
from .training.config import PriorKind, Seen, TrainConfig, parse_config

DEFAULT_WEIGHTS = Path(__file__).parent / "weights"
# Wide enough to mean over things, not to cross their edges.
_REGIONS = EdgeAwareFiller(smoothing=300, edge=4)
_LEAST_TRUSTED = 0.15
_TRUST_RANGE = 0.04


class Working(NamedTuple):
    """A photo as this engine works with it.

    Attributes:
        seen: by priors.
        luminance: [1, 1, S, S'].
        ab: [1, 2, S, S'] of a reference, None of a target.
    """

    seen: WorkingImage
    luminance: Tensor
    ab: Tensor | None


class TrainedEngine:
    """An `Engine` of WarpNet and ColorVidNet.

    Both photos are seen at about one area, whatever their aspect ratio, and the predicted ab is
    enlarged to the target. Its own prior is that of the training.

        ab = t ColorVidNet's ab + (1 - t) filler(warped ab, S, L),    t = trust(S)

    Single matches of little similarity are as good as random, and would leave stains of any colour
    that the reference has; the mean over a region is a pale guess.

    Args:
        model: the generator.
        prior: of the training.
        config: of the training.
        area: pixels that the networks see of each photo; `features.WORKING_AREA` where None. More
            than in training is better, as there are more positions to take a colour from; the time
            of matching grows with its square.
        filler: what colours regions where little is alike (`trust`); None leaves them as predicted.

    Example:
        >>> engine = TrainedEngine.load("out/train/checkpoints/step_00002000")
        >>> colorize("gray.jpg", "colour.jpg", engine=engine).rgb.shape
        (768, 1024, 3)
    """

    def __init__(
        self,
        model: SPColor,
        prior: Prior,
        config: TrainConfig,
        area: int | None = None,
        filler: Filler | None = _REGIONS,
    ) -> None:
        self.model = model.eval()
        self.prior = prior
        self.config = config
        self.area = area
        self.filler = filler

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device = "cpu") -> TrainedEngine:
        """Return the engine of a checkpoint folder; averaged weights are preferred, if it has any.

        Raises:
            FileNotFoundError, ValueError: a file that is not there, or not of such a network.
        """
        folder = Path(folder)
        average = "average_" if (folder / "average_warp_net.safetensors").is_file() else ""
        config = parse_config(
            load_config(folder / f"{average}warp_net.safetensors"), source=str(folder)
        )
        # Whatever the run itself began with.
        config.network.from_earlier_work, config.network.initial = False, str(folder)
        if config.prior.kind is PriorKind.clusters:
            config.prior.weights = str(folder / "prior.safetensors")
        prior = build_prior(config.prior)
        backbone = load_backbone(config.network.backbone, config.network.backbone_weights)
        model = build_generator(config.network, backbone, prior.num_segments, average)
        model.backbone.to(device)
        return cls(model.to(device), PairPrior(prior.to(device), device=device), config)

    @classmethod
    @cache
    def default(cls) -> TrainedEngine:
        """Return the engine of the weights in this package."""
        return cls.load(DEFAULT_WEIGHTS)

    @torch.inference_mode()
    def __call__(
        self,
        luminance: np.ndarray,
        reference: np.ndarray | Sequence[np.ndarray],
        prior: Prior | None = None,
        observe: Observer | None = None,
    ) -> Estimate:
        """Find colours. luminance: [H, W] in 0..100; reference: [H', W', 3] uint8, or several."""
        target = self.see_target(luminance)
        references = [self.see_reference(one) for one in as_list(reference)]
        seen = [x.seen for x in (target, *references)]
        maps = (prior or self.prior)(seen)
        parts = [self.positions(x, maps, index) for index, x in enumerate(references, 1)]
        classes = self.classes(maps, 0, target.seen)
        embedding = self.model.embed(target.luminance)
        positions, count = Positions.join(parts), maps.num_segments
        # Of several references the positions follow one another.
        key_grid = _grid(references[0]) if len(references) == 1 else None
        found = self.model.match(embedding, classes, positions, count, observe, key_grid)
        ab, match = self.color(luminance, target, found, embedding.grid, classes)
        labels = [_labels(maps, index, image) for index, image in enumerate(seen)]
        index = found.index[0].cpu().unflatten(0, embedding.grid)
        which = taken(index, [part.key.shape[1] for part in parts])
        return Estimate(ab, labels[0], labels[1:], match._replace(taken=which))

    def see_target(self, luminance: np.ndarray) -> Working:
        """Return a target of luminance [H, W] as it is worked with."""
        seen = WorkingImage(gray_rgb(luminance), self.area)
        # Not through 8 bits, which would take steps in a faded photo.
        small = resize(torch.from_numpy(luminance)[None], seen.pixels.shape[1:])[None]
        return Working(seen, small.to(self.device), None)

    def see_reference(self, rgb: np.ndarray) -> Working:
        """Return a reference [H', W', 3] uint8 as it is worked with."""
        seen = WorkingImage(rgb, self.area)
        luminance, ab = _lab(seen)
        if self.config.prior.reference is Seen.gray:
            seen = WorkingImage(gray_rgb(luminance[0, 0].numpy()), self.area)
        return Working(seen, luminance.to(self.device), ab.to(self.device))

    def classes(self, maps: ClassMaps, index: int, image: WorkingImage) -> Classes:
        """Return the classes of one of a prior's images."""
        return Classes(*(x[None].to(self.device) for x in maps.of(index, image.grid)))

    def positions(self, reference: Working, maps: ClassMaps, index: int) -> Positions:
        """Return what a reference, one of a prior's images, offers to be matched with."""
        embedding = self.model.embed(reference.luminance, reference.ab)
        classes = self.classes(maps, index, reference.seen)
        return self.model.warp_net.positions(embedding, reference.ab, *classes)

    def color(
        self,
        luminance: np.ndarray,
        target: Working,
        found: Correspondence,
        grid: tuple[int, int],
        classes: Classes,
    ) -> tuple[np.ndarray, Match]:
        """Return ab [H, W, 2] and the `Match` of what was matched.

        Args:
            luminance: [H, W] of the target.
            target: as of `see_target`.
            found: of the operator, for positions of `grid`.
            grid: rows and columns.
            classes: of the target.
        """
        warped = warped_maps(found, grid, classes.confidence)
        prediction = self.model.color(target.luminance, warped)
        ab = prediction.ab[0].float().cpu().permute(1, 2, 0).numpy()
        ab = cv2.resize(ab, luminance.shape[::-1], interpolation=cv2.INTER_CUBIC)
        warped = prediction.warped[0].float().cpu()
        match = Match(warped[:2], warped[2], prediction.unrelated[0].cpu())
        if self.filler is not None:
            ab = self._with_regions(ab, match, luminance)
        return ab, match

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return next(self.model.parameters()).device

    def trust(self, match: Match) -> np.ndarray:
        """Return how far the result follows the networks, and not regional means, [h, w]."""
        confidence = match.confidence.numpy()
        return np.ones_like(confidence) if self.filler is None else trust(confidence)

    def _with_regions(self, ab: np.ndarray, match: Match, luminance: np.ndarray) -> np.ndarray:
        """Return ab [H, W, 2] that is the filler's where little is alike."""
        trusted = self.trust(match)
        if trusted.min() == 1:
            return ab
        trusted = cv2.resize(trusted, luminance.shape[::-1])[..., None]
        return trusted * ab + (1 - trusted) * self.filler(match, luminance)


def trust(confidence: np.ndarray) -> np.ndarray:
    """Return how far the matches around each position can be trusted, [h, w] in 0..1.

        t = ((mean of S around + mean of S) / 2 - 0.15) / 0.04, cut to 0..1

    "Around" is a window of about a fifth of the rows and columns. With the packaged weights the
    mean of both is above 0.15 nearly everywhere in two photos of one scene, and below it nearly
    everywhere in two that have little in common.

    Args:
        confidence: S, [h, w].

    Example:
        >>> trust(np.full((8, 8), 0.3, np.float32)).min()
        1.0
    """
    window = [2 * (length // 10) + 1 for length in confidence.shape[::-1]]
    around = cv2.blur(confidence, window, borderType=cv2.BORDER_REPLICATE)
    return (((around + confidence.mean()) / 2 - _LEAST_TRUSTED) / _TRUST_RANGE).clip(0, 1)


def _grid(reference: Working) -> tuple[int, int]:
    """Return the rows and columns of a reference's positions."""
    rows, columns = reference.luminance.shape[2:]
    return rows // 4, columns // 4


def _lab(image: WorkingImage) -> tuple[Tensor, Tensor]:
    """Return L [1, 1, S, S'] and ab [1, 2, S, S'] of a working image."""
    rgb = image.pixels.permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    luminance, ab = rgb_to_lab(rgb)
    return torch.from_numpy(luminance)[None, None], torch.from_numpy(ab).permute(2, 0, 1)[None]


def _labels(maps: ClassMaps, index: int, image: WorkingImage) -> Tensor:
    """Return labels [2 h, 2 w] on the grid of the warped colours, which is twice as fine."""
    labels, _ = maps.of(index, image.grid)
    return F.interpolate(labels[None, None].double(), scale_factor=2)[0, 0].long()

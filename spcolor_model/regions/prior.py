"""Any prior, with its classes edited.

Dimensions: B images, K classes of the prior, R regions, h rows and w columns of the feature grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..features import WorkingImage
from ..prior import ClassMaps, Prior
from .edits import Edits

SIDES = ("target", "reference")
# A position is in a region that covers this share of it, or as much as of any position.
_COVERED = 0.5
_NEARLY = 0.99


class EditedPrior:
    """A `Prior` whose classes are those of another one, edited.

    Region r becomes class K + r, of confidence 1, on both sides; a pair c -> d gives the target's
    positions of class c the label d. So the correspondence operator does all the rest.

    Args:
        prior: the one to edit.
        edits: its regions and pairs; regions that only keep a colour change no class.
        sizes: (H, W) of target and reference, in whose pixels the regions are.

    Raises:
        FileNotFoundError, TypeError, ValueError: a region that does not fit its photo, by its key.

    Example:
        >>> EditedPrior(ClusterPrior(), edits, [(768, 1024), (600, 800)])(images).num_segments
        25
    """

    def __init__(self, prior: Prior, edits: Edits, sizes: Sequence[tuple[int, int]]) -> None:
        self.prior = prior
        self.edits = edits
        self.names = [name for name, region in edits.regions.items() if region.color is None]
        self._parts = [
            {
                name: edits.fill(name, side, size)
                for name in self.names
                if getattr(edits.regions[name], side)
            }
            for side, size in zip(SIDES, sizes, strict=True)
        ]

    def __call__(self, images: Sequence[WorkingImage]) -> ClassMaps:
        """Return the edited class maps of a target and its reference.

        Raises:
            ValueError: not two images, or a pair of a class that its photo does not have.
        """
        if len(images) != len(SIDES):
            raise ValueError(f"images: expected a target and a reference, got {len(images)}")
        maps = self.prior(images)
        labels, confidence = maps.labels.clone(), maps.confidence.clone()
        numbers = {name: maps.num_segments + r for r, name in enumerate(self.names)}
        for index, (image, parts) in enumerate(zip(images, self._parts, strict=True)):
            rows, columns = image.grid
            for name, inside in parts.items():
                where = _covered(inside, image.grid)
                labels[index, :rows, :columns][where] = numbers[name]
                confidence[index, :rows, :columns][where] = 1
        self._check_present(labels[1], numbers)
        target, reference = labels
        labels = torch.stack([self._paired(target, reference, numbers), reference])
        return ClassMaps(labels, confidence, maps.num_segments + len(self.names))

    def _check_present(self, reference: Tensor, numbers: dict[str, int]) -> None:
        for name in self._parts[1]:
            if not (reference == numbers[name]).any():
                raise ValueError(
                    f"regions.{name}.reference: expected a part that no later region covers"
                )

    def _paired(self, target: Tensor, reference: Tensor, numbers: dict[str, int]) -> Tensor:
        """Return the target's labels with each pair's class taken for another."""
        result = target.clone()
        for index, pair in enumerate(self.edits.pairs):
            wanted = {}
            for side, labels in zip(SIDES, (target, reference), strict=True):
                value = getattr(pair, side)
                wanted[side] = numbers[value] if isinstance(value, str) else value
                present = sorted(set(labels[labels >= 0].tolist()))
                if wanted[side] not in present:
                    raise ValueError(
                        f"pairs[{index}].{side}: expected a class that the {side} has "
                        f"({', '.join(map(str, present))}), got {value!r}"
                    )
            result[target == wanted["target"]] = wanted["reference"]
        return result


def _covered(inside: np.ndarray, grid: tuple[int, int]) -> Tensor:
    """Return which positions of a grid a region [H, W] covers, [h, w] bool; at least one."""
    share = F.interpolate(torch.from_numpy(inside)[None, None].float(), grid, mode="area")[0, 0]
    return share >= min(_COVERED, _NEARLY * float(share.max()))

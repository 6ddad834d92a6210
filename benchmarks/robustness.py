"""`python -m benchmarks.robustness`: confidence S where the prior is wrong (paper V-D).

A part of the target's related positions is given another class, drawn among the classes that the
target has, in two ways: in blocks of 6 x 6 positions, as a segmentation errs, and one by one (salt
noise). The prior's confidence stays as it was, so that only the matching can tell. Reported: the
mean S on corrupted and on clean related positions, and the ab error.

Dimensions: h rows and w columns of the target's feature grid.
"""

from __future__ import annotations

import statistics

import numpy as np
import torch
from rich.progress import track

from spcolor_model import colorize
from spcolor_model.evaluation.measures import ab_error
from spcolor_model.features import WorkingImage
from spcolor_model.prior import ClassMaps, ClusterPrior

from .pairs import Pair, all_pairs
from .quality import save

SHARES = (0.0, 0.05, 0.1, 0.2)
BLOCK = 6


class CorruptedPrior:
    """The default prior with a share of the target's labels replaced; `.corrupted` is the mask."""

    def __init__(self, share: float, block: int, seed: int = 0) -> None:
        self.share = share
        self.block = block
        self.seed = seed
        self.prior = ClusterPrior()

    def __call__(self, images: list[WorkingImage]) -> ClassMaps:
        """Return the class maps of a target and its reference."""
        maps = self.prior(images)
        height, width = images[0].grid
        window = maps.labels[0, :height, :width]
        lost = window == maps.num_segments - 1  # unrelated positions have no S to compare
        self.corrupted = corrupted_mask((height, width), self.share, self.block, self.seed) & ~lost
        # One shift for a block, as a segmentation errs: the block keeps its inner borders.
        classes = window[~lost].unique()
        rank = torch.searchsorted(classes, window.clamp(max=int(classes.max())))
        random = torch.Generator().manual_seed(self.seed)
        cells = (-(-height // self.block), -(-width // self.block))
        shift = torch.randint(1, max(2, len(classes)), cells, generator=random)
        shift = shift.repeat_interleave(self.block, 0).repeat_interleave(self.block, 1)
        other = classes[(rank + shift[:height, :width]) % len(classes)]
        labels = maps.labels.clone()
        labels[0, :height, :width] = torch.where(self.corrupted, other, window)
        return maps._replace(labels=labels)


def corrupted_mask(size: tuple[int, int], share: float, block: int, seed: int) -> torch.Tensor:
    """Choose a share of the blocks of [h, w] positions -> [h, w] bool."""
    cells = (-(-size[0] // block), -(-size[1] // block))
    order = np.random.default_rng(seed).permutation(cells[0] * cells[1])
    chosen = torch.from_numpy(order < round(share * order.size)).reshape(cells)
    return chosen.repeat_interleave(block, 0).repeat_interleave(block, 1)[: size[0], : size[1]]


def measure(pair: Pair, share: float, block: int) -> dict[str, float]:
    """Colour one pair with corrupted labels."""
    prior = CorruptedPrior(share, block)
    result = colorize(pair.target, pair.reference, engine="match", prior=prior)
    related = ~result.match.unrelated
    confidence = result.match.confidence
    corrupted, clean = prior.corrupted & related, ~prior.corrupted & related
    line = {"S clean": confidence[clean].mean().item()}
    if corrupted.any():
        line["S corrupted"] = confidence[corrupted].mean().item()
    return {**line, "ab error": ab_error(result.rgb, pair.target)}


def main() -> None:
    pairs = [pair for pair in all_pairs() if pair.group == "full"]
    rows = []
    for kind, block in (("blocks", BLOCK), ("salt", 1)):
        for share in SHARES:
            found = [measure(pair, share, block) for pair in track(pairs, f"{kind} {share:.0%}")]
            means = {key: statistics.fmean(x[key] for x in found) for key in found[0]}
            if "S corrupted" in means:
                means["S corrupted / clean"] = means["S corrupted"] / means["S clean"]
            rows.append({"corruption": kind, "share": share, "pairs": len(found), **means})
    save("robustness", rows)


if __name__ == "__main__":
    main()

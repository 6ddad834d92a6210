"""WarpNet's forward against the number of classes, beside the paper's Table III."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from spcolor_model.losses import lab_to_rgb
from spcolor_model.model import gray
from spcolor_model.networks import WarpNet

from ..label_maps import density
from ..machine import Neighbours
from ..peers import OPERATOR
from ..problem import TEMPERATURE
from ..tables import markdown
from .problems import Problem, random_classes
from .times import Times, take_turns

# k: ms an image of WarpNet's forward in the paper's Table III.
PAPER_MS = {1: 4.5, 2: 4.7, 3: 4.9, 5: 5.4, 8: 6.1, 10: 6.2, 15: 6.4}
PAPER_MS |= {20: 6.7, 21: 6.7, 22: 7.1, 25: 7.2, 27: 7.5}


@torch.no_grad()
def measure(
    problem: Problem, segments: Iterable[int], rounds: int, neighbours: Neighbours
) -> list[dict[str, object]]:
    """Return a line for each k: WarpNet on the photos of a problem's first batch.

    The classes are blocky random maps, as even as they can be: sum_c n_c m_c falls as 1 / k.
    """
    batch = problem.batches[0]
    model = problem.model
    reference = lab_to_rgb(torch.cat([batch.reference_luminance, batch.reference_ab], dim=1))
    target_maps, reference_maps = (
        model.backbone.correspondence_maps(model.backbone(rgb))
        for rgb in (gray(batch.luminance), reference)
    )
    size = batch.luminance.shape[2]
    lines = []
    for k in segments:
        (labels, confidence), (reference_labels, reference_confidence) = random_classes(
            len(batch.luminance), k, size
        )
        arguments = (target_maps, reference_maps, batch.reference_ab, labels, reference_labels)
        arguments += (confidence, reference_confidence)
        times = take_turns(_forward(model.warp_net, arguments, k), rounds, neighbours)
        found = density(labels.flatten(1), reference_labels.flatten(1), k)
        lines += [_line(k, found, name, each) for name, each in times.items()]
    return lines


def table(lines: list[dict[str, object]]) -> list[str]:
    """Return the Markdown table: one row for each k."""
    ways = list(dict.fromkeys(line["way"] for line in lines))
    header = ["k", "density", "WarpNet, ms", f"{OPERATOR.name}, ms", "share"]
    header += [f"{way}, ms" for way in ways[1:]]
    header += [f"WarpNet with {way}, ms" for way in ways[1:]] + ["paper's WarpNet, ms"]
    rows = []
    for k in dict.fromkeys(line["k"] for line in lines):
        own, *others = (line for line in lines if line["k"] == k)
        row = [str(k), f"{own['density']:.3f}"]
        row += ["{whole_ms:.0f} ({whole_q20_ms:.0f}-{whole_q80_ms:.0f})".format(**own)]
        row += ["{matching_ms:.1f}".format(**own), f"{own['matching_share']:.1%}"]
        row += ["{matching_ms:.1f} ({matching_ratio:.1f}x)".format(**x) for x in others]
        row += ["{whole_ms:.0f} ({whole_ratio:.2f}x)".format(**x) for x in others]
        rows.append([*row, f"{own['paper_ms']:.1f}"])
    return markdown(header, rows)


def _forward(warp_net: WarpNet, arguments: tuple[object, ...], k: int):
    def call(_turn: int) -> Tensor:
        options = {"num_segments": k, "temperature": TEMPERATURE, "center": True}
        return warp_net(*arguments, **options)

    return call


def _line(k: int, found: float, way: str, times: Times) -> dict[str, object]:
    return {
        "k": k,
        "density": found,
        "way": way,
        "rounds": len(times.turns),
        "whole_ms": times.ms("whole"),
        "whole_q20_ms": times.ms("whole", 0.2),
        "whole_q80_ms": times.ms("whole", 0.8),
        "whole_ratio": times.ratio("whole"),
        "matching_ms": times.ms("matching"),
        "matching_share": times.share,
        "matching_ratio": times.ratio("matching"),
        "paper_ms": PAPER_MS[k],
    }

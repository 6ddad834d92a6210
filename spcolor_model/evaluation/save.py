"""Evaluations as files: CSV for programs, plots for people."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from .evaluation import Evaluation, Picture
from .networks import Networks

# Measures of single pictures that are drawn, and what the axis says.
_DRAWN = {
    "colorfulness": "colourfulness",
    "colorfulness_difference": "difference in colourfulness",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "ab_error": "ab error",
}


def save(
    folder: str | Path, evaluations: Sequence[Evaluation], networks: Networks, text: str
) -> list[Path]:
    """Write everything into a folder, which is made.

    Args:
        folder: gets evaluation.md, evaluation.csv (a line for each system and protocol),
            pictures.csv (a line for each of their pictures) and PROTOCOL.png.
        evaluations: of every system and protocol.
        networks: that judged; their names are in every line.
        text: for evaluation.md, as of `report`.

    Returns:
        The paths.

    Example:
        >>> save("out/evaluation", evaluations, networks, text)[0].name
        'evaluation.md'
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("evaluation.md", "evaluation.csv", "pictures.csv")]
    paths[0].write_text(text + "\n", encoding="utf-8")
    _write(paths[1], [_line(one, networks) for one in evaluations])
    _write(
        paths[2],
        [
            {"system": one.system, "protocol": one.protocol, **picture._asdict()}
            for one in evaluations
            for picture in one.pictures
        ],
    )
    for protocol in dict.fromkeys(one.protocol for one in evaluations):
        paths.append(folder / f"{protocol}.png")
        _plot([one for one in evaluations if one.protocol == protocol]).savefig(paths[-1], dpi=120)
    return paths


def _line(evaluation: Evaluation, networks: Networks) -> dict[str, object]:
    """Return an evaluation as a line of evaluation.csv."""
    return {
        "system": evaluation.system,
        "protocol": evaluation.protocol,
        "pictures": len(evaluation.pictures),
        "expected": evaluation.expected,
        "fid": evaluation.fid,
        "kid": evaluation.kid.mean,
        "kid_std": evaluation.kid.std,
        "top1": evaluation.top1,
        "top5": evaluation.top5,
        **{name: evaluation.mean(name) for name in Picture._fields[3:]},
        "features": networks.features.name,
        "classifier": networks.classifier.name,
        "perceptual": networks.perceptual.name,
    }


def _write(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*lines[0]])
        writer.writeheader()
        writer.writerows(lines)


def _plot(evaluations: Sequence[Evaluation]) -> Figure:
    """Draw how each measure is distributed over the pictures of every system."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    figure.suptitle(f"Protocol: {evaluations[0].protocol}")
    for axes, (name, label) in zip(figure.subplots(2, 3).flat, _DRAWN.items(), strict=True):
        values = [[getattr(x, name) for x in one.pictures] for one in evaluations]
        # The PSNR of a picture that is its truth is infinite, and has no place on an axis.
        axes.boxplot([np.asarray(x)[np.isfinite(x)] for x in values])
        axes.set_xticks(range(1, len(values) + 1), [one.system for one in evaluations], rotation=30)
        axes.set_ylabel(label)
    return figure

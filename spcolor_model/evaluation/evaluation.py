"""Coloured pictures beside the true ones: every measure of each, and what they say together.

Dimensions: N pictures, C channels of the features, S rows and columns of a network's input.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..images import read_image
from .distribution import KernelDistance, frechet_distance, kernel_distance
from .lists import listed
from .measures import ab_error, colorfulness, psnr, ssim, unit_range
from .networks import Networks
from .pictures import Matched
from .protocols import Protocol

_BATCH = 16


class Picture(NamedTuple):
    """Measures of one result.

    Attributes:
        name: stem of its file.
        top1, top5: whether its true class is the likeliest, or among the likeliest five.
        colorfulness, truth_colorfulness, colorfulness_difference: of both, and how far apart.
        psnr, ssim, lpips: against the truth.
        ab_error: mean |ab - ab of the truth|; says something where the truth is the one answer.
    """

    name: str
    top1: bool
    top5: bool
    colorfulness: float
    truth_colorfulness: float
    colorfulness_difference: float
    psnr: float
    ssim: float
    lpips: float
    ab_error: float


class Evaluation(NamedTuple):
    """What was measured of one system by one protocol.

    Attributes:
        system: its name.
        protocol: likewise.
        pictures: of each result, in the order of names.
        expected: number of true pictures; more than `pictures` where some results are missing.
        fid: Frechet distance, or None of too few pictures.
        kid: kernel distance.
        top1, top5: in percent.
    """

    system: str
    protocol: str
    pictures: list[Picture]
    expected: int
    fid: float | None
    kid: KernelDistance
    top1: float
    top5: float

    def mean(self, measure: str) -> float:
        """Return the mean of a measure of `Picture`."""
        return statistics.fmean(getattr(picture, measure) for picture in self.pictures)


class Seen(NamedTuple):
    """What networks say of N pictures.

    Attributes:
        features: [N, C].
        classes: [N, 5], the likeliest first.
    """

    features: Tensor
    classes: Tensor


def evaluate(
    systems: Mapping[str, Sequence[Matched]],
    protocol: Protocol,
    networks: Networks,
    classes: Mapping[str, int] | None = None,
) -> Iterator[Evaluation]:
    """Yield the evaluation of every system.

    Args:
        systems: name of each, and its results as `match_pictures` returns them, of one truth.
        protocol: how to measure.
        networks: as of `find_networks`.
        classes: ImageNet class of every picture by its name; where None, the class is the one that
            the classifier finds likeliest for the truth, so that Top-1 is agreement with it.

    Raises:
        ValueError: a picture has no class, or fewer than two have a result.

    Example:
        >>> matched = match_pictures("coloured", true_pictures("photos"))
        >>> next(evaluate({"ours": matched}, STANDARD, find_networks())).mean("psnr")
        24.1
    """
    (truth, *_) = systems.values()
    unknown = [one.name for one in truth if classes is not None and one.name not in classes]
    if unknown:
        raise ValueError(f"classes: expected one of every picture, lacks {listed(unknown)}")
    seen_truth = see([one.truth for one in truth], protocol, networks)
    answers = seen_truth.classes[:, 0]
    if classes is not None:
        answers = torch.tensor([classes[one.name] for one in truth])
    for system, matched in systems.items():
        is_found = torch.tensor([one.result is not None for one in matched])
        found = [one for one in matched if one.result is not None]
        seen = see([one.result for one in found], protocol, networks)
        hits = seen.classes == answers[is_found, None]
        pictures = [
            _measure(one, row.tolist(), protocol, networks)
            for one, row in zip(found, hits, strict=True)
        ]
        count = len(matched) if protocol.counts_missing else len(found)
        yield Evaluation(
            system,
            protocol.name,
            pictures,
            len(matched),
            frechet_distance(seen.features, seen_truth.features),
            kernel_distance(seen.features, seen_truth.features),
            100 * sum(picture.top1 for picture in pictures) / count,
            100 * sum(picture.top5 for picture in pictures) / count,
        )


@torch.inference_mode()
def see(paths: Sequence[Path], protocol: Protocol, networks: Networks) -> Seen:
    """Return what networks say of picture files.

    Example:
        >>> see(list_images("photos"), STANDARD, find_networks()).classes.shape
        torch.Size([20, 5])
    """
    features, classes = [], []
    shown = _Inputs(paths, protocol, networks.features.size)
    for batch in DataLoader(shown, batch_size=_BATCH):
        stretched, centre = (x.to(networks.device) for x in batch)
        features.append(networks.features.extract(stretched, protocol).cpu())
        classes.append(networks.classifier.classify(centre).topk(5).indices.cpu())
    return Seen(torch.cat(features), torch.cat(classes))


class _Inputs(Dataset):
    """What both networks see of each picture, [3, S, S] in 0..1."""

    def __init__(self, paths: Sequence[Path], protocol: Protocol, size: int) -> None:
        self.paths, self.protocol, self.size = paths, protocol, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture = self.protocol.picture(read_image(self.paths[index]))
        inputs = self.protocol.stretch(picture, self.size), self.protocol.center(picture)
        return tuple(unit_range(x)[0] for x in inputs)


def _measure(
    matched: Matched, hits: Sequence[bool], protocol: Protocol, networks: Networks
) -> Picture:
    """Return the measures of a result, of whose five likeliest classes `hits` are true."""
    pair = [protocol.picture(read_image(path)) for path in (matched.result, matched.truth)]
    colorful = [colorfulness(rgb) for rgb in pair]
    return Picture(
        matched.name,
        hits[0],
        any(hits),
        *colorful,
        abs(colorful[0] - colorful[1]),
        psnr(*pair),
        ssim(*pair),
        _perceptual_distance(pair, networks),
        ab_error(*pair),
    )


@torch.inference_mode()
def _perceptual_distance(pair: Sequence[np.ndarray], networks: Networks) -> float:
    return networks.perceptual.distance(
        *(unit_range(rgb).to(networks.device) for rgb in pair)
    ).item()

"""Evaluations as Markdown tables, with what must be known to read them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from .evaluation import Evaluation
from .networks import STAND_IN, Networks

_USUAL = ("Inception-v3", "ResNet-101", "LPIPS's AlexNet")


def report(
    evaluations: Sequence[Evaluation],
    networks: Networks,
    *,
    classes_given: bool,
    true_answer: bool,
) -> str:
    """Return the tables, one for each protocol, and what there is to know about them.

    Args:
        evaluations: of every system and protocol.
        networks: that judged.
        classes_given: whether Top-1 and Top-5 are against given classes.
        true_answer: whether the truth's colours are the one right answer.

    Example:
        >>> print(report(evaluations, networks, classes_given=False, true_answer=True))
    """
    protocols = dict.fromkeys(one.protocol for one in evaluations)
    tables = [
        f"**Protocol: {name}**\n\n"
        + markdown(
            [
                summary(one, networks, true_answer=true_answer)
                for one in evaluations
                if one.protocol == name
            ]
        )
        for name in protocols
    ]
    found = notes(evaluations, networks, classes_given=classes_given, true_answer=true_answer)
    return "\n\n".join([*tables, *found])


def summary(evaluation: Evaluation, networks: Networks, *, true_answer: bool) -> dict[str, str]:
    """Return an evaluation as the cells of its line, by column."""
    features, classifier, perceptual, _ = networks
    mean = evaluation.mean
    fid = "too few" if evaluation.fid is None else f"{evaluation.fid:.2f}"
    kid_mean, kid_std = (1000 * x for x in evaluation.kid)
    return {
        "system": evaluation.system,
        "pictures": f"{len(evaluation.pictures)} of {evaluation.expected}",
        f"FID ({features.name})": fid,
        f"KID x 1000 ({features.name})": f"{kid_mean:.2f} ± {kid_std:.2f}",
        f"Top-1, % ({classifier.name})": f"{evaluation.top1:.2f}",
        "Top-5, %": f"{evaluation.top5:.2f}",
        "colourfulness": f"{mean('colorfulness'):.2f}",
        "truth's": f"{mean('truth_colorfulness'):.2f}",
        "difference": f"{mean('colorfulness_difference'):.2f}",
        "PSNR, dB": f"{mean('psnr'):.2f}",
        "SSIM": f"{mean('ssim'):.4f}",
        f"LPIPS ({perceptual.name})": f"{mean('lpips'):.4f}",
        "ab error" if true_answer else "ab error (no true answer)": f"{mean('ab_error'):.2f}",
    }


def markdown(lines: Sequence[Mapping[str, str]]) -> str:
    """Return lines of equal columns as a Markdown table.

    Example:
        >>> print(markdown([{"k": "1", "FID": "4.34"}]))
        | k | FID  |
        |---|------|
        | 1 | 4.34 |
    """
    table = Table(*lines[0], box=box.MARKDOWN)
    for line in lines:
        table.add_row(*line.values())
    text = io.StringIO()
    # As wide as it takes: a Markdown table cannot wrap.
    Console(file=text, width=10_000, color_system=None).print(table, markup=False)
    return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())


def notes(
    evaluations: Sequence[Evaluation],
    networks: Networks,
    *,
    classes_given: bool,
    true_answer: bool,
) -> list[str]:
    """Return the sentences without which the numbers mislead; arguments as of `report`.

    Example:
        >>> notes([], find_networks(), classes_given=True, true_answer=True)[0]
        'Top-1 and Top-5 are against the given classes.'
    """
    features = networks.features
    found = [
        "Top-1 and Top-5 are against the given classes."
        if classes_given
        else "Top-1 and Top-5 are agreement with the likeliest class of the true picture."
    ]
    if any(one.fid is None for one in evaluations):
        found.append(
            f"FID: fewer pictures than the {features.channels} channels of {features.name}; "
            "KID stands in its place, and can be below 0, as the truth's own is."
        )
    replaced = [
        usual for usual, taken in zip(_USUAL, networks[:3], strict=True) if taken.name == STAND_IN
    ]
    if replaced:
        found.append(
            f"{STAND_IN} stands in for {', '.join(replaced)}: compare these numbers with each "
            "other alone."
        )
    if not true_answer:
        found.append("The ab error says little: other colours than the truth's can be as right.")
    return found

"""`spcolor explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .colorize import EngineName, PriorName
from .messages import warn


def explain_pair(
    target: Annotated[Path, typer.Argument(help="Photo to colour.")],
    reference: Annotated[Path, typer.Argument(help="Photo whose colours are taken.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="HTML file; a PNG of its stem goes beside it.")
    ],
    point: Annotated[
        list[str] | None, typer.Option(help="X,Y in pixels of the upright target; repeatable.")
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="Networks, or matching alone.")] = (
        EngineName.trained
    ),
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint folder of a training run, for the engine.")
    ] = None,
    prior: Annotated[PriorName, typer.Option(help="What tells classes apart.")] = (
        PriorName.clusters
    ),
    target_mask: Annotated[Path | None, typer.Option(help="Classes of the target.")] = None,
    reference_mask: Annotated[Path | None, typer.Option(help="Classes of the reference.")] = None,
    num_segments: Annotated[
        int | None, typer.Option(help="Number of clusters, fitted to the pair.", min=1)
    ] = None,
    edits: Annotated[
        Path | None, typer.Option(help="YAML or JSON: regions, pairs of classes, kept colours.")
    ] = None,
) -> None:
    """Show why points of TARGET get their colours from REFERENCE.

    Both files are the same report: what each point takes with classes and without, class maps,
    similarity, warped and final colour. Warnings say where nothing in the reference matched.
    """
    from ..batch import check_outputs
    from ..engine import make_engine
    from ..explanation import explain, save_report
    from ..explanation.report import report_paths
    from ..regions import load_edits

    try:
        chosen_edits = load_edits(edits) if edits is not None else None
        inputs = [target, reference, target_mask, reference_mask, edits]
        inputs += chosen_edits.files if chosen_edits else []
        check_outputs(report_paths(output), inputs)
        explanation = explain(
            target,
            reference,
            [parse_point(text) for text in point or ()],
            engine=make_engine(engine.value, weights),
            prior=prior.value,
            num_segments=num_segments,
            target_mask=target_mask,
            reference_mask=reference_mask,
            edits=chosen_edits,
        )
    except (OSError, TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    for text in explanation.warnings:
        warn(text)
    for written in save_report(output, explanation):
        typer.echo(written)


def parse_point(text: str) -> tuple[int, int]:
    """Return x and y of "X,Y".

    Raises:
        ValueError: it is not two whole numbers.

    Example:
        >>> parse_point("120,80")
        (120, 80)
    """
    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--point: expected X,Y in whole pixels, got {text!r}") from None
    return x, y

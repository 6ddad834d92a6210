"""`spcolor colorize`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from .messages import warn


class EngineName(str, Enum):
    """Names of `spcolor_model.engine.ENGINES`."""

    trained = "trained"
    match = "match"


class PriorName(str, Enum):
    """Names of `spcolor_model.engine.PRIORS`."""

    clusters = "clusters"
    none = "none"
    masks = "masks"


def colorize(
    target: Annotated[Path, typer.Argument(help="Photo, or folder of photos, to colour.")],
    reference: Annotated[Path, typer.Argument(help="Photo whose colours are taken.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File; folder of PNGs for a folder.")
    ],
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
    sheet: Annotated[bool, typer.Option("--sheet", help="Also save what led to it.")] = False,
) -> None:
    """Colour TARGET with the colours of REFERENCE.

    The result has the target's size and luminance. A file that cannot be coloured is reported, the
    others are still done, and the exit code is 1. Wrong arguments end with 2 before any work.
    """
    # Loading torch takes seconds that --help should not.
    from ..batch import colorize_file, plan
    from ..engine import has_color, make_engine, make_prior
    from ..images import read_image
    from ..regions import load_edits

    try:
        masks = (target_mask, reference_mask)
        chosen_edits = load_edits(edits) if edits is not None else None
        inputs = [*masks, edits, *(chosen_edits.files if chosen_edits else ())]
        jobs = plan(target, reference, output, masks=inputs, sheet=sheet)
        reference_rgb = read_image(reference)
        chosen_prior = make_prior(prior.value, num_segments, *masks)
        chosen_engine = make_engine(engine.value, weights)
    except (OSError, TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    if not has_color(reference_rgb):
        warn(f"{reference}: has hardly any colour to give")
    failures = 0
    with Progress(console=Console(stderr=True)) as progress:
        for job in progress.track(jobs, description="colorize"):
            try:
                for written in colorize_file(
                    job,
                    reference_rgb,
                    chosen_engine,
                    chosen_prior,
                    edits=chosen_edits,
                    sheet=sheet,
                    warn=warn,
                ):
                    typer.echo(written)
            except (OSError, TypeError, ValueError) as error:
                failures += 1
                typer.echo(f"error: {error}", err=True)
    if failures:
        typer.echo(f"error: {failures} of {len(jobs)} photos were not coloured", err=True)
        raise typer.Exit(1)

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
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File; folder of PNGs for a folder.")
    ],
    reference: Annotated[
        list[Path] | None, typer.Argument(help="Photos whose colours are taken.")
    ] = None,
    references: Annotated[
        Path | None, typer.Option(help="Folder whose best photos are taken for each target.")
    ] = None,
    top: Annotated[int | None, typer.Option(help="How many; 1 unless given.", min=1)] = None,
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
    reference_mask: Annotated[
        list[Path] | None, typer.Option(help="Classes of a reference; once for each.")
    ] = None,
    num_segments: Annotated[
        int | None, typer.Option(help="Number of clusters, fitted to the photos.", min=1)
    ] = None,
    edits: Annotated[
        Path | None, typer.Option(help="YAML or JSON: regions, pairs of classes, kept colours.")
    ] = None,
    sheet: Annotated[bool, typer.Option("--sheet", help="Also save what led to it.")] = False,
    each: Annotated[
        bool, typer.Option("--each", help="Also save a picture of each reference's own result.")
    ] = False,
) -> None:
    """Colour TARGET with the colours of one REFERENCE or more.

    The result has the target's size and luminance. A file that cannot be coloured is reported, the
    others are still done, and the exit code is 1. Wrong arguments end with 2 before any work.
    """
    # Loading torch takes seconds that --help should not.
    from ..batch import References, colorize_file, plan
    from ..engine import has_color, make_engine, make_prior
    from ..images import read_image
    from ..ranking import Folder
    from ..regions import load_edits

    try:
        given = reference or []
        if not given and references is None:
            raise ValueError("REFERENCE: expected at least one, or --references, got none")
        if references is None and top is not None:
            raise ValueError(f"--top: expected with --references alone, got {top}")
        if references is not None and reference_mask:
            raise ValueError("--reference-mask: expected with REFERENCE alone, got --references")
        folder = references and Folder(references)
        chosen_edits = load_edits(edits) if edits is not None else None
        inputs = [target_mask, *(reference_mask or ()), *(folder.paths if folder else ())]
        inputs += [edits, *(chosen_edits.files if chosen_edits else ())]
        jobs = plan(target, given, output, masks=inputs, sheet=sheet, each=each)
        sources = References([read_image(one) for one in given], folder, top or 1)
        chosen_prior = make_prior(prior.value, num_segments, target_mask, reference_mask or None)
        chosen_engine = make_engine(engine.value, weights)
    except (OSError, TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    for path, rgb in zip(given, sources.given, strict=True):
        if not has_color(rgb):
            warn(f"{path}: has hardly any colour to give")
    failures = 0
    with Progress(console=Console(stderr=True)) as progress:
        for job in progress.track(jobs, description="colorize"):
            try:
                for written in colorize_file(
                    job,
                    sources.of(job.target, typer.echo),
                    chosen_engine,
                    chosen_prior,
                    edits=chosen_edits,
                    sheet=sheet,
                    each=each,
                    warn=warn,
                ):
                    typer.echo(written)
            except (OSError, TypeError, ValueError) as error:
                failures += 1
                typer.echo(f"error: {error}", err=True)
    if failures:
        typer.echo(f"error: {failures} of {len(jobs)} photos were not coloured", err=True)
        raise typer.Exit(1)

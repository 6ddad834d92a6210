"""Command line: `spcolor colorize`, `prepare`, `evaluate` and `demo`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


class EngineName(str, Enum):
    """Names of `spcolor_model.engine.ENGINES`."""

    trained = "trained"
    match = "match"


class PriorName(str, Enum):
    """Names of `spcolor_model.engine.PRIORS`."""

    clusters = "clusters"
    none = "none"
    masks = "masks"


class ProtocolName(str, Enum):
    """Names of `spcolor_model.evaluation.PROTOCOLS`."""

    standard = "standard"
    published = "published"
    both = "both"


class FeaturesName(str, Enum):
    """Names of `spcolor_model.evaluation.networks.CHOICES`."""

    auto = "auto"
    inception = "inception"
    efficientnet_lite0 = "efficientnet_lite0"


@app.command()
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
    sheet: Annotated[bool, typer.Option("--sheet", help="Also save what led to it.")] = False,
) -> None:
    """Colour TARGET with the colours of REFERENCE.

    The result has the target's size and luminance. A file that cannot be coloured is reported, the
    others are still done, and the exit code is 1. Wrong arguments end with 2 before any work.
    """
    # Loading torch takes seconds that --help should not.
    from .batch import colorize_file, plan
    from .engine import has_color, make_engine, make_prior
    from .images import read_image

    try:
        masks = (target_mask, reference_mask)
        jobs = plan(target, reference, output, masks=masks, sheet=sheet)
        reference_rgb = read_image(reference)
        chosen_prior = make_prior(prior.value, num_segments, *masks)
        chosen_engine = make_engine(engine.value, weights)
    except (OSError, TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    if not has_color(reference_rgb):
        _warn(f"{reference}: has hardly any colour to give")
    failures = 0
    with Progress(console=Console(stderr=True)) as progress:
        for job in progress.track(jobs, description="colorize"):
            try:
                for written in colorize_file(
                    job, reference_rgb, chosen_engine, chosen_prior, sheet=sheet, warn=_warn
                ):
                    typer.echo(written)
            except (OSError, TypeError, ValueError) as error:
                failures += 1
                typer.echo(f"error: {error}", err=True)
    if failures:
        typer.echo(f"error: {failures} of {len(jobs)} photos were not coloured", err=True)
        raise typer.Exit(1)


def _warn(text: str) -> None:
    typer.echo(f"warning: {text}", err=True)


@app.command("evaluate")
def evaluate_folders(
    results: Annotated[list[Path], typer.Argument(help="Folders of coloured photos.")],
    truth: Annotated[Path, typer.Option(help="Folder of the true photos, of the same stems.")],
    manifest: Annotated[
        Path | None, typer.Option(help="List of the true photos with their SHA-256.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="List of their ImageNet classes, for Top-1 and Top-5.")
    ] = None,
    protocol: Annotated[ProtocolName, typer.Option(help="How to measure.")] = ProtocolName.both,
    features: Annotated[
        FeaturesName, typer.Option(help="Networks that judge; inception may be downloaded.")
    ] = FeaturesName.auto,
    true_answer: Annotated[
        bool, typer.Option("--true-answer", help="The truth's colours alone are right.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Some photos may have no result.")
    ] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder.")] = (
        Path("out/evaluation")
    ),
) -> None:
    """Measure coloured photos of any systems against the true ones.

    Tables are printed, and saved with CSV and plots. Results that are missing, too many, damaged or
    of another size than the truth are named, and end with 2 before any work.
    """
    from .evaluation import (
        PROTOCOLS,
        evaluate,
        find_networks,
        match_pictures,
        read_classes,
        report,
        save,
        true_pictures,
    )

    protocols = PROTOCOLS[protocol.value]
    evaluations = []
    try:
        pictures = true_pictures(truth, manifest)
        systems = {
            str(folder): match_pictures(folder, pictures, allow_missing=allow_missing)
            for folder in results
        }
        known = read_classes(classes) if classes else None
        networks = find_networks(features.value)
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("evaluate", total=len(protocols) * len(systems))
            for one in protocols:
                for evaluation in evaluate(systems, one, networks, known):
                    evaluations.append(evaluation)
                    progress.advance(task)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    text = report(evaluations, networks, classes_given=known is not None, true_answer=true_answer)
    typer.echo(text)
    for written in save(output, evaluations, networks, text):
        typer.echo(written)


class BackboneChoice(str, Enum):
    """Names of `spcolor_model.networks.BackboneName`."""

    efficientnet_lite0 = "efficientnet_lite0"
    vgg19 = "vgg19"


@app.command()
def prepare(
    images: Annotated[list[Path], typer.Argument(help="Files and folders; with --merge, DATA.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="DATA, the folder to write.")],
    exclude: Annotated[list[str] | None, typer.Option(help="Glob of names or paths.")] = None,
    min_size: Annotated[
        int | None, typer.Option(help="Least short side in pixels; 256 unless given.", min=1)
    ] = None,
    features: Annotated[
        BackboneChoice | None, typer.Option(help="efficientnet_lite0 unless given.")
    ] = None,
    shard: Annotated[str | None, typer.Option(help="I/N: of N shares the I-th.")] = None,
    held_out: Annotated[float, typer.Option(help="Share held out.", min=0, max=1)] = 0.2,
    references: Annotated[int, typer.Option(help="At most, of each target.", min=1)] = 5,
    candidates: Annotated[int, typer.Option(help="Compared part by part.", min=1)] = 200,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    merge: Annotated[bool, typer.Option("--merge", help="Pair what shards have read.")] = False,
) -> None:
    """Write a training manifest of IMAGES: each photo with those that are most like it.

    DATA/manifest.parquet has the pairs, DATA/images.parquet every file and what became of it. A run
    that was interrupted goes on where it was. A shard is only read; --merge pairs all shards'
    photos.
    """
    from .data.prepare import report, run

    pairing = run.Pairing(held_out, references, candidates)
    try:
        if merge:
            report.refuse(exclude=exclude, min_size=min_size, features=features, shard=shard)
            summary = run.merge(images, output, pairing=pairing, workers=workers)
        else:
            summary = run.prepare(
                images,
                output,
                exclude=exclude or (),
                settings=report.settings(min_size, features and features.value),
                pairing=pairing,
                shard=shard and report.parse_shard(shard),
                workers=workers,
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    report.show(summary, output)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder.")] = Path("out/demo"),
) -> None:
    """Colour photos that come inside installed packages, and print the pictures' names."""
    from .demo import run

    for written in run(output):
        typer.echo(written)

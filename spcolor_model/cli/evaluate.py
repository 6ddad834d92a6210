"""`spcolor evaluate`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress


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
    from ..evaluation import (
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

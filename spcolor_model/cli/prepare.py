"""`spcolor prepare`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class BackboneChoice(str, Enum):
    """Names of `spcolor_model.networks.BackboneName`."""

    efficientnet_lite0 = "efficientnet_lite0"
    vgg19 = "vgg19"


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
    from ..data.prepare import report, run

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

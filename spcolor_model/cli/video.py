"""`spcolor video`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .messages import warn


def video(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Film; folder or %04d of images.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Film; folder or %04d.png for images.")
    ],
    reference: Annotated[
        list[str], typer.Option("--reference", "-r", help="Image, or SECONDS=IMAGE of the film.")
    ],
    top: Annotated[int, typer.Option(help="References of a scene without its own.", min=1)] = 1,
    propagate: Annotated[
        bool, typer.Option("--propagate/--no-propagate", help="The last frame is a reference.")
    ] = True,
    deinterlace: Annotated[
        bool, typer.Option("--deinterlace", help="Make whole frames of interlaced ones.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint folder of a training run.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Frames a second of images; 24 unless given.")
    ] = None,
    codec: Annotated[str | None, typer.Option(help="An encoder of FFmpeg, such as ffv1.")] = None,
    quality: Annotated[
        int | None, typer.Option(help="Constant rate factor; 16 unless given.", min=0, max=63)
    ] = None,
) -> None:
    """Colour the film IN with the colours of references.

    Each scene takes the coloured frames that belong to it, or else the references that are most
    like it. Luma, sound, frame rate, size, depth and colour tags are kept. A run that was killed
    goes on where it was. Wrong arguments end with 2 before any work.
    """
    from ..engine import has_color, make_engine
    from ..video.colorist import DEFAULT_LOG_WEIGHT
    from ..video.references import read_reference, reference_path
    from ..video.run import colorize_video

    try:
        inputs = [reference_path(text)[0].resolve() for text in reference]
        if output.resolve() in inputs:
            raise ValueError(f"--output: expected a path that is no input, got {output}")
        references = [read_reference(text) for text in reference]
        engine = make_engine("trained", weights)
        for one in references:
            if not has_color(one.rgb):
                warn(f"{one.name}: has hardly any colour to give")
        with _progress() as progress:
            task = progress.add_task("video", total=None)
            written = colorize_video(
                source,
                references,
                output,
                engine=engine,
                top=top,
                log_weight=DEFAULT_LOG_WEIGHT if propagate else None,
                deinterlace=deinterlace,
                rate=_rate(rate),
                codec=codec,
                quality=quality,
                progress=lambda done, count: progress.update(task, completed=done, total=count),
                tell=typer.echo,
                warn=warn,
            )
    except (OSError, TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(written)


def _progress() -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True))


def _rate(text: str | None) -> Fraction | None:
    try:
        rate = text and Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = 0
    if rate is not None and not rate > 0:
        raise ValueError(f"--rate: expected a number above 0 such as 30000/1001, got {text}")
    return rate

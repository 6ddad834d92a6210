"""Command line: one module for each command of `spcolor`."""

from __future__ import annotations

import typer

from .colorize import colorize
from .demo import demo
from .evaluate import evaluate_folders
from .prepare import prepare
from .video import video

_HELP = "Colour photos and films, prepare and measure what that takes."

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=_HELP)
app.command()(colorize)
app.command()(video)
app.command()(prepare)
app.command("evaluate")(evaluate_folders)
app.command()(demo)

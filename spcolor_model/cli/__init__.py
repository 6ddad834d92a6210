"""Command line: one module for each command of `spcolor`."""

from __future__ import annotations

import typer

from .colorize import colorize
from .demo import demo
from .evaluate import evaluate_folders
from .explain import explain_pair
from .prepare import prepare
from .serve import serve
from .video import video

_HELP = "Colour photos and films, explain their colours, prepare and measure what that takes."

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=_HELP)
app.command()(colorize)
app.command()(video)
app.command("explain")(explain_pair)
app.command()(prepare)
app.command("evaluate")(evaluate_folders)
app.command()(demo)
app.command()(serve)

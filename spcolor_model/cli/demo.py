"""`spcolor demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder.")] = Path("out/demo"),
) -> None:
    """Colour photos that come inside installed packages, and print the pictures' names."""
    from ..demo import run

    for written in run(output):
        typer.echo(written)

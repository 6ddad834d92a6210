"""What every command prints to the error stream."""

from __future__ import annotations

import typer


def warn(text: str) -> None:
    """Print a warning; what goes on was not all that was expected."""
    typer.echo(f"warning: {text}", err=True)

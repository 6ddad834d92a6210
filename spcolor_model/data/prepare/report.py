"""What the command line makes of its options, and what it prints."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .describe import BackboneName
from .records import Settings
from .run import Summary
from .tables import IMAGES, MANIFEST

_SHARD = re.compile(r"(\d+)/(\d+)")


def parse_shard(text: str) -> tuple[int, int]:
    """Return (I, N) of "I/N".

    Raises:
        ValueError: another text.

    Example:
        >>> parse_shard("2/8")
        (2, 8)
    """
    found = _SHARD.fullmatch(text)
    if not found:
        raise ValueError(f"--shard: expected I/N, got {text!r}")
    return int(found[1]), int(found[2])


def settings(min_size: int | None, features: str | None) -> Settings:
    """Return the settings of which some are given."""
    given = {"min_size": min_size, "features": features and BackboneName(features)}
    return Settings(**{name: value for name, value in given.items() if value is not None})


def refuse(**options: object) -> None:
    """Refuse options that say how files are read, where no file is.

    Raises:
        ValueError: one is given; the message names it.
    """
    for name, value in options.items():
        if value:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option}: expected none with --merge, got {value}")


def show(summary: Summary, output: Path) -> None:
    """Print files by reason, speed, and what was written."""
    table = Table("reason", "files")
    for reason, count in summary.counts.items():
        table.add_row(reason.value, str(count))
    table.add_section()
    table.add_row("all", str(sum(summary.counts.values())))
    console = Console()
    console.print(table)
    if summary.read:
        speed = summary.read / summary.seconds
        console.print(f"{summary.read} files read, {speed:.1f} a second")
    if summary.paired is None:
        console.print(f"{output}: records, for --merge")
    else:
        console.print(f"largest group of one scene: {summary.paired.largest_group} photos")
        console.print(f"{output / MANIFEST}: {summary.paired.pairs} pairs")
        console.print(f"{output / IMAGES}: every file")

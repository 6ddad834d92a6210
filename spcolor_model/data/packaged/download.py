"""All sources, one after another, and the list of what they gave."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

from .sources import SOURCES, Photo

FOLDER = Path("out/photos")


def fetch(folder: Path = FOLDER) -> list[str]:
    """Fill a folder with photos and their list; return what could not be had, and why.

    `manifest.csv` has the columns file, source and licence.

    Example:
        >>> fetch(Path("out/photos"))
        []
    """
    folder.mkdir(parents=True, exist_ok=True)
    photos, missing = [], []
    for name, source in SOURCES.items():
        try:
            found = list(source(folder))
        except (OSError, ImportError, subprocess.CalledProcessError) as error:
            missing.append(f"{name}: {_reason(error)}")
            continue
        photos += found
        print(f"{name}: {len(found)} pictures")
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([Photo._fields, *photos])
    return missing


def _reason(error: Exception) -> str:
    """Return why a source failed: the last line that the failing command wrote, if one did."""
    written = (getattr(error, "stderr", None) or "").strip().splitlines()
    return written[-1] if written else str(error)

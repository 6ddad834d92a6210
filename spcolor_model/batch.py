"""Which file is coloured into which: the part of the command line that knows paths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .engine import Engine, colorize
from .images import EXTENSIONS, list_images, write_image
from .prior import Prior
from .sheet import save_sheet


class Job(NamedTuple):
    """One photo and where its result goes."""

    target: Path
    output: Path

    @property
    def sheet(self) -> Path:
        """Where `--sheet` saves what led to the result."""
        return self.output.with_name(f"{self.output.stem}_sheet.png")


def plan(
    target: Path, reference: Path, output: Path, *, masks: tuple[Path | None, ...] = ()
) -> list[Job]:
    """List the photos to colour.

    A file goes to the file `output`, a folder's photos to PNG files of the same stem in the folder
    `output`.

    Raises:
        FileNotFoundError: target or reference is not there, or the folder has no photo.
        ValueError: a result would replace an input file, or two results each other; or the
            output's suffix is not that of an image.

    Example:
        >>> plan(Path("old.jpg"), Path("new.jpg"), Path("out.png"))
        [Job(target=PosixPath('old.jpg'), output=PosixPath('out.png'))]
    """
    for name, path in (("TARGET", target), ("REFERENCE", reference)):
        if not path.exists():
            raise FileNotFoundError(f"{name}: expected an existing path, got {path}")
    jobs = _jobs(target, output)
    inputs = {path.resolve() for path in (reference, *masks) if path is not None}
    inputs |= {job.target.resolve() for job in jobs}
    for path in (path for job in jobs for path in (job.output, job.sheet)):
        if path.resolve() in inputs:
            raise ValueError(f"--output: expected a path that is no input, got {path}")
    return jobs


def colorize_file(
    job: Job, reference: np.ndarray, engine: Engine, prior: Prior | None, *, sheet: bool
) -> Iterator[Path]:
    """Colour one file with a reference [H, W, 3] uint8; yield the paths written."""
    result = colorize(job.target, reference, engine=engine, prior=prior)
    write_image(job.output, result.rgb)
    yield job.output
    if sheet:
        save_sheet(job.sheet, result)
        yield job.sheet


def _jobs(target: Path, output: Path) -> list[Job]:
    if not target.is_dir():
        if output.suffix.lower() not in EXTENSIONS:
            known = ", ".join(sorted(EXTENSIONS))
            raise ValueError(f"--output: expected a file with a suffix of {known}, got {output}")
        return [Job(target, output)]
    targets = list_images(target)
    if not targets:
        raise FileNotFoundError(f"TARGET: expected a folder with photos, got none in {target}")
    jobs = {}
    for path in targets:
        job = Job(path, output / f"{path.stem}.png")
        if job.output in jobs:
            raise ValueError(
                f"TARGET: expected file names of different stems, "
                f"got {jobs[job.output].target} and {path}"
            )
        jobs[job.output] = job
    return list(jobs.values())

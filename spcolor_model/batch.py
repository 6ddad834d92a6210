"""Which file is coloured into which: the part of the command line that knows paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .engine import Engine, colorize
from .images import EXTENSIONS, list_images, read_image, write_image
from .prior import Prior
from .ranking import Folder
from .regions import Edits
from .sheet import save_each, save_sheet

# Share of a photo that may be unrelated unremarked.
MOST_UNRELATED = 0.5


class Job(NamedTuple):
    """One photo and where its result goes."""

    target: Path
    output: Path

    @property
    def sheet(self) -> Path:
        """Where `--sheet` saves what led to the result."""
        return self.output.with_name(f"{self.output.stem}_sheet.png")

    @property
    def each(self) -> Path:
        """Where `--each` saves the results of single references."""
        return self.output.with_name(f"{self.output.stem}_each.png")


class References(NamedTuple):
    """Where the colours of every target come from.

    Attributes:
        given: [H, W, 3] uint8 each, for all targets.
        folder: whose best photos are added for each target, or None.
        top: how many of them.
    """

    given: Sequence[np.ndarray]
    folder: Folder | None = None
    top: int = 1

    def of(self, target: Path, tell: Callable[[str], None]) -> list[np.ndarray]:
        """Return the references of a target; `tell` is told which of the folder were taken."""
        found = list(self.given)
        if self.folder is not None:
            for path, score in self.folder.best(read_image(target), self.top, without=target):
                tell(f"{target}: takes {path}, score {score:.2f}")
                found.append(read_image(path))
        return found


def plan(
    target: Path,
    references: Sequence[Path],
    output: Path,
    *,
    masks: Sequence[Path | None] = (),
    sheet: bool = False,
    each: bool = False,
) -> list[Job]:
    """List the photos to colour.

    A file goes to the file `output`, a folder's photos to PNG files of the same stem in the folder
    `output`; their sheets, if there are any, beside them.

    Raises:
        FileNotFoundError: target or a reference is not there, or the folder has no photo.
        ValueError: a result would replace an input file, or two results each other; the output's
            suffix is not that of an image; a reference is a folder, or a folder's output a file.

    Example:
        >>> plan(Path("old.jpg"), [Path("new.jpg")], Path("out.png"))
        [Job(target=PosixPath('old.jpg'), output=PosixPath('out.png'))]
    """
    for name, path in (("TARGET", target), *(("REFERENCE", one) for one in references)):
        if not path.exists():
            raise FileNotFoundError(f"{name}: expected an existing path, got {path}")
    for reference in references:
        if reference.is_dir():
            raise ValueError(f"REFERENCE: expected a photo, got the folder {reference}")
    jobs = _jobs(target, output)
    inputs = [*references, *masks, *(job.target for job in jobs)]
    written = {}
    for job in jobs:
        paths = (job.output, *[job.sheet] * sheet, *[job.each] * each)
        check_outputs(paths, inputs)
        for path in paths:
            other = written.setdefault(path, job).target
            if other != job.target:
                raise ValueError(
                    f"TARGET: expected file names of different results, got {other} and "
                    f"{job.target}, which would both be {path}"
                )
    return jobs


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """Check that no result would replace an input file.

    Raises:
        ValueError: naming the path.

    Example:
        >>> check_outputs([Path("out.png")], [Path("old.jpg"), None])
    """
    read = {path.resolve() for path in inputs if path is not None}
    for path in outputs:
        if path.resolve() in read:
            raise ValueError(f"--output: expected a path that is no input, got {path}")


def colorize_file(
    job: Job,
    references: Sequence[np.ndarray],
    engine: Engine,
    prior: Prior | None,
    *,
    edits: Edits | None = None,
    sheet: bool,
    each: bool = False,
    warn: Callable[[str], None],
) -> Iterator[Path]:
    """Colour one file with references [H, W, 3] uint8; yield the paths written."""
    result = colorize(job.target, references, engine=engine, prior=prior, edits=edits)
    unrelated = result.match.unrelated.float().mean().item()
    if unrelated > MOST_UNRELATED:
        warn(f"{job.target}: {_subject(references)} nothing for {unrelated:.0%} of it")
    write_image(job.output, result.rgb)
    yield job.output
    if sheet:
        save_sheet(job.sheet, result)
        yield job.sheet
    if each:
        alone = [
            colorize(job.target, one, engine=engine, prior=prior, edits=edits) for one in references
        ]
        save_each(job.each, result, alone)
        yield job.each


def _subject(references: Sequence[np.ndarray]) -> str:
    return "the reference has" if len(references) == 1 else "the references have"


def _jobs(target: Path, output: Path) -> list[Job]:
    if not target.is_dir():
        if output.suffix.lower() not in EXTENSIONS:
            known = ", ".join(sorted(EXTENSIONS))
            raise ValueError(f"--output: expected a file with a suffix of {known}, got {output}")
        if output.is_dir():
            raise ValueError(
                f"--output: expected a file, as TARGET is one, got the folder {output}"
            )
        return [Job(target, output)]
    looks_like_file = output.suffix.lower() in EXTENSIONS and not output.is_dir()
    if looks_like_file or output.is_file():
        raise ValueError(f"--output: expected a folder, as TARGET is one, got {output}")
    targets = list_images(target)
    if not targets:
        raise FileNotFoundError(f"TARGET: expected a folder with photos, got none in {target}")
    return [Job(path, output / f"{path.stem}.png") for path in targets]

"""Classes of photos, computed once: what a semantic prior says of every photo of a manifest.

Dimensions: P photos, R ways to see one (in gray, in colour), h rows and w columns of the prior's
grid.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import write_whole

_ABOUT, _DONE = "about.json", "done"
_FILES = {"labels": np.uint8, "confidence": np.float32}
MOST_CLASSES = np.iinfo(np.uint8).max + 1
# An interruption loses at most so many batches.
_BATCHES_AT_RISK = 32
TARGET, REFERENCE = 0, 1


class StoredClasses:
    """Labels and confidences in a folder, read from the disk as they are asked for.

    `labels.npy` [P, R, h, w] uint8 and `confidence.npy` [P, R, h, w] float32, 5 kB for each photo
    and way at 32 x 32; `about.json` has the photos' paths, relative to the folder, the ways, and
    what the classes depend on; `done` how many photos are complete.

    Args:
        folder: that `store` has filled.
        photos: that will be asked for.
        ways: in which targets and references are seen, in this order.
        depends_on: what the classes must have been made with, by name.

    Raises:
        FileNotFoundError: no such folder, or `store` has not come to its end.
        ValueError: they were made with something else, or not of all photos or ways; names it.

    Example:
        >>> stored = StoredClasses("out/classes", photos, ("gray", "color"), {"image_size": 256})
        >>> stored.of(photos[0], TARGET).shape
        torch.Size([2, 32, 32])
    """

    def __init__(
        self,
        folder: str | Path,
        photos: Iterable[Path],
        ways: tuple[str, str],
        depends_on: Mapping[str, object],
    ) -> None:
        self.folder = Path(folder)
        about, done = _read(self.folder)
        known = about.get("photos", ())
        if not done or done < len(known):
            raise FileNotFoundError(
                f"{folder}: expected stored classes of all photos, got {done} of {len(known)}"
            )
        _check(self.folder, about["depends_on"], depends_on)
        self.places = {(self.folder / photo).resolve(): place for place, photo in enumerate(known)}
        absent = [photo for photo in photos if photo.resolve() not in self.places]
        if absent:
            raise ValueError(
                f"{folder}: expected classes of all photos, lacks {len(absent)}, as of {absent[0]}"
            )
        if not {*ways} <= {*about["ways"]}:
            raise ValueError(
                f"{folder}: expected classes of photos in {' and '.join(sorted({*ways}))}, "
                f"got those in {', '.join(about['ways'])}"
            )
        self.ways = [about["ways"].index(way) for way in ways]
        self._open()

    def _open(self) -> None:
        self.labels, self.confidence = (
            np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in _FILES
        )

    def __getstate__(self) -> dict:
        """Leave out the arrays: another process opens them itself."""
        return {name: x for name, x in vars(self).items() if name not in _FILES}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._open()

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns (h, w)."""
        return self.labels.shape[2:]

    def of(self, photo: Path, role: int) -> Tensor:
        """Return labels and confidence of a photo as `TARGET` or `REFERENCE`, [2, h, w] float32."""
        place = self.places[photo.resolve()], self.ways[role]
        found = np.stack([self.labels[place].astype(np.float32), self.confidence[place]])
        return torch.from_numpy(found)


def store(
    folder: str | Path,
    photos: Sequence[Path],
    classify: Callable[[Sequence[Path], str], tuple[Tensor, Tensor]],
    *,
    ways: Sequence[str],
    depends_on: Mapping[str, object],
    batch_size: int = 8,
) -> Iterable[int]:
    """Compute the classes of photos into a folder; yield how many are done.

    Interrupted, it goes on after the last batch that was complete.

    Args:
        folder: for `StoredClasses`.
        photos: P different ones.
        classify: returns labels and confidence, [B, h, w], of B photos seen in one way.
        ways: R names that `classify` knows.
        depends_on: what the classes depend on, by name; values that JSON has.
        batch_size: B.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the folder has classes of other photos or made with something else.

    Example:
        >>> for done in store("out/classes", photos, classify, ways=["gray"], depends_on={}):
        ...     print(done)
    """
    folder = Path(folder)
    about = {
        "photos": [os.path.relpath(photo.resolve(), folder.resolve()) for photo in photos],
        "ways": [*ways],
        "depends_on": {**depends_on},
    }
    earlier, done = _read(folder)
    if earlier:
        _check(folder, earlier["depends_on"], about["depends_on"])
        _check(folder, *({name: x[name] for name in ("ways", "photos")} for x in (earlier, about)))
    else:
        write_whole(folder / _ABOUT, lambda file: file.write(json.dumps(about).encode()))
    arrays: dict[str, np.ndarray] = {}
    for batch, first in enumerate(range(done, len(photos), batch_size), 1):
        part = slice(first, first + batch_size)
        for place, way in enumerate(ways):
            found = dict(zip(_FILES, classify(photos[part], way), strict=True))
            arrays = arrays or _arrays(folder, len(photos), len(ways), found, is_new=first == 0)
            for name, maps in found.items():
                arrays[name][part, place] = maps.cpu().numpy()
        done = min(first + batch_size, len(photos))
        if done == len(photos) or batch % _BATCHES_AT_RISK == 0:
            _flush(folder, arrays, done)
        yield done


def _flush(folder: Path, arrays: Mapping[str, np.ndarray], done: int) -> None:
    """Put what is computed on the disk, then the number that says so."""
    for array in arrays.values():
        array.flush()
    write_whole(folder / _DONE, lambda file: file.write(str(done).encode()))


def _arrays(
    folder: Path, photos: int, ways: int, found: Mapping[str, Tensor], *, is_new: bool
) -> dict[str, np.ndarray]:
    """Open the arrays for writing; `found` tells their grid."""
    arrays = {}
    for name, dtype in _FILES.items():
        path, shape = folder / f"{name}.npy", (photos, ways, *found[name].shape[1:])
        mode = "w+" if is_new else "r+"
        arrays[name] = np.lib.format.open_memmap(path, mode=mode, dtype=dtype, shape=shape)
        # A disk that is full where a mapped page is written ends the process without a word.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return arrays


def _read(folder: Path) -> tuple[dict, int]:
    """Return what `about.json` holds and how many photos are done; empty and 0 where absent."""
    about, done = folder / _ABOUT, folder / _DONE
    return (
        json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {},
        int(done.read_text()) if done.is_file() else 0,
    )


def _check(folder: Path, found: Mapping[str, object], expected: Mapping[str, object]) -> None:
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            raise ValueError(
                f"{folder}: expected classes of {name}={_short(expected.get(name))}, "
                f"got those of {_short(found.get(name))}"
            )


def _short(value: object) -> str:
    """Show a value; of a list how long it is and its end."""
    return f"{len(value)} entries up to {value[-1]}" if isinstance(value, list) else str(value)

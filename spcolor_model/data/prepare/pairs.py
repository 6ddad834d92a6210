"""The manifest of `spcolor prepare`, read so that millions of pairs need little memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..manifest import COLUMNS, Pair, existing

_NONE = -1


class ParquetPairs(Sequence[Pair]):
    """Pairs of a Parquet manifest, each made when it is asked for.

    Args:
        path: of the manifest.
        split: the value of column `split` that rows must have; all rows unless given.

    Raises:
        FileNotFoundError: the manifest or a photo is not there.
        ValueError: no Parquet, a column is missing or of another type, a row has no target or its
            target as the reference, a pair occurs twice, or there is no pair. The message names
            file and row, from 1.

    Example:
        >>> ParquetPairs(Path("data/manifest.parquet"), "train")[0]
        Pair(target=PosixPath('photos/a.jpg'), reference=PosixPath('photos/b.jpg'))
    """

    def __init__(self, path: Path, split: str | None = None) -> None:
        self._folder = path.parent
        target, reference, *splits = _read(path, [*COLUMNS, *(["split"] if split else [])])
        rows = np.arange(len(target))
        for column in splits:
            rows = rows[pc.equal(column, split).fill_null(False).to_numpy()]
        if not len(rows):
            of_split = f" of split {split!r}" if split else ""
            raise ValueError(f"{path}: expected at least one pair{of_split}, got none")
        # A name that both columns have gets one number.
        both = pa.chunked_array([*target.chunks, *reference.chunks]).unify_dictionaries()
        self._names = both.chunk(0).dictionary
        numbers = np.concatenate([chunk.indices.fill_null(_NONE) for chunk in both.chunks])
        self._target, self._reference = numbers.reshape(2, -1)[:, rows]
        self._check(path, rows + 1)

    def __len__(self) -> int:
        return len(self._target)

    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return Pair(self._photo(self._target[index]), self._photo(self._reference[index]))

    def _photo(self, number: int) -> Path | None:
        return None if number == _NONE else self._folder / self._names[int(number)].as_py()

    def _check(self, path: Path, rows: np.ndarray) -> None:
        """Check the pairs of `rows` [R], which are the rows' numbers in the file."""
        keys = self._target.astype(np.int64) * (len(self._names) + 1) + self._reference
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        first = first[inverse]
        for wrong, problem in (
            (self._target == _NONE, "expected a target, got null"),
            (self._target == self._reference, "expected a reference other than the target"),
            (first != np.arange(len(keys)), "expected each pair once"),
        ):
            if wrong.any():
                place = int(wrong.argmax())
                got = f", got that of row {rows[first[place]]}" if first[place] != place else ""
                raise ValueError(f"{path}, row {rows[place]}: {problem}{got}")
        numbers, places = np.unique(
            np.stack([self._target, self._reference], 1).ravel(), return_index=True
        )
        for number, place in zip(numbers, places, strict=True):
            if number != _NONE:
                existing(self._photo(number), f"{path}, row {rows[place // 2]}")


def _read(path: Path, names: list[str]) -> list[pa.ChunkedArray]:
    """Return columns of texts, of which each distinct one is held once."""
    texts = pa.dictionary(pa.int32(), pa.string())
    try:
        found = pq.read_schema(path).names
        if not set(names) <= set(found):
            raise ValueError(
                f"{path}: expected columns {', '.join(names)}, got {', '.join(found) or 'none'}"
            )
        columns = pq.read_table(path, columns=names, read_dictionary=names)
        return [columns[name].cast(texts) for name in names]
    except pa.ArrowException as error:
        raise ValueError(f"{path}: expected a Parquet file of texts, got: {error}") from None

"""What of a film is done: finished segments, and the state after each.

Segments lie beside the output, in NAME.segments; a killed run is gone on with where the last whole
segment ends.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from ..files import write_whole

_JOB = "job.json"
_STATE = "last"


class Segments:
    """The segments of one film.

    Args:
        output: of the film; the folder is beside it.
        job: what the result depends on; a folder of another job is refused.

    Raises:
        ValueError: a folder of another job.

    Example:
        >>> segments = Segments(Path("out/film.mp4"), {"film": "film.mp4"})
        >>> segments.done()
        0
    """

    def __init__(self, output: Path, job: dict[str, object]) -> None:
        self.folder = output.with_name(f"{output.name}.segments")
        text = json.dumps(job, indent=1, sort_keys=True)
        known = self.folder / _JOB
        if known.is_file() and known.read_text() != text:
            raise ValueError(
                f"{self.folder}: expected segments of this film, its references and options, got "
                "those of another run; remove the folder to begin again"
            )
        write_whole(known, lambda file: file.write(text.encode()))

    def path(self, number: int) -> Path:
        """Return the file of a segment."""
        return self.folder / f"{number:06}.nut"

    def done(self) -> int:
        """Return how many segments are complete, without a gap."""
        number = 0
        while self.path(number).is_file():
            number += 1
        return number

    def save_state(self, number: int, state: Tensor | None) -> None:
        """Keep what the frame before a segment lends to it."""
        tensors = {} if state is None else {_STATE: state.cpu().contiguous()}
        write_whole(self._state(number), lambda file: file.write(save(tensors)))

    def load_state(self, number: int) -> Tensor | None:
        """Return what was kept for a segment."""
        return load_file(self._state(number)).get(_STATE)

    def remove(self) -> None:
        """Remove everything, once the film is whole."""
        shutil.rmtree(self.folder)

    def _state(self, number: int) -> Path:
        return self.folder / f"{number:06}.safetensors"

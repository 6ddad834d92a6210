"""Where one scene of a film ends and the next begins.

Dimensions: T frames.
"""

from __future__ import annotations

from typing import NamedTuple

import av
import numpy as np

from .reading import Film

# Percent, as FFmpeg's filter scdet has it.
_THRESHOLD = 10.0
_THUMBNAIL = (96, 54)


class Survey(NamedTuple):
    """What a film consists of.

    Attributes:
        frames: T.
        starts: numbers of the frames with which scenes begin; the first is 0.
        times: seconds from the first frame to the one that begins each scene.
    """

    frames: int
    starts: list[int]
    times: list[float]

    def at(self, time: float) -> int:
        """Return the number of the scene of a time in seconds."""
        return max(0, int(np.searchsorted(self.times, time, side="right")) - 1)


def survey(film: Film) -> Survey:
    """Find the scenes of a film by the mean absolute difference of luma (FFmpeg's scdet).

        d_t = 100 mean |Y_t - Y_{t-1}|,   a cut before t where min(d_t, |d_t - d_{t-1}|) >= 10

    The second term is small where a film moves fast without a cut. Y is seen at 96 x 54.

    Raises:
        ValueError: a film without frames, or as `Film.frames`.

    Example:
        >>> survey(Film(Path("bikes.mp4"))).starts
        [0, 30, 76, 137, 187, 242]
    """
    starts, times, count, first = [], [], 0, 0.0
    before, difference = None, 0.0
    for count, frame in enumerate(film.frames(), 1):
        now = thumbnail(frame)
        if before is None:
            first = frame.time
            starts, times = [0], [0.0]
        else:
            last, difference = difference, float(np.abs(now - before).mean())
            if min(difference, abs(difference - last)) >= _THRESHOLD:
                starts.append(count - 1)
                times.append(float(frame.time - first))
        before = now
    if not count:
        raise ValueError(f"{film.path}: expected frames, got none")
    return Survey(count, starts, times)


def thumbnail(frame: av.VideoFrame) -> np.ndarray:
    """Return the luma of a frame in percent, small."""
    return frame.reformat(*_THUMBNAIL, format="gray").to_ndarray().astype(np.float32) / 2.55

"""Read a film, or a folder or pattern of images, one frame after another.

Dimensions: H rows and W columns of a frame.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from ..images import list_images

DEFAULT_RATE = Fraction(24)
_PATTERN = re.compile(r"%0?\d*d")


def is_sequence(path: Path) -> bool:
    """Tell whether a path is that of an image sequence: a folder, or a pattern such as %04d.png.

    Example:
        >>> is_sequence(Path("frames/%04d.png"))
        True
    """
    return path.is_dir() or _PATTERN.search(path.name) is not None


class Film:
    """A film that can be read from its beginning any number of times.

    Args:
        path: a file that FFmpeg reads, a folder of images of one suffix, or a printf pattern.
        rate: frames a second of an image sequence; 24 where None. A film has its own.
        deinterlace: make whole frames of interlaced ones, as many as there were.

    Attributes:
        path: as given.
        rate, time_base: of the frames.
        size: (W, H).
        aspect: of a pixel, or None.

    Raises:
        FileNotFoundError, ValueError: no such file, or one without pictures.

    Example:
        >>> sum(1 for frame in Film(Path("film.mkv")).frames())
        250
    """

    def __init__(
        self, path: Path, *, rate: Fraction | None = None, deinterlace: bool = False
    ) -> None:
        if rate is not None and not is_sequence(path):
            raise ValueError(f"--rate: expected with an image sequence alone, got the film {path}")
        self.path = path
        self.deinterlace = deinterlace
        self._options = _options(path, rate or DEFAULT_RATE)
        with self.open() as container:
            if not container.streams.video:
                raise ValueError(f"{path}: expected a film, got a file without pictures")
            stream = container.streams.video[0]
            self.rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
            self.time_base = stream.time_base
            self.size = stream.width, stream.height
            self.aspect = stream.sample_aspect_ratio

    def open(self) -> av.container.InputContainer:
        """Open the file; whatever is wrong with it becomes an error that names it."""
        try:
            return av.open(**self._options)
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.path}: expected a film, got nothing there") from None
        except av.error.FFmpegError as error:
            raise ValueError(f"{self.path}: expected a film, got: {error.strerror}") from None

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yield every frame, with its time.

        Raises:
            ValueError: an interlaced frame without `deinterlace`, a turned one, one of another size
                than the first, or damaged data.
        """
        with self.open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            decoded = self._decoded(container, stream)
            for number, frame in enumerate(
                _whole(decoded, stream) if self.deinterlace else decoded
            ):
                if (frame.width, frame.height) != self.size:
                    raise ValueError(
                        f"{self.path}: expected frames of {self.size[0]} x {self.size[1]} pixels, "
                        f"got {frame.width} x {frame.height} at frame {number}"
                    )
                if frame.pts is None:
                    frame.pts = round(number / self.rate / self.time_base)
                    frame.time_base = self.time_base
                yield frame

    def _decoded(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[av.VideoFrame]:
        try:
            for number, frame in enumerate(container.decode(stream)):
                if frame.interlaced_frame and not self.deinterlace:
                    raise ValueError(
                        f"{self.path}: expected whole frames, got an interlaced one at frame "
                        f"{number}; --deinterlace makes whole ones"
                    )
                if frame.rotation:
                    raise ValueError(
                        f"{self.path}: expected an upright film, got one to be turned by "
                        f"{frame.rotation} degrees"
                    )
                yield frame
        except av.error.FFmpegError as error:
            raise ValueError(f"{self.path}: expected readable frames, got: {error}") from error


def _whole(frames: Iterator[av.VideoFrame], stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Deinterlace frames: one whole frame for each."""
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(template=stream),
        graph.add("bwdif", "mode=send_frame"),
        graph.add("buffersink"),
    ).configure()
    for frame in frames:
        graph.vpush(frame)
        yield from _pulled(graph)
    graph.vpush(None)
    yield from _pulled(graph)


def _pulled(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _options(path: Path, rate: Fraction) -> dict[str, object]:
    """Return what `av.open` takes for a path."""
    if not is_sequence(path):
        return {"file": str(path)}
    options = {"framerate": str(rate), "start_number_range": "1000000"}
    if not path.is_dir():
        return {"file": str(path), "format": "image2", "options": options}
    suffixes = {image.suffix for image in list_images(path)}
    if len(suffixes) != 1:
        got = ", ".join(sorted(suffixes)) or "none"
        raise ValueError(f"{path}: expected a folder of images of one suffix, got {got}")
    pattern = f"{glob.escape(str(path))}/*{suffixes.pop()}"
    options = {"framerate": str(rate), "pattern_type": "glob"}
    return {"file": pattern, "format": "image2", "options": options}

"""Write segments of a film, and join them with the sound of the original.

Segments are NUT files, which keep any time base and codec. Their frames are coded in the order of
their times, so that the packets of one segment follow those of another.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av

from ..files import force, write_whole
from .reading import Film, is_sequence

# Of files whose name does not end with one of these, the container's own codec is taken.
_CODECS = {".mp4": "libx264", ".mov": "libx264", ".m4v": "libx264", ".mkv": "libx264"}
_CONSTANT_QUALITY = ("libx264", "libx265", "libvpx-vp9", "libsvtav1")
DEFAULT_QUALITY = 16
COLOR_TAGS = ("color_primaries", "color_trc", "colorspace", "color_range")
# What is copied packet by packet.
_COPIED = ("audio", "subtitle")


class Coding(NamedTuple):
    """How frames are coded.

    Attributes:
        codec: an encoder of FFmpeg.
        quality: constant rate factor, of codecs that have one; lower is better.
    """

    codec: str
    quality: int = DEFAULT_QUALITY

    @property
    def options(self) -> dict[str, str]:
        """Options of the encoder."""
        if self.codec not in _CONSTANT_QUALITY:
            return {}
        return {"crf": str(self.quality)} | ({"b": "0"} if "vp9" in self.codec else {})


def choose_coding(output: Path, codec: str | None, quality: int | None) -> Coding:
    """Return how a film of that name is coded.

    Raises:
        ValueError: no container or codec of that name, or a codec of an image sequence that is not
            PNG.

    Example:
        >>> choose_coding(Path("film.mp4"), None, None)
        Coding(codec='libx264', quality=16)
    """
    if is_sequence(output) or not output.suffix:
        wanted = "PNG images" if output.suffix in ("", ".png") else None
        if wanted is None or codec not in (None, "png"):
            raise ValueError(f"--output: expected PNG images of a sequence, got {codec or output}")
        return Coding("png")
    suffix = output.suffix.lower()
    if codec is None and suffix not in _CODECS and suffix != ".webm":
        known = ", ".join(sorted([*_CODECS, ".webm"]))
        raise ValueError(f"--output: expected a suffix of {known}, or --codec, got {output}")
    chosen = codec or _CODECS.get(suffix, "libvpx-vp9")
    try:
        av.Codec(chosen, "w")
    except av.codec.codec.UnknownCodecError:
        raise ValueError(f"--codec: expected an encoder of FFmpeg, got {chosen!r}") from None
    return Coding(chosen, DEFAULT_QUALITY if quality is None else quality)


def write_segment(
    path: Path,
    frames: Iterable[av.VideoFrame],
    film: Film,
    coding: Coding,
    *,
    before: Callable[[], object] = lambda: None,
) -> None:
    """Write frames to a file that is complete or absent; `before` is called once it is written.

    Size, depth, colour tags and times are those of the frames; time base, rate and pixel aspect
    those of the film.

    Raises:
        OSError, ValueError: no room, or frames that the codec does not take.
    """
    partial = path.with_name(f"{path.name}.partial")
    with av.open(str(partial), "w", format="nut") as container:
        stream = None
        for frame in frames:
            if stream is None:
                stream = _stream(container, frame, film, coding)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))
    force(partial)
    before()
    partial.rename(path)
    force(path.parent)


def join(segments: Sequence[Path], film: Film, output: Path, warn: Callable[[str], None]) -> None:
    """Join segments, with what else the film has, to a file that is complete or absent.

    Sound and subtitles are copied as they are. What the container does not take is warned of.
    """
    if is_sequence(output) or not output.suffix:
        _write_pictures(segments, output)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.stem}.partial{output.suffix}")
    try:
        _mux(segments, film, partial, warn)
        force(partial)
        partial.rename(output)
    finally:
        partial.unlink(missing_ok=True)
    force(output.parent)


def _stream(
    container: av.container.OutputContainer, frame: av.VideoFrame, film: Film, coding: Coding
) -> av.VideoStream:
    """Add a video stream for frames like one."""
    stream = container.add_stream(coding.codec, rate=film.rate, options=coding.options)
    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
    stream.time_base = film.time_base
    context = stream.codec_context
    context.time_base = film.time_base
    context.max_b_frames = 0
    if film.aspect:
        context.sample_aspect_ratio = film.aspect
    for tag in COLOR_TAGS:
        setattr(context, tag, getattr(frame, tag))
    return stream


def _mux(segments: Sequence[Path], film: Film, output: Path, warn: Callable[[str], None]) -> None:
    with (
        av.open(str(output), "w") as container,
        av.open(str(segments[0])) as first,
        film.open() as original,
    ):
        if not is_sequence(film.path):
            container.metadata.update(original.metadata)
        template = first.streams.video[0]
        video = container.add_stream_from_template(template)
        video.time_base = template.time_base
        video.codec_context.framerate = film.rate
        source = original.streams.video[0].codec_context
        if source.pix_fmt.startswith(("yuv", "gray")):
            # NUT has no room for them.
            for tag in COLOR_TAGS:
                setattr(video.codec_context, tag, getattr(source, tag))
        copies = {}
        for stream in original.streams:
            if stream.type in _COPIED and stream.codec_context is not None:
                try:
                    copies[stream.index] = container.add_stream_from_template(stream)
                    copies[stream.index].metadata.update(stream.metadata)
                    continue
                except (av.error.FFmpegError, ValueError):
                    pass
            if stream.index != original.streams.video[0].index:
                warn(f"{film.path}: {stream.type} stream {stream.index} is not copied")
        packets = [_of_segments(segments, video), _of_original(original, copies)]
        for _, packet in heapq.merge(*packets, key=lambda item: item[0]):
            container.mux(packet)


def _of_segments(
    segments: Sequence[Path], stream: av.VideoStream
) -> Iterator[tuple[Fraction, av.Packet]]:
    """Yield time and packet of all segments."""
    for segment in segments:
        with av.open(str(segment)) as container:
            for packet in container.demux(video=0):
                if packet.size:
                    yield packet.pts * packet.time_base, _given(packet, stream)


def _of_original(
    container: av.container.InputContainer, copies: dict[int, av.stream.Stream]
) -> Iterator[tuple[Fraction, av.Packet]]:
    """Yield time and packet of the streams that are copied."""
    streams = [container.streams[index] for index in copies]
    for packet in container.demux(streams) if streams else ():
        if packet.dts is not None:
            yield packet.dts * packet.time_base, _given(packet, copies[packet.stream.index])


def _given(packet: av.Packet, stream: av.stream.Stream) -> av.Packet:
    packet.stream = stream
    return packet


def _write_pictures(segments: Sequence[Path], output: Path) -> None:
    """Write each packet, which is a PNG file, under its number."""
    folder, name = (output, "%06d.png") if not output.suffix else (output.parent, output.name)
    number = 0
    for segment in segments:
        with av.open(str(segment)) as container:
            for packet in container.demux(video=0):
                if packet.size:
                    number += 1
                    write_whole(folder / (name % number), lambda file, p=packet: file.write(p))

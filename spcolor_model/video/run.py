"""Colour a whole film: scenes, references, frames, segments, and the film that they make.

Dimensions: H rows and W columns of a frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import chain, islice
from pathlib import Path

import av

from ..color import gray_rgb
from ..trained_engine import TrainedEngine
from .colorist import DEFAULT_LOG_WEIGHT, Colorist
from .frames import colored, luminance, picture
from .reading import Film
from .references import FilmReference, SceneReferences
from .scenes import Survey, survey
from .segments import Segments
from .writing import Coding, choose_coding, join, write_segment

# Four seconds of cinema: what a killed run loses at most.
DEFAULT_SEGMENT = 96


def colorize_video(
    source: str | Path,
    references: Sequence[FilmReference],
    output: str | Path,
    *,
    engine: TrainedEngine | None = None,
    top: int = 1,
    log_weight: float | None = DEFAULT_LOG_WEIGHT,
    deinterlace: bool = False,
    rate: Fraction | None = None,
    codec: str | None = None,
    quality: int | None = None,
    segment: int = DEFAULT_SEGMENT,
    progress: Callable[[int, int], object] = lambda done, frames: None,
    tell: Callable[[str], object] = lambda text: None,
    warn: Callable[[str], object] = lambda text: None,
) -> Path:
    """Colour a film with references; memory does not grow with its length.

    The film is read twice: once to find its scenes, once to colour it. A run that was killed goes
    on after its last whole segment, and gives the frames that it would have given.

    Args:
        source: a file that FFmpeg reads, a folder of images, or a printf pattern of them.
        references: any number; each scene takes its own (`SceneReferences`).
        output: a film, or a folder or a printf pattern of PNG images.
        engine: that of the packaged weights where None.
        top: how many references a scene takes that has none of its own.
        log_weight: of the last frame (`Colorist`); None colours frames apart.
        deinterlace: make whole frames of interlaced ones, which are refused otherwise.
        rate: frames a second of an image sequence.
        codec: an encoder of FFmpeg; that of the output's suffix where None.
        quality: constant rate factor; 16 where None.
        segment: frames of a segment.
        progress: called with the frames that are done and all there are.
        tell: called with which reference each scene takes.
        warn: called with what could not be kept.

    Returns:
        The output's path.

    Raises:
        FileNotFoundError, ValueError: naming the argument or file, what was expected and what came.

    Example:
        >>> colorize_video("film.mkv", [FilmReference(photo)], "coloured.mkv")
        PosixPath('coloured.mkv')
    """
    output = Path(output)
    if segment < 1:
        raise ValueError(f"segment: expected at least 1 frame, got {segment}")
    coding = choose_coding(output, codec, quality)
    film = Film(Path(source), rate=rate, deinterlace=deinterlace)
    if output.resolve() == film.path.resolve():
        raise ValueError(f"--output: expected a path that is no input, got {output}")
    scenes = survey(film)
    belongs = [None if one.time is None else scenes.at(one.time) for one in references]
    choice = SceneReferences(references, belongs, top)
    engine = engine or TrainedEngine.default()
    options = (top, log_weight, segment, deinterlace, *coding, engine.area)
    segments = Segments(output, _job(film, references, options))
    colorist = Colorist(engine, log_weight)

    def begin(scene: int, light) -> None:
        numbers = choice.of(scene, gray_rgb(light))
        names = ", ".join(references[number].name for number in numbers)
        tell(f"scene {scene + 1} of {len(scenes.starts)} takes {names}")
        colorist.begin([references[number].rgb for number in numbers])

    done = segments.done()
    state = segments.load_state(done) if done else None
    frames = _coloured(film, scenes, colorist, begin, done * segment, state, coding)
    while (first := next(frames, None)) is not None:
        part = islice(frames, segment - 1)
        counted = _counted(chain([first], part), done * segment, scenes.frames, progress)
        keep = partial(segments.save_state, done + 1)
        write_segment(
            segments.path(done), counted, film, coding, before=lambda k=keep: k(colorist.state)
        )
        done += 1
    join([segments.path(number) for number in range(done)], film, output, warn)
    segments.remove()
    return output


def _coloured(
    film: Film,
    scenes: Survey,
    colorist: Colorist,
    begin: Callable[[int, object], None],
    skipped: int,
    state: object,
    coding: Coding,
) -> Iterator[av.VideoFrame]:
    """Yield the frames in colour, without those that an earlier run has coloured."""
    make = picture if coding.codec == "png" else colored
    scene, first, begun = -1, None, False
    starts = set(scenes.starts)
    for number, frame in enumerate(film.frames()):
        if number in starts:
            scene, first, begun = scene + 1, luminance(frame), False
        if number < skipped - 1:
            continue
        light = luminance(frame)
        if not begun:
            begin(scene, first)
            begun = True
        if number < skipped:
            if state is not None:
                colorist.restore(light, state)
            continue
        yield make(frame, light, colorist(light))


def _counted(
    frames: Iterator[av.VideoFrame], done: int, count: int, progress: Callable[[int, int], object]
) -> Iterator[av.VideoFrame]:
    for number, frame in enumerate(frames, done + 1):
        yield frame
        progress(number, count)


def _job(
    film: Film, references: Sequence[FilmReference], options: tuple[object, ...]
) -> dict[str, object]:
    """Return what the frames depend on."""
    facts = film.path.stat() if film.path.exists() else None
    return {
        "film": str(film.path.resolve()),
        "bytes": facts and facts.st_size,
        "changed": facts and facts.st_mtime_ns,
        "references": [
            [hashlib.sha256(one.rgb.tobytes()).hexdigest(), one.time] for one in references
        ],
        "options": [str(option) for option in options],
    }

"""`python -m benchmarks.film`: frames apart against propagated, on clips of installed packages.

The first frame of each clip, in its own colours, is the only reference. Quality is measured on the
colours before they are coded.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from fractions import Fraction
from pathlib import Path
from typing import Annotated, NamedTuple

import av
import numpy as np
import typer
from scipy.spatial.distance import jensenshannon
from skimage.color import lab2rgb

from spcolor_model.color import rgb_to_lab
from spcolor_model.data.installed import ORIGINS, _path
from spcolor_model.trained_engine import TrainedEngine
from spcolor_model.video.colorist import Colorist
from spcolor_model.video.frames import luminance
from spcolor_model.video.reading import Film
from spcolor_model.video.references import FilmReference
from spcolor_model.video.run import colorize_video

CLIPS = ("bikes", "carphone")
STRIDES = (1, 2, 4)
_BINS = 256


class Measures(NamedTuple):
    """What a coloured clip is like.

    Attributes:
        psnr: of ab, of each frame but the first.
        consistency: CDC of each stride, 0 where histograms do not change.
        colourfulness: Hasler and Suesstrunk's, mean of the frames.
        rate: frames a second.
    """

    psnr: list[float]
    consistency: list[float]
    colourfulness: float
    rate: float


def measure(clip: str, frames: int, log_weight: float | None, side: int) -> Measures:
    """Colour the first frames of a clip, played again and again, and compare with its colours."""
    default = TrainedEngine.default()
    engine = TrainedEngine(default.model, default.prior, default.config, side**2)
    colorist = Colorist(engine, log_weight)
    psnr, histograms, colours = [], [], []
    seconds = 0.0
    for number, frame in enumerate(_looped(clip, frames)):
        rgb = frame.to_ndarray(format="rgb24")
        light = luminance(frame)
        before = time.perf_counter()
        if number == 0:
            colorist.begin([rgb])
        ab = colorist(light)
        seconds += time.perf_counter() - before
        squared = np.mean((ab - rgb_to_lab(rgb)[1]) ** 2)
        psnr.append(float(10 * np.log10(255**2 / squared)))
        found = lab2rgb(np.concatenate([light[..., None], ab], axis=-1)) * 255
        histograms.append(
            [np.bincount(c.ravel().astype(int), minlength=_BINS) for c in _channels(found)]
        )
        colours.append(_colourfulness(found))
    return Measures(
        psnr, [_cdc(histograms, s) for s in STRIDES], float(np.mean(colours)), frames / seconds
    )


def _looped(clip: str, frames: int):
    """Yield frames of a clip, from its beginning again where it ends."""
    given = 0
    while given < frames:
        for frame in Film(_path(ORIGINS[clip])).frames():
            if given < frames:
                yield frame
            given += 1


def _channels(rgb: np.ndarray) -> list[np.ndarray]:
    return list(np.moveaxis(rgb, 2, 0))


def _cdc(histograms: list[list[np.ndarray]], stride: int) -> float:
    """Return the mean Jensen-Shannon divergence of colour histograms `stride` frames apart."""
    pairs = zip(histograms, histograms[stride:], strict=False)
    found = [
        jensenshannon(a, b) ** 2 for one, other in pairs for a, b in zip(one, other, strict=True)
    ]
    return float(np.mean(found))


def _colourfulness(rgb: np.ndarray) -> float:
    red, green, blue = _channels(rgb)
    first, second = red - green, (red + green) / 2 - blue
    return float(np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean()))


def peak_memory(frames: int, side: int, folder: Path) -> float:
    """Return the peak memory in MB of a process that colours a looped carphone of some frames."""
    source = folder / f"looped_{frames}.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 176, 144, "yuv420p"
        for number, frame in enumerate(_looped("carphone", frames)):
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_colour, (source, folder / f"coloured_{frames}.mp4", side))


def _colour(source: Path, output: Path, side: int) -> float:
    default = TrainedEngine.default()
    engine = TrainedEngine(default.model, default.prior, default.config, side**2)
    first = next(Film(source).frames()).to_ndarray(format="rgb24")
    colorize_video(source, [FilmReference(first)], output, engine=engine)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(
    frames: Annotated[int, typer.Option(help="Of each clip.", min=9)] = 30,
    side: Annotated[int, typer.Option(help="Of the square that is seen.", min=32)] = 192,
    log_weights: Annotated[str, typer.Option(help="Natural logarithms.")] = "-40,-30,-20,-10,0",
    drift: Annotated[int, typer.Option(help="Frames of the looped clip; 0 is none.")] = 0,
    memory: Annotated[bool, typer.Option("--memory", help="Peak memory, 100 and 800 frames.")] = (
        False
    ),
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder.")] = Path("out/film"),
) -> None:
    """Print the table of each clip and, on request, what grows with length."""
    weights = [None, *map(float, log_weights.split(","))] if log_weights else []
    typer.echo("| clip | log weight | ab PSNR | CDC 1, 2, 4 (1e-4) | colourfulness | frames/s |")
    typer.echo("|---|---|---|---|---|---|")
    for clip in CLIPS:
        # The first scene of bikes ends before its frame 30.
        for weight in weights:
            found = measure(clip, min(frames, 30) if clip == "bikes" else frames, weight, side)
            cdc = ", ".join(f"{1e4 * x:.2f}" for x in found.consistency)
            name = "apart" if weight is None else f"{weight:g}"
            typer.echo(
                f"| {clip} | {name} | {np.mean(found.psnr[1:]):.2f} | {cdc} | "
                f"{found.colourfulness:.1f} | {found.rate:.2f} |"
            )
    if drift:
        from spcolor_model.video.colorist import DEFAULT_LOG_WEIGHT

        psnr = measure("carphone", drift, DEFAULT_LOG_WEIGHT, side).psnr
        for number in (100, drift):
            typer.echo(f"frame {number} of the loop: {psnr[number - 1]:.2f} dB")
    if memory:
        output.mkdir(parents=True, exist_ok=True)
        for count in (100, 800):
            typer.echo(f"{count} frames: {peak_memory(count, side, output):.0f} MB at most")


if __name__ == "__main__":
    typer.run(main)

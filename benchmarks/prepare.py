"""`python -m benchmarks.prepare [--records 1000000]`: memory and time of pairing many photos.

The records are random: photos of 50 look alike as a whole, cells and histograms do not. Records are
joined and indexed in full; scenes and references are looked for from a share of the photos, among
all of them, and their time is extrapolated. It needs 16 kB of disk for each record.
"""

from __future__ import annotations

import argparse
import ctypes
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from spcolor_model.data.prepare.chunks import write_chunk, write_index
from spcolor_model.data.prepare.collection import collect, read_sources
from spcolor_model.data.prepare.groups import (
    BLOCK,
    find_duplicates,
    find_edges,
    group,
    held_out,
    join_edges,
)
from spcolor_model.data.prepare.neighbours import Neighbours
from spcolor_model.data.prepare.pairing import Pairing
from spcolor_model.data.prepare.records import Record, Settings, layouts
from spcolor_model.data.prepare.retrieval import Sides, retrieve
from spcolor_model.data.prepare.tables import write_images, write_pairs

from .machine import cpu_model
from .memory import peak_bytes

Result = TypeVar("Result")

_CHUNK = 256
_ALIKE = 50
# Cosines of photos that are alike are then around 0.8, enough to be compared part by part.
_NOISE = 0.5
# Each record has some of so many arrays.
_POOL = 1 << 13


class Stage(NamedTuple):
    """A step of the way.

    Attributes:
        name: of the step.
        seconds: of all photos.
        cpu_seconds: likewise, without waiting for the disk or for other programs.
        share: of the photos that it was measured on.
        peak: highest resident size of the process so far, in MB (10^6 bytes).
    """

    name: str
    seconds: float
    cpu_seconds: float
    share: float
    peak: float


def write_records(data: Path, count: int) -> None:
    """Write random records of so many photos."""
    random = np.random.default_rng(0)
    settings = Settings()
    layout = layouts(settings.features)
    channels = layout["whole"].shape[0]
    centres = random.standard_normal((-(-count // _ALIKE), channels), np.float32)
    cells = random.standard_normal((_POOL, *layout["cells"].shape), np.float32)
    cells = (cells / np.linalg.norm(cells, axis=2, keepdims=True)).astype(np.float16)
    histograms = random.integers(0, 205, (_POOL, *layout["histograms"].shape), np.uint16)
    names = []
    for start in range(0, count, _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, count))
        noise = _NOISE * random.standard_normal((len(numbers), channels), np.float32)
        whole = centres[random.integers(len(centres), size=len(numbers))] + noise
        whole = (whole / np.linalg.norm(whole, axis=1, keepdims=True)).astype(np.float16)
        drawn = random.integers(_POOL, size=len(numbers))
        hashes = random.integers(2**63, size=len(numbers)).tolist()
        records = [
            Record(
                f"../photos/n{number // 1000:08}/n{number:012}.jpg",
                f"{number:064x}",
                500,
                375,
                "kept",
                "",
                number.to_bytes(32, "big"),
                phash,
                one.tobytes(),
                cells[place].tobytes(),
                histograms[place].tobytes(),
            )
            for number, phash, one, place in zip(
                numbers.tolist(), hashes, whole, drawn, strict=True
            )
        ]
        names.append(f"{start:024}")
        write_chunk(data, names[-1], records, settings)
    write_index(data, names, settings)


def measure(data: Path, work: Path, queries: int, threads: int) -> list[Stage]:
    """Pair the photos of records as `spcolor prepare` does, with so many of them as queries.

    Args:
        data: folder of the records.
        work: an existing folder.
        queries: photos whose scenes and references are looked for.
        threads: how many.
    """
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak restarts from the present size
    stages = []

    def timed(name: str, share: float, call: Callable[[], Result]) -> Result:
        clocks = (time.perf_counter, time.process_time)
        started = [clock() for clock in clocks]
        result = call()
        seconds = [(clock() - then) / share for clock, then in zip(clocks, started, strict=True)]
        stages.append(Stage(name, *seconds, share, peak_bytes() / 1e6))
        return result

    sources, settings = read_sources([data])
    pairing = Pairing()
    photos = timed("join", 1, lambda: collect(sources, settings, data, work))
    count = len(photos.photos)
    share = min(1, queries / count)
    index = timed("index", 1, lambda: Neighbours(photos.load("whole")))
    some = islice(find_edges(photos, index, threads), -(-queries // BLOCK))
    edges = timed("scenes", share, lambda: join_edges(some))
    alike = timed("groups", 1, lambda: find_duplicates(edges, np.ones(count)))
    names = photos.column("sha256").to_pylist()
    is_out = timed("sides", 1, lambda: held_out(group(edges, count), names, pairing.held_out))
    sides = Sides(~is_out, is_out)
    duplicates = {int(photos.photos[a]): int(photos.photos[b]) for a, b in alike.items()}
    timed("images.parquet", 1, lambda: write_images(data, photos, sides, duplicates))
    found = retrieve(
        photos,
        index,
        sides,
        references=pairing.references,
        candidates=pairing.candidates,
        threads=threads,
    )
    timed("references", share, lambda: write_pairs(data, photos, sides, islice(found, queries)))
    return stages


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prepare", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--queries", type=int, default=4096, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where there is room; default: the system's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        data, work = Path(folder) / "data", Path(folder) / "work"
        work.mkdir()
        write_records(data, options.records)
        stages = measure(data, work, options.queries, options.threads)
    title = f"{options.records} records, {options.threads} threads, {cpu_model()}"
    table = Table("step", "seconds", "CPU seconds", "measured on", "peak MB", title=title)
    for stage in stages:
        times = (f"{stage.seconds:.0f}", f"{stage.cpu_seconds:.0f}")
        table.add_row(stage.name, *times, f"{stage.share:.2%}", f"{stage.peak:.0f}")
    table.add_section()
    times = [sum(times) for times in zip(*(stage[1:3] for stage in stages), strict=True)]
    table.add_row("all", *(f"{time:.0f}" for time in times), "", f"{stages[-1].peak:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()

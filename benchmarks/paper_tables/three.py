"""`python -m benchmarks.paper_tables.three CHECKPOINT`: the paper's Table III, k classes.

One trained generator colours its held-out pairs with k classes for each k. As in the published
code, 27 centroids are merged to k by k-means: STEGO's, or those of as many clusters of the training
photos, for a checkpoint that was trained with clusters. The times are WarpNet's forward at the
paper's sizes (`benchmarks/training/forward.py`), not the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from spcolor_model.data import ColorizationPairs, write_manifest
from spcolor_model.evaluation.report import markdown
from spcolor_model.networks.stego import NUM_CLUSTERS, reduce_centroids
from spcolor_model.prior.centroids import CentroidPrior
from spcolor_model.prior.tensor import PairPrior
from spcolor_model.trained_engine import TrainedEngine
from spcolor_model.training.build import build_pairs, build_prior
from spcolor_model.training.config import PriorKind
from spcolor_model.training.distributed import process

from ..machine import Neighbours
from ..peers import OPERATOR
from ..training import forward
from ..training.problems import full
from .judge import held_out, judge, make_parser
from .paper import TABLE_THREE
from .pictures import color, write_truth


def with_segments(
    engine: TrainedEngine, photos: ColorizationPairs, segments: list[int]
) -> Iterator[tuple[int, TrainedEngine]]:
    """Yield each number of classes, and the generator with it.

    Args:
        engine: with a prior of STEGO's classes or of clusters.
        photos: of the training set, for the clusters.
        segments: each k, 1..27.

    Raises:
        ValueError: a generator of one class, or k out of range.
    """
    prior, seed = engine.config.prior, engine.config.seed
    if prior.kind is PriorKind.none:
        raise ValueError("prior.kind: expected stego or clusters, got none: k is always 1")
    if prior.kind is PriorKind.clusters:
        every = replace(prior, num_segments=NUM_CLUSTERS, weights=None)
        centroids = build_prior(every, photos, seed).probe.clusters
    for k in segments:
        if prior.kind is PriorKind.clusters:
            merged = CentroidPrior(reduce_centroids(centroids, k))
        else:
            merged = build_prior(replace(prior, num_segments=k))
        yield (
            k,
            TrainedEngine(
                engine.model, PairPrior(merged), engine.config, engine.area, engine.filler
            ),
        )


def times(manifest: Path, segments: list[int], rounds: int) -> dict[int, dict[str, str]]:
    """Return the cells of each k's times, WarpNet's and the operator's in it."""
    neighbours = Neighbours()
    lines = forward.measure(full(manifest), segments, rounds, neighbours)
    print(f"Other programs used {neighbours.share():.0%} of the cores while times were taken.")
    return {
        line["k"]: {
            "WarpNet, ms": f"{line['whole_ms']:.0f}",
            f"{OPERATOR.name}, ms": f"{line['matching_ms']:.1f}",
            "paper's WarpNet, ms": f"{line['paper_ms']:.1f}",
        }
        for line in lines
        if line["way"] == OPERATOR.name
    }


def _name(k: int) -> str:
    return f"k = {k}"


def main() -> None:
    parser = make_parser("three", __doc__)
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint")
    parser.add_argument(
        "--segments", type=int, nargs="+", choices=TABLE_THREE, default=[*TABLE_THREE], metavar="K"
    )
    parser.add_argument("--rounds", type=int, default=10, help="of the times")
    parser.add_argument("--held-out", type=Path, help="manifest; the run's own unless given")
    options = parser.parse_args()
    engine = TrainedEngine.load(options.checkpoint)
    with process() as own:
        photos, validation = build_pairs(engine.config, own)
    pairs = held_out(options, validation)
    size = engine.config.data.image_size
    engine.area, engine.filler = size**2, None
    folders = {
        _name(k): color(one, options.out / f"k{k:02}", pairs, size)
        for k, one in with_segments(engine, photos, options.segments)
    }
    truth = write_truth(options.out / "truth", pairs, size)
    judged = judge(folders, truth, options)
    manifest = options.out / "held_out.csv"
    write_manifest(manifest, pairs)
    timed = times(manifest, options.segments, options.rounds)
    cells = {_name(k): timed[k] | TABLE_THREE[k].cells() for k in options.segments}
    described = f"{options.checkpoint}, {len(pairs)} held-out pairs"
    judged.publish(options.out, [described, markdown(judged.lines(cells)), *judged.notes()])


if __name__ == "__main__":
    main()

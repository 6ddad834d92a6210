"""`python -m spcolor_model.training.store_classes FOLDER`: compute the classes of a run's photos.

Takes the configuration and the single values of `train.py`, and prints what to add to them for
training. The classes of every photo that is seen as it is are then read; those of distorted
self-references and of old prints are computed as ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import save_file
from torch import Tensor, nn

from ..data import ColorizationPairs
from ..data.stored_classes import MOST_CLASSES, StoredClasses, store
from ..prior.tensor import TensorPrior
from .build import build_pairs, build_prior
from .classes import prior_rgb
from .config import PriorConfig, PriorKind, Seen, TrainConfig, load_config
from .distributed import Process, process


def depends_on(config: TrainConfig, prior: nn.Module) -> dict[str, object]:
    """Return what stored classes must have been made with, by name."""
    digest = hashlib.sha256()
    for name, x in sorted(prior.state_dict().items()):
        digest.update(name.encode())
        digest.update(x.cpu().contiguous().numpy().tobytes())
    return {
        "data.image_size": config.data.image_size,
        "data.in_memory": config.data.in_memory,
        "prior.kind": config.prior.kind.value,
        "the prior's weights": digest.hexdigest(),
    }


def stored_for(config: TrainConfig, pairs: ColorizationPairs, prior: nn.Module) -> StoredClasses:
    """Return the classes of `data.classes`.

    Raises:
        FileNotFoundError, ValueError: there are none, not of all photos, or made with something
            else.
    """
    ways = config.prior.target.value, config.prior.reference.value
    return StoredClasses(config.data.classes, _photos(pairs), ways, depends_on(config, prior))


@torch.no_grad()
def store_classes(
    folder: Path,
    config: TrainConfig,
    pairs: ColorizationPairs,
    prior: TensorPrior,
    device: torch.device,
) -> Iterator[tuple[int, int]]:
    """Compute and keep the classes of every photo of some pairs; yield how many of how many.

    Raises:
        OSError, ValueError: as `store`.
    """
    photos = _photos(pairs)

    def classify(part: Sequence[Path], way: str) -> tuple[Tensor, Tensor]:
        read = zip(*pool.map(pairs.photo, part), strict=True)
        luminance, ab = (torch.stack(x).to(device) for x in read)
        return prior(prior_rgb(luminance, ab, Seen(way)))

    steps = store(
        folder,
        photos,
        classify,
        ways=sorted({config.prior.target.value, config.prior.reference.value}),
        depends_on=depends_on(config, prior),
        batch_size=config.batch_size,
    )
    with ThreadPoolExecutor(max(1, config.data.workers)) as pool:
        for done in steps:
            yield done, len(photos)


def saved_prior(folder: Path, config: PriorConfig, pairs: ColorizationPairs, seed: int) -> Path:
    """Return the clusters that a folder keeps; fitted to the photos where it has none yet.

    What k-means finds depends on the number of threads, so it is done once.
    """
    path = folder / "prior.safetensors"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        save_file(build_prior(config, pairs, seed).state_dict(), path)
    return path


def _photos(pairs: ColorizationPairs) -> list[Path]:
    return [*dict.fromkeys(filter(None, chain.from_iterable(pairs.pairs)))]


def _check(prior: PriorConfig, own: Process) -> None:
    if prior.kind is PriorKind.none:
        raise ValueError("prior.kind: expected stego or clusters, got none, which has one class")
    if prior.num_segments > MOST_CLASSES:
        raise ValueError(
            f"prior.num_segments: expected at most {MOST_CLASSES}, got {prior.num_segments}"
        )
    if own.world_size > 1:
        raise ValueError(f"torchrun: expected one process, got {own.world_size}")


def main(
    folder: Annotated[Path, typer.Argument(help="Where the classes go.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="name=value ...")] = None,
    config: Annotated[str, typer.Option(help="As of train.py.")] = "paper",
) -> None:
    """Compute the classes of the photos that a run trains with."""
    try:
        settings = load_config(config, overrides or ())
        prior = settings.prior
        with process() as own, Progress(console=Console(stderr=True)) as progress:
            _check(prior, own)
            pairs, _ = build_pairs(settings, own)
            if prior.kind is PriorKind.clusters and prior.weights is None:
                prior.weights = str(saved_prior(folder, prior, pairs, settings.seed))
            task = progress.add_task("classes", total=None)
            found = build_prior(prior).to(own.device)
            for done, total in store_classes(folder, settings, pairs, found, own.device):
                progress.update(task, completed=done, total=total)
    except (OSError, TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    more = f" prior.weights={prior.weights}" if prior.kind is PriorKind.clusters else ""
    typer.echo(f"data.classes={folder}{more}")


if __name__ == "__main__":
    typer.run(main)

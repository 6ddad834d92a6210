"""`python -m spcolor_model.training.store_classes FOLDER`: compute the classes of a run's photos.

Takes what `train.py` takes, and `train.py data.classes=FOLDER` then reads the classes of every
photo that it sees as it is; those of distorted self-references and of old prints are computed as
ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from ..data import ColorizationPairs
from ..data.stored_classes import MOST_CLASSES, StoredClasses, store
from ..prior.tensor import TensorPrior
from .build import build_pairs, build_prior
from .classes import prior_rgb
from .config import PriorKind, Seen, TrainConfig, load_config
from .distributed import process


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


def stored_for(config: TrainConfig, prior: nn.Module) -> tuple[StoredClasses, str, str]:
    """Return the classes of `data.classes` and in which ways target and reference are seen.

    Raises:
        FileNotFoundError, ValueError: there are none, or made with something else.
    """
    stored = StoredClasses(config.data.classes, depends_on(config, prior))
    return stored, config.prior.target.value, config.prior.reference.value


@torch.no_grad()
def store_classes(
    folder: Path, config: TrainConfig, pairs: ColorizationPairs, prior: TensorPrior, device: object
) -> None:
    """Compute and keep the classes of every photo of some pairs.

    Raises:
        OSError, ValueError: as `store`; or a prior of one class, or of more than fit in 8 bits.
    """
    if config.prior.kind is PriorKind.none:
        raise ValueError("prior.kind: expected stego or clusters, got none, which has one class")
    if prior.num_segments > MOST_CLASSES:
        raise ValueError(
            f"prior.num_segments: expected at most {MOST_CLASSES}, got {prior.num_segments}"
        )
    photos = [*dict.fromkeys(filter(None, chain.from_iterable(pairs.pairs)))]

    def classify(part: Sequence[Path], way: str) -> tuple[Tensor, Tensor]:
        luminance, ab = (
            torch.stack(x).to(device) for x in zip(*pool.map(pairs.photo, part), strict=True)
        )
        return prior(prior_rgb(luminance, ab, Seen(way)))

    ways = sorted({config.prior.target.value, config.prior.reference.value})
    steps = store(
        folder,
        photos,
        classify,
        ways=ways,
        depends_on=depends_on(config, prior),
        batch_size=config.batch_size,
    )
    batches = -(-len(photos) // config.batch_size)
    with ThreadPoolExecutor(max(1, config.data.workers)) as pool:
        for _ in track(steps, "classes", total=batches, console=Console(stderr=True)):
            pass


def main(
    folder: Annotated[Path, typer.Argument(help="Where the classes go.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="name=value ...")] = None,
    config: Annotated[str, typer.Option(help="As of train.py.")] = "paper",
) -> None:
    """Compute the classes of the photos that a run trains with."""
    try:
        settings = load_config(config, overrides or ())
        with process() as own:
            pairs, _ = build_pairs(settings, own)
            prior = build_prior(settings.prior, pairs, settings.seed).to(own.device)
            store_classes(folder, settings, pairs, prior, own.device)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(folder)


if __name__ == "__main__":
    typer.run(main)

"""`python -m spcolor_model.training.export CHECKPOINT FOLDER`: what of a checkpoint colours photos.

The generator, of averaged weights where there are some, and the prior, in half precision: a quarter
of the checkpoint, and the same pictures but for rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file

from .checkpoint import Checkpoint, load_config, load_weights

_NETWORKS = ("warp_net", "color_net", "prior")


def export(checkpoint: str | Path, folder: str | Path) -> list[Path]:
    """Write the generator and the prior of a checkpoint as float16; return the files.

    Raises:
        FileNotFoundError, ValueError: the checkpoint lacks a file, or has a damaged one.

    Example:
        >>> export("out/train/checkpoints/step_00002000", "weights")
    """
    saved, folder = Checkpoint(0, Path(checkpoint)), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in _NETWORKS:
        averaged = saved.folder / f"average_{name}.safetensors"
        source = averaged if averaged.is_file() else saved.folder / f"{name}.safetensors"
        if name == "prior" and not source.is_file():
            continue  # it has nothing of its own
        half = {key: x.to(torch.float16) for key, x in load_weights(saved, source.stem).items()}
        written.append(folder / f"{name}.safetensors")
        save_file(half, written[-1], metadata={"config": load_config(source)})
    return written


def main(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    folder: Annotated[Path, typer.Argument(help="Where the weights go.")],
) -> None:
    """Write the weights that colour photos, in half precision."""
    for path in export(checkpoint, folder):
        typer.echo(path)


if __name__ == "__main__":
    typer.run(main)

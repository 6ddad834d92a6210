"""Checkpoints: complete or absent, whatever interrupts their writing.

    out/checkpoints/step_00000200/warp_net.safetensors, ..., state.pt

Weights are safetensors with the configuration as metadata; `state.pt` has what exact resume needs
beside them.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import force

_NAME = "step_{:08}"
_COMPLETE = re.compile(r"step_(\d{8,})")
_PARTIAL = ".partial"
_STATE = "state.pt"


class Checkpoint(NamedTuple):
    """A complete checkpoint.

    Attributes:
        step: updates that were made.
        folder: where it is.
    """

    step: int
    folder: Path


def save(
    folder: Path, step: int, weights: Mapping[str, Mapping[str, Tensor]], state: dict, config: str
) -> Checkpoint:
    """Write a checkpoint under another name, force it to the disk, and rename it.

    Args:
        folder: of all checkpoints.
        step: updates that were made.
        weights: state dict of each network, by name.
        state: of optimisers and the like: tensors, numbers and containers of them.
        config: YAML text.

    Raises:
        ValueError: a weight is not finite.
        OSError: no room, no permission, or there is a checkpoint of this step. In any case earlier
            checkpoints are left as they are.
    """
    final = folder / _NAME.format(step)
    for name, tensors in weights.items():
        broken = [key for key, x in tensors.items() if not x.isfinite().all()]
        if broken:
            raise ValueError(f"{final}: expected finite weights, got others in {name}.{broken[0]}")
    partial = _partial(final)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, tensors in weights.items():
            path = partial / f"{name}.safetensors"
            # Other strides are refused.
            contiguous = {key: x.detach().cpu().contiguous() for key, x in tensors.items()}
            save_file(contiguous, path, metadata={"config": config})
            force(path)
        torch.save(state, partial / _STATE)
        force(partial / _STATE)
        force(partial)
        partial.rename(final)
        force(folder)
    except (OSError, RuntimeError, SafetensorError) as error:
        # Of a full disk safetensors and torch make errors of their own.
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(f"{final}: could not be written: {error}") from error
    return Checkpoint(step, final)


def find(folder: Path) -> list[Checkpoint]:
    """Return the complete checkpoints of a folder, the oldest first."""
    named = ((_COMPLETE.fullmatch(path.name), path) for path in folder.glob("step_*"))
    return sorted(Checkpoint(int(name[1]), path) for name, path in named if name and path.is_dir())


def remove_old(folder: Path, keep: int) -> None:
    """Remove all checkpoints but the last `keep`, and what an interrupted write left."""
    for path in folder.glob(f"step_*{_PARTIAL}"):
        shutil.rmtree(path)
    for checkpoint in find(folder)[:-keep]:
        # An interruption must not leave half of it under its name.
        shutil.rmtree(checkpoint.folder.rename(_partial(checkpoint.folder)))


def load_weights(checkpoint: Checkpoint, name: str) -> dict[str, Tensor]:
    """Return the state dict of one network.

    Raises:
        FileNotFoundError, ValueError: no such file, or one that is not complete.
    """
    with _opened(checkpoint.folder / f"{name}.safetensors") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)


def load_config(path: Path) -> str:
    """Return the YAML text of the configuration inside a weights file.

    Raises:
        FileNotFoundError, ValueError: no such file, or one without a configuration.
    """
    with _opened(path) as file:
        config = (file.metadata() or {}).get("config")
    if config is None:
        raise ValueError(f"{path}: expected a configuration in its metadata, got none")
    return config


def load_state(checkpoint: Checkpoint) -> dict:
    """Return what `save` got as `state`, on the CPU; nothing that is in the file is run.

    Raises:
        FileNotFoundError, ValueError: no such file, or one that cannot be read.
    """
    path = checkpoint.folder / _STATE
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    # A damaged or hostile file can make a reader raise anything.
    except Exception as error:
        raise ValueError(
            f"{path}: expected the state of a run, got a file that cannot be read "
            f"({type(error).__name__}): damaged, or not safe"
        ) from error


def _partial(final: Path) -> Path:
    """Return the name of a checkpoint that is being written or removed."""
    return final.with_name(final.name + _PARTIAL)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file of weights, got nothing at that path")
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file, got: {error}") from None

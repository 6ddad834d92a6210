"""Checkpoints: complete or absent, whatever interrupts their writing.

    out/checkpoints/step_00000200/warp_net.safetensors, ..., state.pt

Weights are safetensors with the configuration as metadata; `state.pt` has what exact resume needs
beside them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_PREFIX = "step_"
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
        OSError: no room, or no permission; earlier checkpoints are left as they are.
    """
    final = folder / f"{_PREFIX}{step:08}"
    partial = final.with_name(final.name + _PARTIAL)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, tensors in weights.items():
            path = partial / f"{name}.safetensors"
            # Shared memory is refused: the tensors of an average may be views.
            contiguous = {key: x.detach().cpu().contiguous() for key, x in tensors.items()}
            save_file(contiguous, path, metadata={"config": config})
            _force(path)
        torch.save(state, partial / _STATE)
        _force(partial / _STATE)
        _force(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        _force(folder)
    except (OSError, RuntimeError, SafetensorError) as error:
        # Of a full disk safetensors and torch make errors of their own.
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(f"{final}: could not be written: {error}") from error
    return Checkpoint(step, final)


def find(folder: Path) -> list[Checkpoint]:
    """Return the complete checkpoints of a folder, the oldest first."""
    complete = (path for path in folder.glob(f"{_PREFIX}*") if path.suffix != _PARTIAL)
    return sorted(Checkpoint(int(path.name.removeprefix(_PREFIX)), path) for path in complete)


def remove_old(folder: Path, keep: int) -> None:
    """Remove all checkpoints but the last `keep`, and what an interrupted write left."""
    for path in folder.glob(f"{_PREFIX}*{_PARTIAL}"):
        shutil.rmtree(path)
    for checkpoint in find(folder)[:-keep]:
        shutil.rmtree(checkpoint.folder)


def load_weights(checkpoint: Checkpoint, name: str) -> dict[str, Tensor]:
    """Return the state dict of one network.

    Raises:
        FileNotFoundError, ValueError: no such file, or one that is not complete.
    """
    path = checkpoint.folder / f"{name}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the weights of {name}, got nothing at that path")
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file, got: {error}") from None


def load_config(path: Path) -> str:
    """Return the YAML text of the configuration inside a weights file."""
    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get("config", "")


def load_state(checkpoint: Checkpoint) -> dict:
    """Return what `save` got as `state`."""
    return torch.load(checkpoint.folder / _STATE, weights_only=True)


def _force(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

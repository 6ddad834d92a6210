"""How a run goes on from a checkpoint, as if it had never been interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
import yaml
from torch import nn

from ..networks.weights import load_into
from . import checkpoint
from .build import Optimizer
from .checkpoint import Checkpoint
from .config import TrainConfig, as_yaml, parse_config

# What a run may change when it goes on.
_FREE = ("out", "max_steps", "log_steps", "image_steps", "checkpoint_steps", "validation_steps")
_FREE += ("keep", "data.workers", "data.classes")


def last_checkpoint(folder: Path, config: TrainConfig, resume: bool) -> Checkpoint | None:
    """Return where to go on, if anywhere.

    Raises:
        FileExistsError: there are checkpoints, without `resume`.
        FileNotFoundError, ValueError: the last one cannot be read, or has another configuration.
    """
    found = checkpoint.find(folder)
    if not found:
        return None
    if not resume:
        raise FileExistsError(
            f"out: expected a folder without checkpoints, got {len(found)} in {folder}"
        )
    _check_same_run(found[-1], config)
    return found[-1]


def run_state(optimizers: Sequence[Optimizer], average: nn.Module | None) -> dict:
    """Return what `restore` needs beside the weights.

    Data and noise are functions of the step, so nothing of them is here.
    """
    return {
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "random": torch.get_rng_state(),
        "averaged": int(average.n_averaged) if average else 0,
    }


def restore(
    last: Checkpoint,
    networks: Mapping[str, nn.Module],
    optimizers: Sequence[Optimizer],
    average: nn.Module | None,
) -> None:
    """Continue from a checkpoint: weights, optimisers, random numbers.

    Args:
        last: the checkpoint.
        networks: by name, as they were saved.
        optimizers: of these networks.
        average: `AveragedModel`, or None.

    Raises:
        FileNotFoundError, ValueError: a file that is not there, or not of this run.
    """
    for name, network in networks.items():
        state = checkpoint.load_weights(last, name)
        load_into(network, state, source=last.folder / f"{name}.safetensors")
    state = checkpoint.load_state(last)
    # What a hostile file holds can be of any type, so loading it can raise anything.
    try:
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])
        if average:
            average.n_averaged.fill_(state["averaged"])
    except Exception as error:
        raise ValueError(
            f"{last.folder}: expected the optimisers of this run, got others "
            f"({type(error).__name__}: {error})"
        ) from error


def _check_same_run(last: Checkpoint, config: TrainConfig) -> None:
    """Refuse to go on with another configuration than the checkpoint's."""
    path = last.folder / "warp_net.safetensors"
    # An option that is younger than the checkpoint was at its default.
    before = parse_config(checkpoint.load_config(path), source=str(path))
    saved, asked = (dict(_values(yaml.safe_load(as_yaml(x)))) for x in (before, config))
    names = {*saved} - {*_FREE}
    differing = sorted(name for name in names if saved[name] != asked[name])
    if differing:
        raise ValueError(
            f"{last.folder}: expected the configuration of this checkpoint, got another "
            f"{', '.join(differing)}; choose another out, or these as they were"
        )


def _values(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield all values by their dotted names."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _values(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

"""A checkpoint as something that colours."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from spcolor_model.model import SPColor
from spcolor_model.networks.weights import load_into
from spcolor_model.prior.tensor import TensorPrior
from spcolor_model.training import checkpoint
from spcolor_model.training.build import build_backbone, build_networks, build_prior
from spcolor_model.training.checkpoint import Checkpoint
from spcolor_model.training.config import PriorKind, TrainConfig, load_config


class Trained(NamedTuple):
    """What training made: a generator, its prior, and the configuration of the run."""

    model: SPColor
    prior: TensorPrior
    config: TrainConfig

    @property
    def device(self) -> torch.device:
        """Where the generator computes."""
        return next(self.model.parameters()).device


def load_trained(folder: Path) -> Trained:
    """Return the generator of a checkpoint's folder; of its averaged weights, if it has some.

    It is on a GPU where there is one.

    Raises:
        FileNotFoundError, ValueError: no checkpoint, or one that cannot be read.
    """
    saved = Checkpoint(0, folder)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "config.yaml"
        path.write_text(checkpoint.load_config(folder / "warp_net.safetensors"))
        config = load_config(str(path))
    prior = build_prior(config.prior, (), config.seed, fit=False)
    if config.prior.kind is PriorKind.clusters:
        _load(prior, saved, "prior")
    # All weights are the checkpoint's.
    fresh = replace(config, network=replace(config.network, from_earlier_work=False))
    model, _ = build_networks(fresh, build_backbone(config.network), prior.num_segments)
    prefix = "average_" if config.ema else ""
    _load(model.warp_net, saved, f"{prefix}warp_net")
    _load(model.color_net, saved, f"{prefix}color_net")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Frozen, it is no part of the model.
    model.backbone.to(device)
    return Trained(model.eval().to(device), prior.to(device), config)


def _load(module: nn.Module, saved: Checkpoint, name: str) -> None:
    source = saved.folder / f"{name}.safetensors"
    load_into(module, checkpoint.load_weights(saved, name), source=source)

"""The training steps that are measured, each on photos that installed packages contain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from spcolor_model.data import ColorizationPairs, ResumableBatchSampler, Sample, read_manifest
from spcolor_model.data.installed import Manifests, write_installed_photos
from spcolor_model.model import Classes, SPColor
from spcolor_model.networks import VGG19
from spcolor_model.training.build import Optimizer, build_discriminator, build_generator, build_loss
from spcolor_model.training.classes import batch_classes
from spcolor_model.training.config import TrainConfig, load_config
from spcolor_model.training.distributed import process
from spcolor_model.training.step import Pass, TrainingStep, luminance_noise
from spcolor_model.training.trainer import Trainer

from ..label_maps import blocky_label_maps

FULL_SEGMENTS = 22
_BATCHES = 8
_CELL = 8  # rows and columns of an image to one label, as STEGO's


@dataclass(frozen=True)
class Problem:
    """A training step, the same for every way to match.

    Attributes:
        name: of networks and sizes.
        model: the generator.
        update: both networks.
        batches: of the run's first steps.
        classes: what the prior says of a batch; asked in every step, as in training.
        noise: standard deviation of the noise, in units of L.
    """

    name: str
    model: SPColor
    update: TrainingStep
    batches: Sequence[Sample]
    classes: Callable[[Sample], tuple[Classes, Classes]]
    noise: float

    @property
    def images(self) -> int:
        """Photos of one step."""
        return len(self.batches[0].luminance)

    def step(self, turn: int) -> None:
        """Update both networks; equal turns see equal photos."""
        self.update([self.passed(turn)])

    def passed(self, turn: int) -> Pass:
        """Return what the step of a turn reads."""
        batch = self.batches[turn % len(self.batches)]
        noise = luminance_noise(batch.luminance.shape, self.noise, 0, turn, 0)
        return Pass(batch, noise, *self.classes(batch))


def photos(folder: Path) -> Manifests:
    """Write the installed photos into a folder."""
    return write_installed_photos(folder / "photos")


def trainer(folder: Path, manifest: Path, overrides: Sequence[str] = ()) -> Trainer:
    """Return what `train.py --config small` would run, on the photos of a manifest."""
    given = [f"out={folder}", f"data.manifest={manifest}", f"data.validation={manifest}"]
    config = load_config("small", [*given, *overrides])
    with process() as own:
        return Trainer(config, own, resume=False)


def small(folder: Path, manifest: Path) -> Problem:
    """Return the step of the "small" preset."""
    run = trainer(folder, manifest)
    config = run.config
    size, count = config.data.image_size, run.prior.num_segments
    return Problem(
        f'"small" preset, {size} x {size}, k = {count} (clusters)',
        run.model,
        run.update,
        _batches(run.pairs, config),
        lambda batch: batch_classes(run.prior, batch, config.prior),
        config.luminance_noise,
    )


def full(manifest: Path, overrides: Sequence[str] = ()) -> Problem:
    """Return the step of the "paper" preset, one photo at a time.

    No weights of VGG-19 and STEGO are at hand: VGG-19 is random and classes are blocky random maps,
    so the prior's own time is not in the step. The reference is the target itself, so that no loss
    is 0.
    """
    given = ["batch_size=1", "data.self_reference_probability=1"]
    config = load_config("paper", [*given, *overrides])
    torch.manual_seed(config.seed)
    model = build_generator(config.network, random_vgg(), FULL_SEGMENTS)
    discriminator = build_discriminator(config)
    rates = config.optimizer
    optimizers = (
        Optimizer(config, [(model.warp_net, rates.warp_lr), (model.color_net, rates.color_lr)]),
        Optimizer(config, [(discriminator, rates.discriminator_lr)]),
    )
    size = config.data.image_size
    pairs = ColorizationPairs(
        read_manifest(manifest),
        size,
        self_reference_probability=config.data.self_reference_probability,
        seed=config.seed,
    )
    classes = tuple(random_classes(config.batch_size, FULL_SEGMENTS, size))
    return Problem(
        f'"paper" preset, {size} x {size}, k = {FULL_SEGMENTS} (random blocks), random VGG-19',
        model,
        TrainingStep(config, model, discriminator, optimizers, build_loss(config)),
        _batches(pairs, config),
        lambda _: classes,
        config.luminance_noise,
    )


def random_vgg() -> VGG19:
    """Return VGG-19 with random weights that keep the size of activations (He's)."""
    vgg = VGG19("caffe")
    for conv in (module for module in vgg.modules() if isinstance(module, nn.Conv2d)):
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)
    return vgg


def random_classes(batch: int, num_segments: int, size: int) -> list[Classes]:
    """Return blocky labels [B, h, w] of target and reference, with confidence 1."""
    generator = torch.Generator().manual_seed(num_segments)
    side = size // _CELL
    labels = (
        blocky_label_maps(batch, num_segments, generator, side=side, block=1) for _ in range(2)
    )
    return [Classes(x.unflatten(1, (side, side)), torch.ones(batch, side, side)) for x in labels]


def _batches(pairs: ColorizationPairs, config: TrainConfig) -> list[Sample]:
    """Return the first batches of a run."""
    sampler = ResumableBatchSampler(len(pairs), config.batch_size, _BATCHES, seed=config.seed)
    return list(DataLoader(pairs, batch_sampler=sampler))

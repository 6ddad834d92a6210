"""One update of the discriminator, then one of the generator.

Dimensions: B samples of a process's pass, S rows and columns of an image.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..data import Sample
from ..losses import GeneratorLoss, adversarial_discriminator, lab_to_rgb
from ..model import Classes, Prediction, SPColor
from ..networks import Discriminator
from .build import Optimizer
from .config import TrainConfig


class Pass(NamedTuple):
    """What one forward and backward pass reads.

    Attributes:
        batch: B samples on the device.
        noise: [B, 1, S, S], added to the target's L.
        classes, reference_classes: what the prior says.
    """

    batch: Sample
    noise: Tensor
    classes: Classes
    reference_classes: Classes


class TrainingStep:
    """Update both networks from the passes of one step.

    The discriminator is updated first and judges the generator afterwards, as in the published
    code. With several passes the predictions are computed once for each of the two updates, so that
    only one pass's activations are in memory; batch statistics are those of a pass.

    Args:
        config: weights and precision.
        generator: `SPColor`, or what wraps it for several processes.
        discriminator: likewise.
        optimizers: of generator and discriminator.
        loss: of the generator.
    """

    def __init__(
        self,
        config: TrainConfig,
        generator: nn.Module,
        discriminator: nn.Module,
        optimizers: tuple[Optimizer, Optimizer],
        loss: GeneratorLoss,
    ) -> None:
        self.bf16 = config.bf16
        self.generator, self.discriminator = generator, discriminator
        self.generator_optimizer, self.discriminator_optimizer = optimizers
        self.loss = loss

    def __call__(self, passes: Sequence[Pass]) -> tuple[dict[str, Tensor], Prediction]:
        """Return the losses, means over the passes, and the last pass's prediction."""
        predictions = [self._predict(passes[0])] if len(passes) == 1 else None
        terms: dict[str, Tensor] = {}
        if self.loss.weights.adversarial:
            terms["discriminator"] = self._update_discriminator(passes, predictions)
        self.generator_optimizer.zero_grad()
        for index, one in enumerate(passes):
            with self._synchronised(self.generator, index == len(passes) - 1):
                prediction = predictions[0] if predictions else self._predict(one)
                total, found = self._generator_loss(one, prediction)
                (total / len(passes)).backward()
            for name, term in {"total": total.detach(), **found}.items():
                terms[name] = terms.get(name, 0) + term / len(passes)
        self.generator_optimizer.step()
        return terms, Prediction(*(x.detach() for x in prediction))

    def _predict(self, one: Pass) -> Prediction:
        batch = one.batch
        with torch.autocast(batch.luminance.device.type, torch.bfloat16, enabled=self.bf16):
            return self.generator(
                batch.seen_luminance + one.noise,
                batch.reference_luminance,
                batch.reference_ab,
                one.classes,
                one.reference_classes,
            )

    def _update_discriminator(
        self, passes: Sequence[Pass], predictions: Sequence[Prediction] | None
    ) -> Tensor:
        self.discriminator_optimizer.zero_grad()
        mean = 0
        for index, one in enumerate(passes):
            with torch.no_grad():
                ab = predictions[0].ab if predictions else self._predict(one).ab
            with self._synchronised(self.discriminator, index == len(passes) - 1):
                scores = _scores(self.discriminator, one.batch, ab.detach())
                loss = adversarial_discriminator(*scores, batch_mean=self.loss.batch_mean)
                (loss / len(passes)).backward()
            mean = mean + loss.detach() / len(passes)
        self.discriminator_optimizer.step()
        return mean

    def _generator_loss(
        self, one: Pass, prediction: Prediction
    ) -> tuple[Tensor, dict[str, Tensor]]:
        batch, weights = one.batch, self.loss.weights
        ab = prediction.ab.to(batch.ab.dtype)
        truth = torch.cat([batch.luminance, batch.ab], dim=1)
        given = {}
        if weights.perceptual or weights.contextual:
            given["features"] = self._features(torch.cat([batch.luminance, ab], dim=1))
            with torch.no_grad():
                given["truth_features"] = self._features(truth)
        if weights.contextual:
            reference = torch.cat([batch.reference_luminance, batch.reference_ab], dim=1)
            with torch.no_grad():
                given["reference_features"] = self._features(reference)
        if weights.adversarial:
            discriminator = _unwrapped(self.discriminator)
            # Its own gradients would be thrown away.
            discriminator.requires_grad_(False)
            given["real"], given["fake"] = _scores(discriminator, batch, ab)
            discriminator.requires_grad_(True)
        return self.loss(
            ab=ab,
            truth_lab=truth,
            is_self=batch.is_self,
            warped_ab=prediction.warped[:, :2],
            similarity=prediction.similarity,
            **given,
        )

    def _features(self, lab: Tensor) -> list[Tensor]:
        model: SPColor = _unwrapped(self.generator)
        with torch.autocast(lab.device.type, torch.bfloat16, enabled=self.bf16):
            return model.backbone(lab_to_rgb(lab))

    @staticmethod
    def _synchronised(module: nn.Module, is_last: bool) -> contextlib.AbstractContextManager:
        """Gradients of several processes are added up once, in the last pass."""
        if isinstance(module, DistributedDataParallel) and not is_last:
            return module.no_sync()
        return contextlib.nullcontext()


def _scores(discriminator: nn.Module, batch: Sample, ab: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores [B, 1] of the true photos and of predicted ab, from one forward."""
    luminance = batch.luminance
    real, fake = (torch.cat([luminance, x.to(luminance.dtype)], dim=1) for x in (batch.ab, ab))
    return discriminator(torch.cat([real, fake])).chunk(2)


def _unwrapped(module: nn.Module) -> SPColor | Discriminator:
    """Return the network inside of what distributes or compiles it."""
    if isinstance(module, DistributedDataParallel):
        module = module.module
    return getattr(module, "_orig_mod", module)


def luminance_noise(shape: Sequence[int], std: float, seed: int, turn: int, first: int) -> Tensor:
    """Return the noise [B, 1, S, S] of a pass.

    It is a function of the seed and a sample's place in the run, so that neither the number of
    processes nor an interruption changes it.

    Args:
        shape: B, 1, S, S.
        std: standard deviation, in units of L.
        seed: of the run.
        turn: number of the pass since the run began.
        first: place of the first sample among those of all processes.
    """
    if std == 0:
        return torch.zeros(*shape)
    samples = []
    for sample in range(first, first + shape[0]):
        source = np.random.SeedSequence(seed, spawn_key=(turn, sample))
        state = int(source.generate_state(1, np.uint64)[0])
        samples.append(torch.randn(*shape[1:], generator=torch.Generator().manual_seed(state)))
    return std * torch.stack(samples)

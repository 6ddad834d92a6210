"""What the steps of a run read: photos, noise and classes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from ..data import ColorizationPairs, ResumableBatchSampler, Sample
from ..prior.tensor import TensorPrior
from .classes import batch_classes
from .config import TrainConfig
from .distributed import Process
from .signals import ignore
from .step import Pass, luminance_noise


class Passes:
    """The passes of the steps that are left, a list for each step.

    Args:
        config: of the run.
        process: whose share of every batch.
        pairs: to train with.
        prior: classes of a batch.
        step: updates that were made.

    Raises:
        ValueError: fewer pairs than a batch.
    """

    def __init__(
        self,
        config: TrainConfig,
        process: Process,
        pairs: ColorizationPairs,
        prior: TensorPrior,
        step: int,
    ) -> None:
        self.config, self.process, self.prior = config, process, prior
        sampler = ResumableBatchSampler(
            len(pairs),
            config.batch_size,
            config.max_steps * config.accumulate,
            start_step=step * config.accumulate,
            seed=config.seed,
            rank=process.rank,
            world_size=process.world_size,
        )
        self.first_turn = sampler.start_step
        self.batches = DataLoader(
            pairs,
            batch_sampler=sampler,
            num_workers=config.data.workers,
            pin_memory=process.device.type == "cuda",
            worker_init_fn=ignore,
            # Its own, so that the run's random numbers do not depend on interruptions.
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[list[Pass]]:
        passes = []
        for turn, batch in enumerate(self.batches, self.first_turn):
            passes.append(self._pass(batch, turn))
            if len(passes) == self.config.accumulate:
                yield passes
                passes = []

    def _pass(self, batch: Sample, turn: int) -> Pass:
        config, process = self.config, self.process
        noise = luminance_noise(
            batch.luminance.shape,
            config.luminance_noise,
            config.seed,
            turn,
            process.rank * config.batch_size,
        )
        batch = Sample(*(x.to(process.device, non_blocking=True) for x in batch))
        classes, reference_classes = batch_classes(self.prior, batch, config.prior)
        return Pass(batch, noise.to(process.device), classes, reference_classes)

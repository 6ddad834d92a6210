"""The training loop: data, steps, logs, validation, checkpoints, and how a run ends.

A run is a function of its configuration: an interrupted one continues from its last checkpoint to
the same weights, bit for bit, on the same machine and number of processes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..model import Prediction
from ..networks import load_backbone
from ..prior.tensor import TensorPrior
from . import checkpoint
from .build import (
    Optimizer,
    build_discriminator,
    build_generator,
    build_loss,
    build_pairs,
    build_prior,
)
from .checkpoint import Checkpoint
from .config import PriorKind, Seen, TrainConfig, as_yaml
from .distributed import Process, any_of_all, first_of_all, global_mean
from .log import Log
from .passes import Passes
from .resume import last_checkpoint, restore, run_state
from .signals import calling
from .step import TrainingStep
from .store_classes import stored_for
from .validation import validate


class TrainingStoppedError(RuntimeError):
    """A run cannot go on; its last checkpoint is intact."""


class Trainer:
    """A run of `train.py`, from its configuration.

    Args:
        config: all of it.
        process: this process among those of the run.
        resume: continue from the newest checkpoint in `config.out`.

    Raises:
        FileNotFoundError, ValueError: photos, weights or a checkpoint that cannot be used.
        FileExistsError: checkpoints of an earlier run, without `resume`.
    """

    def __init__(self, config: TrainConfig, process: Process, *, resume: bool = True) -> None:
        self.config, self.process = config, process
        self.folder = Path(config.out) / "checkpoints"
        last = last_checkpoint(self.folder, config, resume)
        self.step, self.saved = (last.step, last.step) if last else (0, None)
        self._check_same_step()
        self.pairs, self.validation_pairs = build_pairs(config, process)
        self.prior = self._prior(last)
        self.passes = Passes(config, process, self.pairs, self.prior, self.step)
        backbone = load_backbone(config.network.backbone, config.network.backbone_weights)
        # Frozen networks draw numbers where they are loaded for the first time, so not before.
        torch.manual_seed(config.seed)
        model = build_generator(config.network, backbone, self.prior.num_segments)
        discriminator = build_discriminator(config)
        self.model, self.discriminator = model.to(process.device), discriminator.to(process.device)
        self.model.backbone.to(process.device)
        self.average = (
            AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
            if config.ema
            else None
        )
        rates = config.optimizer
        self.optimizers = (
            Optimizer(
                config,
                [
                    (model.warp_net, rates.warp_lr),
                    (model.color_net, rates.color_lr),
                ],
                eps=rates.eps,
                amsgrad=rates.amsgrad,
            ),
            Optimizer(config, [(discriminator, rates.discriminator_lr)]),
        )
        if last:
            restore(last, self._networks(), self.optimizers, self.average)
        if config.data.classes is not None:
            self.pairs.stored = stored_for(config, self.pairs, self.prior)
        self.update = TrainingStep(
            config,
            self._wrapped(self.model),
            self._wrapped(self.discriminator),
            self.optimizers,
            build_loss(config),
        )
        self.stop_requested = False

    def run(self) -> None:
        """Train until `max_steps`, or until SIGTERM or SIGINT, and save a checkpoint at the end.

        Raises:
            TrainingStoppedError: a loss or weight is not finite, or a file could not be written.
        """
        log = partial(Log, Path(self.config.out) / "logs", self.step, self.config.max_steps)
        try:
            with calling(self._request_stop), log(is_writing=self.process.is_first) as opened:
                self._train(opened)
        except OSError as error:
            raise TrainingStoppedError(
                f"step {self.step}: {error}; {self._last_words()}"
            ) from error

    def _train(self, log: Log) -> None:
        config, process = self.config, self.process
        log.say(self._description())
        if self.saved is not None and self.step >= config.max_steps:
            log.say(f"nothing to do: {self.folder} has its max_steps={config.max_steps} steps")
            return
        for passes in self.passes:
            terms, prediction = self.update(passes)
            self.step += 1
            if self.average:
                self.average.update_parameters(self.model)
            is_stopping = self._is_stopping(terms)
            log.advance(config.batch_size * config.accumulate * process.world_size)
            if self.step % config.log_steps == 0:
                self._log_terms(log, terms, prediction)
            if self.step % config.image_steps == 0:
                log.images(passes[-1], prediction, self.step)
            # Who asks to stop may not wait for long.
            if self.step % config.validation_steps == 0 and not is_stopping:
                self._validate(log)
            if self.step % config.checkpoint_steps == 0 or is_stopping:
                self._save()
            if is_stopping:
                log.say(f"stopped after step {self.step}, as requested; run again to go on")
                return
        if self.saved != self.step:
            self._save()
        log.say(f"{self.folder}: {self.step} steps")

    def _prior(self, last: Checkpoint | None) -> TensorPrior:
        """Return the semantic prior; clusters are those of the checkpoint, or of one process."""
        config = self.config
        prior = build_prior(config.prior, None if last else self.pairs, config.seed)
        prior = prior.to(self.process.device)
        if config.prior.kind is PriorKind.clusters:
            first_of_all(prior.probe.clusters.data)
        return prior

    def _wrapped(self, module: nn.Module) -> nn.Module:
        """Compile a network and share its gradients, where the run asks for it."""
        if self.config.compile:
            module = torch.compile(module)
        if self.process.world_size > 1:
            module = DistributedDataParallel(module)
        return module

    def _check_same_step(self) -> None:
        """Processes that see different folders would wait for each other for ever."""
        first = first_of_all(torch.tensor(self.step, device=self.process.device)).item()
        if first != self.step:
            raise ValueError(
                f"out: expected one folder for all processes, got checkpoints of step {first} in "
                f"the first and of step {self.step} in this one"
            )

    def _is_stopping(self, terms: dict[str, Tensor]) -> bool:
        """Return whether any process was asked to stop; a broken network stops all at once."""
        values = torch.stack([*terms.values()]).tolist()
        broken = [
            name for name, value in zip(terms, values, strict=True) if not math.isfinite(value)
        ]
        is_broken, is_stopping = any_of_all(
            bool(broken), self.stop_requested, device=self.process.device
        )
        if is_broken:
            names = ", ".join(broken) or "a loss of another process"
            raise TrainingStoppedError(
                f"step {self.step}: {names} is not finite; {self._last_words()}"
            )
        return is_stopping

    def _log_terms(self, log: Log, terms: dict[str, Tensor], prediction: Prediction) -> None:
        values = {name: global_mean(term).item() for name, term in terms.items()}
        log.losses(values, self.step)
        log.scalars(
            "similarity",
            {
                "mean": prediction.similarity.mean().item(),
                "max": prediction.similarity.max().item(),
                "unrelated": prediction.unrelated.float().mean().item(),
            },
            self.step,
        )

    def _validate(self, log: Log) -> None:
        model = self.average.module if self.average else self.model
        # Whatever training lets the prior see: a photo to colour has no colours.
        config = replace(self.config.prior, target=Seen.gray)
        found = validate(model, self.prior, self.validation_pairs, config, self.process)
        log.scalars("validation", found, self.step)
        log.say(
            f"step {self.step}: held-out ab error {found['ab_error']:.2f} "
            f"(gray {found['gray_ab_error']:.2f}), PSNR {found['psnr']:.2f} dB"
        )

    def _networks(self) -> dict[str, nn.Module]:
        """Return what a checkpoint has the weights of, by name."""
        networks = {
            "warp_net": self.model.warp_net,
            "color_net": self.model.color_net,
            "discriminator": self.discriminator,
        }
        if self.average:
            networks["average_warp_net"] = self.average.module.warp_net
            networks["average_color_net"] = self.average.module.color_net
        if self.config.prior.kind is PriorKind.clusters:
            networks["prior"] = self.prior
        return networks

    def _save(self) -> None:
        """Write a checkpoint in the first process; if that fails, all stop."""
        failure = None
        if self.process.is_first:
            weights = {name: network.state_dict() for name, network in self._networks().items()}
            state = run_state(self.optimizers, self.average)
            try:
                checkpoint.save(self.folder, self.step, weights, state, as_yaml(self.config))
                checkpoint.remove_old(self.folder, self.config.keep)
            except (OSError, ValueError) as error:
                failure = error
        if any_of_all(failure is not None, device=self.process.device)[0]:
            raise TrainingStoppedError(
                f"step {self.step}: {failure or 'the first process could not save'}; "
                f"{self._last_words()}"
            ) from failure
        self.saved = self.step

    def _last_words(self) -> str:
        found = checkpoint.find(self.folder)
        return f"the last checkpoint is {found[-1].folder}" if found else "there is no checkpoint"

    def _description(self) -> str:
        config = self.config
        backbone, prior = self.model.backbone.name, config.prior.kind
        features = backbone if backbone == "vgg19" else f"{backbone} (in place of VGG-19)"
        classes = prior.value if prior is PriorKind.stego else f"{prior.value} (in place of STEGO)"
        return (
            f"{config.name}: {len(self.pairs)} pairs, {len(self.validation_pairs)} held out, "
            f"features {features}, classes {classes}, k={self.prior.num_segments}, "
            f"{self.process.world_size} x {self.process.device}, from step {self.step}"
        )

    def _request_stop(self, *_: object) -> None:
        self.stop_requested = True

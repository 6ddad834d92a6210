"""The training loop: data, steps, logs, validation, checkpoints, and how a run ends.

A run is a function of its configuration: an interrupted one continues from its last checkpoint to
the same weights, bit for bit, on the same machine and number of processes.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from ..data import ColorizationPairs, ResumableBatchSampler, Sample, read_manifest
from ..data.installed import write_installed_photos
from ..networks.weights import load_into
from . import checkpoint
from .build import (
    Optimizer,
    build_backbone,
    build_loss,
    build_networks,
    build_prior,
    photo_folder,
)
from .checkpoint import Checkpoint
from .classes import batch_classes
from .config import PriorKind, TrainConfig, as_yaml
from .distributed import Process, any_of_all, barrier, first_of_all, global_mean
from .log import Log
from .step import Pass, TrainingStep, luminance_noise
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
        last = self._last_checkpoint(resume)
        self.step = last.step if last else 0
        self.pairs, self.validation_pairs = self._photos()
        torch.manual_seed(config.seed)
        self.prior = self._prior(last)
        model, discriminator = build_networks(
            config, build_backbone(config.network), self.prior.num_segments
        )
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
            ),
            Optimizer(config, [(discriminator, rates.discriminator_lr)]),
        )
        if last:
            self._restore(last)
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
            TrainingStoppedError: a loss is not finite, or a checkpoint could not be written.
        """
        config, process = self.config, self.process
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request_stop)
        with Log(
            Path(config.out) / "logs", self.step, config.max_steps, is_writing=process.is_first
        ) as log:
            log.say(self._description())
            saved = self.step if self.step else None
            for passes in self._passes():
                start = time.monotonic()
                terms, prediction = self.update(passes)
                self.step += 1
                if self.average:
                    self.average.update_parameters(self.model)
                self._check_finite(terms)
                images = config.batch_size * config.accumulate * process.world_size
                log.advance(images / (time.monotonic() - start))
                if self.step % config.log_steps == 0:
                    self._log_terms(log, terms, prediction.similarity)
                if self.step % config.image_steps == 0:
                    log.images(passes[-1], prediction, self.step)
                if self.step % config.validation_steps == 0:
                    self._validate(log)
                (is_stopping,) = any_of_all(self.stop_requested, device=process.device)
                if self.step % config.checkpoint_steps == 0 or is_stopping:
                    self._save()
                    saved = self.step
                if is_stopping:
                    log.say(f"stopped after step {self.step}, as requested; run again to go on")
                    return
            if saved != self.step:
                self._save()
            log.say(f"{self.folder}: {self.step} steps")

    def _photos(self) -> tuple[ColorizationPairs, ColorizationPairs]:
        """Return the pairs for training and for validation."""
        data = self.config.data
        manifests = [data.manifest, data.validation]
        if None in manifests:
            folder = photo_folder(self.config)
            own = [folder / "train.csv", folder / "validation.csv"]
            if self.process.is_first and not all(path.is_file() for path in own):
                write_installed_photos(folder)
            barrier()
            manifests = [given or path for given, path in zip(manifests, own, strict=True)]
        train, validation = map(read_manifest, manifests)
        seed, size = self.config.seed, data.image_size
        return (
            ColorizationPairs(
                train,
                size,
                self_reference_probability=data.self_reference_probability,
                seed=seed,
            ),
            ColorizationPairs(validation, size, self_reference_probability=0, seed=seed),
        )

    def _prior(self, last: Checkpoint | None) -> nn.Module:
        """Return the semantic prior; clusters are those of the checkpoint, or of one process."""
        config = self.config
        centroids = None
        if last and config.prior.kind is PriorKind.clusters:
            centroids = checkpoint.load_weights(last, "prior")["probe.clusters"]
        prior = build_prior(config.prior, self.pairs, centroids, config.seed)
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

    def _passes(self) -> Iterator[list[Pass]]:
        """Yield the passes of each step that is left."""
        config, process = self.config, self.process
        sampler = ResumableBatchSampler(
            len(self.pairs),
            config.batch_size,
            config.max_steps * config.accumulate,
            start_step=self.step * config.accumulate,
            seed=config.seed,
            rank=process.rank,
            world_size=process.world_size,
        )
        batches = DataLoader(
            self.pairs,
            batch_sampler=sampler,
            num_workers=config.data.workers,
            pin_memory=process.device.type == "cuda",
        )
        passes = []
        for turn, batch in enumerate(batches, sampler.start_step):
            passes.append(self._pass(batch, turn))
            if len(passes) == config.accumulate:
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

    def _check_finite(self, terms: dict[str, Tensor]) -> None:
        """Stop before a broken network is saved."""
        broken = [name for name, term in terms.items() if not math.isfinite(term.item())]
        if any_of_all(bool(broken), device=self.process.device)[0]:
            names = ", ".join(broken) or "a loss of another process"
            raise TrainingStoppedError(
                f"step {self.step}: {names} is not finite; {self._last_words()}"
            )

    def _log_terms(self, log: Log, terms: dict[str, Tensor], similarity: Tensor) -> None:
        values = {name: global_mean(term).item() for name, term in terms.items()}
        log.scalars("loss", values, self.step)
        log.scalars(
            "similarity",
            {
                "mean": similarity.mean().item(),
                "max": similarity.max().item(),
                "unrelated": (similarity == 0).float().mean().item(),
            },
            self.step,
        )

    def _validate(self, log: Log) -> None:
        model = self.average.module if self.average else self.model
        found = validate(model, self.prior, self.validation_pairs, self.config.prior, self.process)
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
        """Write a checkpoint; the first process alone."""
        if self.process.is_first:
            weights = {name: network.state_dict() for name, network in self._networks().items()}
            state = {
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "random": torch.get_rng_state(),
                "averaged": int(self.average.n_averaged) if self.average else 0,
            }
            try:
                checkpoint.save(self.folder, self.step, weights, state, as_yaml(self.config))
            except OSError as error:
                raise TrainingStoppedError(f"{error}; {self._last_words()}") from error
            checkpoint.remove_old(self.folder, self.config.keep)
        barrier()

    def _restore(self, last: Checkpoint) -> None:
        for name, network in self._networks().items():
            state = checkpoint.load_weights(last, name)
            load_into(network, state, source=str(last.folder / name))
        state = checkpoint.load_state(last)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])
        if self.average:
            self.average.n_averaged.fill_(state["averaged"])

    def _last_checkpoint(self, resume: bool) -> Checkpoint | None:
        """Return where to go on, if anywhere."""
        found = checkpoint.find(self.folder)
        if not found:
            return None
        if not resume:
            raise FileExistsError(
                f"out: expected a folder without checkpoints, got {len(found)} in {self.folder}"
            )
        _check_same_run(found[-1], self.config)
        return found[-1]

    def _last_words(self) -> str:
        found = checkpoint.find(self.folder)
        return f"the last checkpoint is {found[-1].folder}" if found else "there is no checkpoint"

    def _description(self) -> str:
        config = self.config
        stand_in = (
            f" (in place of VGG-19; {config.prior.kind.value} in place of STEGO)"
            if self.model.backbone.name != "vgg19"
            else ""
        )
        return (
            f"{config.name}: {len(self.pairs)} pairs, {len(self.validation_pairs)} held out, "
            f"k={self.prior.num_segments}, features of {self.model.backbone.name}{stand_in}, "
            f"{self.process.world_size} x {self.process.device}, from step {self.step}"
        )

    def _request_stop(self, *_: object) -> None:
        self.stop_requested = True


# What a run may change when it goes on.
_FREE = ("out", "max_steps", "log_steps", "image_steps", "checkpoint_steps", "validation_steps")
_FREE += ("keep", "data.workers")


def _check_same_run(last: Checkpoint, config: TrainConfig) -> None:
    """Refuse to go on with another configuration than the checkpoint's."""
    from omegaconf import OmegaConf

    saved = OmegaConf.create(checkpoint.load_config(last.folder / "warp_net.safetensors"))
    asked = OmegaConf.create(as_yaml(config))
    differing = [
        name
        for name in sorted({*_names(saved), *_names(asked)} - {*_FREE})
        if OmegaConf.select(saved, name) != OmegaConf.select(asked, name)
    ]
    if differing:
        raise ValueError(
            f"{last.folder}: expected the configuration of this checkpoint, got another "
            f"{', '.join(differing)}; choose another out, or these as they were"
        )


def _names(config: object, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all values."""
    for key in config:
        value = config[key]
        if hasattr(value, "keys"):
            yield from _names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"

"""What a configuration stands for: photos, backbone, prior, networks, optimisers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import StepLR

from ..data import ColorizationPairs, Pair, read_manifest
from ..losses import GeneratorLoss
from ..model import SPColor
from ..networks import Backbone, ColorVidNet, Discriminator, WarpNet
from ..networks.conversion import (
    Conversion,
    color_vid_net_from_earlier_work,
    discriminator_from_earlier_work,
    warp_net_from_earlier_work,
)
from ..networks.published import find
from ..networks.weights import load_into, load_state
from ..prior.centroids import CentroidPrior
from ..prior.tensor import GlobalPrior, TensorPrior
from .classes import prior_rgb
from .config import NetworkConfig, PriorConfig, PriorKind, TrainConfig
from .distributed import Process, barrier, global_mean

# About so many photos give features that the clusters are fitted to.
_PHOTOS_FOR_CLUSTERS = 256


def build_pairs(
    config: TrainConfig, process: Process
) -> tuple[ColorizationPairs, ColorizationPairs]:
    """Return the pairs for training and for validation; the first process writes absent photos.

    Raises:
        FileNotFoundError, ValueError: a manifest or photo that is not there, or no manifest.
        OSError: photos cannot be written.
    """
    data = config.data
    manifest, validation = data.manifest, data.validation
    # `spcolor prepare` holds out photos itself.
    is_split = manifest is not None and Path(manifest).suffix == ".parquet"
    if manifest is None or (validation is None and not is_split):
        installed = _installed_photos(Path(config.out) / "photos", process)
        manifest = manifest or installed / "train.csv"
        validation = validation or installed / "validation.csv"
    if validation is None:
        targets = dict.fromkeys(pair.target for pair in read_manifest(manifest, "held-out"))
        held_out = [Pair(target) for target in targets]
    else:
        held_out = read_manifest(validation)
    common = {
        "size": data.image_size,
        "self_reference_area": data.self_reference_area,
        "in_memory": data.in_memory,
        "seed": config.seed,
    }
    train = ColorizationPairs(
        read_manifest(manifest, "train" if is_split else None),
        self_reference_probability=data.self_reference_probability,
        old_photo_probability=data.old_photo_probability,
        **common,
    )
    return train, ColorizationPairs(held_out, self_reference_probability=0, **common)


def _installed_photos(folder: Path, process: Process) -> Path:
    """Return the folder of the installed photos, which the first process writes if it is absent."""
    if process.is_first and not folder.is_dir():
        # It decodes clips, for which those who bring photos need not install anything.
        from ..data.installed import write_installed_photos

        # Complete or absent, like a checkpoint.
        partial = folder.with_name("photos.partial")
        write_installed_photos(partial)
        partial.rename(folder)
    barrier()
    return folder


def build_prior(
    config: PriorConfig, photos: ColorizationPairs | None = None, seed: int = 0
) -> TensorPrior:
    """Return the semantic prior.

    Args:
        config: which prior.
        photos: what clusters are fitted to, where `config.weights` names none; without photos they
            are 0, to be loaded.
        seed: of the clusters.

    Raises:
        FileNotFoundError, ValueError: weights that are not there, or of another prior.
    """
    if config.kind is PriorKind.none:
        return GlobalPrior()
    if config.kind is PriorKind.clusters:
        if config.weights is not None:
            return CentroidPrior.load(config.weights, config.num_segments)
        if photos is None:
            return CentroidPrior.empty(config.num_segments)
        some = range(0, len(photos), max(1, len(photos) // _PHOTOS_FOR_CLUSTERS))
        samples = map(photos.__getitem__, some)
        seen = (prior_rgb(x.luminance[None], x.ab[None], config.target) for x in samples)
        return CentroidPrior.fit(seen, config.num_segments, seed=seed)
    # STEGO's network takes seconds to import and to build.
    from ..networks.stego import Stego
    from ..prior.stego import StegoPrior

    path = find("cocostuff27_vit_base_5", config.weights)
    return StegoPrior(Stego.from_checkpoint(path, config.num_segments))


def build_generator(
    config: NetworkConfig, backbone: Backbone, num_segments: int, prefix: str = ""
) -> SPColor:
    """Return the generator, with fresh weights or those of `initial` or of the earlier work.

    Args:
        config: sizes, and where weights come from.
        backbone: frozen.
        num_segments: number of classes K.
        prefix: of the names of the files in `initial`.

    Raises:
        FileNotFoundError, ValueError: weights that are not there, or of other networks.
    """
    warp_net = WarpNet(backbone.correspondence_channels, config.channels)
    color_net = ColorVidNet(width=config.color_width)
    if config.residual:
        # At first the result is the warped colour.
        nn.init.zeros_(color_net.conv10_ab.weight)
        nn.init.zeros_(color_net.conv10_ab.bias)
    if config.from_earlier_work:
        _convert(warp_net, "nonlocal_net_iter_76000", warp_net_from_earlier_work)
        _convert(color_net, "colornet_iter_76000", color_vid_net_from_earlier_work)
    if config.initial is not None:
        for module, name in ((warp_net, "warp_net"), (color_net, "color_net")):
            path = Path(config.initial) / f"{prefix}{name}.safetensors"
            load_into(module, load_state(path), source=str(path))
    return SPColor(
        backbone,
        warp_net,
        color_net,
        num_segments=num_segments,
        anchored=config.anchored,
        gray_reference=config.gray_reference,
        residual=config.residual,
        temperature=config.temperature,
        center=config.center,
    )


def build_discriminator(config: TrainConfig) -> Discriminator:
    """Return the discriminator, with fresh weights or those of the earlier work.

    Raises:
        FileNotFoundError, ValueError: weights that are not there, or of another network.
    """
    discriminator = Discriminator(config.network.discriminator_width, config.data.image_size)
    if config.network.from_earlier_work:
        _convert(discriminator, "discriminator_iter_76000", discriminator_from_earlier_work)
    return discriminator


def _convert(
    module: nn.Module, name: str, convert: Callable[[Mapping[str, Tensor]], Conversion]
) -> None:
    """Load a file of the earlier work, converted, over fresh weights."""
    path = find(name)
    converted = convert(load_state(path)).state
    load_into(module, module.state_dict() | converted, source=str(path))


def build_loss(config: TrainConfig) -> GeneratorLoss:
    """Return the generator's loss."""
    loss = config.loss
    return GeneratorLoss(
        loss.weights,
        masked=loss.masked,
        l1_published_scale=loss.l1_published_scale,
        batch_mean=global_mean if loss.global_statistics else torch.mean,
    )


class Optimizer:
    """Adam with its schedule, as one thing to step and to save.

    Args:
        config: of the moments and the schedule.
        groups: parameters and learning rate of each group.
        options: further ones of `torch.optim.Adam`.
    """

    def __init__(
        self, config: TrainConfig, groups: Sequence[tuple[nn.Module, float]], **options: object
    ) -> None:
        common = config.optimizer
        self.adam = Adam(
            [{"params": list(module.parameters()), "lr": rate} for module, rate in groups],
            betas=(common.beta1, common.beta2),
            **options,
        )
        self.schedule = StepLR(self.adam, common.decay_steps, common.decay)

    def zero_grad(self) -> None:
        self.adam.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update the parameters, then the learning rate."""
        self.adam.step()
        self.schedule.step()

    def state_dict(self) -> dict:
        return {"adam": self.adam.state_dict(), "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Continue as `state_dict` was; ValueError if a moment lacks its parameter's shape."""
        self.adam.load_state_dict(state["adam"])
        self.schedule.load_state_dict(state["schedule"])
        # Adam itself would find out in its next step, or never.
        for parameter, moments in self.adam.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                if moments[name].shape != parameter.shape:
                    raise ValueError(
                        f"{name}: expected shape {list(parameter.shape)}, "
                        f"got {list(moments[name].shape)}"
                    )

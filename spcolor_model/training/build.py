"""What a configuration stands for: photos, backbone, prior, networks, optimisers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import StepLR

from ..data import ColorizationPairs, read_manifest
from ..data.installed import write_installed_photos
from ..losses import GeneratorLoss
from ..model import SPColor
from ..networks import VGG19, Backbone, ColorVidNet, Discriminator, EfficientNetLite0, WarpNet
from ..networks.conversion import (
    color_vid_net_from_earlier_work,
    discriminator_from_earlier_work,
    warp_net_from_earlier_work,
)
from ..networks.published import find
from ..networks.weights import load_into, load_state
from ..prior.centroids import CentroidPrior, semantic_features
from ..prior.tensor import GlobalPrior, TensorPrior
from .classes import prior_rgb
from .config import BackboneName, NetworkConfig, PriorConfig, PriorKind, TrainConfig
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
    folder = Path(config.out) / "photos"
    given = [data.manifest or folder / "train.csv", data.validation or folder / "validation.csv"]
    if None in (data.manifest, data.validation):
        if process.is_first and not folder.is_dir():
            # Complete or absent, like a checkpoint.
            partial = folder.with_name("photos.partial")
            write_installed_photos(partial)
            partial.rename(folder)
        barrier()
    train, validation = (
        ColorizationPairs(
            read_manifest(path),
            data.image_size,
            self_reference_probability=probability,
            seed=config.seed,
        )
        for path, probability in zip(given, (data.self_reference_probability, 0), strict=True)
    )
    return train, validation


def build_backbone(config: NetworkConfig) -> Backbone:
    """Return the frozen feature network with its weights.

    Raises:
        FileNotFoundError, ValueError: weights that are not there or not VGG-19's.
    """
    if config.backbone is BackboneName.efficientnet_lite0:
        return EfficientNetLite0()
    backbone = VGG19("caffe")
    path = find("vgg19_conv", config.backbone_weights)
    load_into(backbone, load_state(path), source=str(path))
    return backbone


def build_prior(
    config: PriorConfig, photos: ColorizationPairs, seed: int, *, fit: bool = True
) -> TensorPrior:
    """Return the semantic prior.

    Args:
        config: which prior.
        photos: of the training set.
        seed: of the clusters.
        fit: whether clusters are fitted to the photos; else they are 0, to be loaded.
    """
    if config.kind is PriorKind.none:
        return GlobalPrior()
    if config.kind is PriorKind.clusters:
        if not fit:
            channels = semantic_features(torch.zeros(1, 3, 32, 32)).shape[1]
            return CentroidPrior(torch.zeros(config.num_segments, channels))
        some = range(0, len(photos), max(1, len(photos) // _PHOTOS_FOR_CLUSTERS))
        samples = map(photos.__getitem__, some)
        seen = (prior_rgb(x.luminance[None], x.ab[None], config.target) for x in samples)
        return CentroidPrior.fit(seen, config.num_segments, seed=seed)
    # STEGO's network takes seconds to import and to build.
    from ..networks.stego import Stego
    from ..prior.stego import StegoPrior

    path = find("cocostuff27_vit_base_5", config.weights)
    return StegoPrior(Stego.from_checkpoint(path, config.num_segments))


def build_networks(
    config: TrainConfig, backbone: Backbone, num_segments: int
) -> tuple[SPColor, Discriminator]:
    """Return generator and discriminator, with fresh weights or those of the earlier work."""
    network = config.network
    warp_net = WarpNet(backbone.correspondence_channels, network.channels)
    color_net = ColorVidNet(width=network.color_width)
    discriminator = Discriminator(network.discriminator_width, config.data.image_size)
    if network.from_earlier_work:
        for module, name, convert in (
            (warp_net, "nonlocal_net_iter_76000", warp_net_from_earlier_work),
            (color_net, "colornet_iter_76000", color_vid_net_from_earlier_work),
            (discriminator, "discriminator_iter_76000", discriminator_from_earlier_work),
        ):
            path = find(name)
            converted = convert(load_state(path)).state
            load_into(module, module.state_dict() | converted, source=str(path))
    model = SPColor(
        backbone,
        warp_net,
        color_net,
        num_segments=num_segments,
        temperature=network.temperature,
        center=network.center,
    )
    return model, discriminator


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

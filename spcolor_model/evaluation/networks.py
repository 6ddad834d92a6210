"""Networks that judge pictures: the usual ones, or a packaged one in their place.

Dimensions: B pictures, C channels of the features, H rows and W columns of a picture, S rows and
columns of a network's input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchvision import models
from torchvision.models import AlexNet_Weights, Inception_V3_Weights, ResNet101_Weights
from torchvision.models._api import WeightsEnum

from ..features import network, network_input
from ..networks import EfficientNetLite0
from .protocols import CLASSIFIED_SIZE, STANDARD, Protocol

CHOICES = ("auto", "inception", "efficientnet_lite0")
STAND_IN = "efficientnet_lite0"


class Features(NamedTuple):
    """What FID and KID compare.

    Attributes:
        name: of the network.
        size: S of its input.
        channels: C.
        extract: from [B, 3, S, S] in 0..1 and a protocol to [B, C].
    """

    name: str
    size: int
    channels: int
    extract: Callable[[Tensor, Protocol], Tensor]


class Classifier(NamedTuple):
    """From [B, 3, 224, 224] in 0..1 to logits [B, 1000] of the ImageNet classes."""

    name: str
    classify: Callable[[Tensor], Tensor]


class Perceptual(NamedTuple):
    """From two pictures [1, 3, H, W] in 0..1 to their distance []."""

    name: str
    distance: Callable[[Tensor, Tensor], Tensor]


class Networks(NamedTuple):
    """One of each kind, on a device."""

    features: Features
    classifier: Classifier
    perceptual: Perceptual
    device: torch.device


def find_networks(choice: str = "auto", device: torch.device | str | None = None) -> Networks:
    """Return the networks of a choice.

    "inception" is Inception-v3 for FID and KID, ResNet-101 for Top-1 and Top-5, and LPIPS over
    AlexNet, all of torchvision, which downloads what is not in torch.hub's cache.
    "efficientnet_lite0" is the network that comes as a package, for all three. "auto" takes of the
    usual ones those that are in the cache, and downloads nothing.

    Args:
        choice: one of `CHOICES`.
        device: where they compute; a GPU where None and there is one.

    Raises:
        ValueError: another choice.
        FileNotFoundError: weights that could not be downloaded; says where they come from.

    Example:
        >>> find_networks("efficientnet_lite0").features.name
        'efficientnet_lite0'
    """
    if choice not in CHOICES:
        expected = ", ".join(map(repr, CHOICES))
        raise ValueError(f"features: expected one of {expected}, got {choice!r}")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    made = [
        make(device) if _is_taken(choice, weights) else stand_in(device)
        for weights, make, stand_in in (
            (Inception_V3_Weights.IMAGENET1K_V1, _inception, _packaged_features),
            (ResNet101_Weights.IMAGENET1K_V1, _resnet, _packaged_classifier),
            (AlexNet_Weights.IMAGENET1K_V1, _lpips, _packaged_perceptual),
        )
    ]
    return Networks(*made, device)


def _is_taken(choice: str, weights: WeightsEnum) -> bool:
    """Tell whether the usual network is taken; asked for by name, its weights must be there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if choice == "inception" and not path.is_file():
        try:
            weights.get_state_dict(check_hash=True)
        except (OSError, RuntimeError) as error:
            raise FileNotFoundError(
                f"{path}: no such file, and {weights.url} failed ({error}); "
                f"torchvision publishes these weights"
            ) from error
    return choice != STAND_IN and path.is_file()


def _inception(device: torch.device) -> Features:
    module = models.inception_v3(weights=Inception_V3_Weights.IMAGENET1K_V1)
    return inception_features(module.to(device))


def inception_features(module: models.Inception3) -> Features:
    """Return the average of Inception-v3's last maps (Mixed_7c) as features.

    Args:
        module: torchvision's, with `transform_input` as of its weights; its classifier is removed.

    Example:
        >>> module = models.inception_v3(transform_input=True, init_weights=False)
        >>> inception_features(module).channels
        2048
    """
    channels = module.fc.in_features
    module.fc = nn.Identity()
    module.eval().requires_grad_(False)

    def extract(images: Tensor, protocol: Protocol) -> Tensor:
        return module(_normalised(images, protocol.mean, protocol.std))

    return Features("inception_v3", 299, channels, extract)


def _resnet(device: torch.device) -> Classifier:
    module = models.resnet101(weights=ResNet101_Weights.IMAGENET1K_V1)
    module.to(device).eval().requires_grad_(False)
    return Classifier(
        "resnet101", lambda images: module(_normalised(images, STANDARD.mean, STANDARD.std))
    )


def _lpips(device: torch.device) -> Perceptual:
    metric = LearnedPerceptualImagePatchSimilarity("alex", normalize=True).to(device)
    return Perceptual("alexnet", metric)


def _packaged_features(device: torch.device) -> Features:
    module = EfficientNetLite0().to(device).network

    def extract(images: Tensor, _protocol: Protocol) -> Tensor:
        return module.forward_head(module.forward_features(network_input(images)), pre_logits=True)

    return Features(STAND_IN, CLASSIFIED_SIZE, network().num_features, extract)


def _packaged_classifier(device: torch.device) -> Classifier:
    module = EfficientNetLite0().to(device).network
    return Classifier(STAND_IN, lambda images: module(network_input(images)))


def _packaged_perceptual(device: torch.device) -> Perceptual:
    """LPIPS's distance before anything of it is learnt, over the five maps of the backbone."""
    backbone = EfficientNetLite0().to(device)

    def distance(one: Tensor, other: Tensor) -> Tensor:
        pairs = zip(backbone(one), backbone(other), strict=True)
        differences = (F.normalize(x, dim=1) - F.normalize(y, dim=1) for x, y in pairs)
        return sum(x.square().sum(dim=1).mean() for x in differences)

    return Perceptual(STAND_IN, distance)


def _normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    mean, std = (images.new_tensor(x)[:, None, None] for x in (mean, std))
    return (images - mean) / std

"""Configuration of a training run: presets, a YAML file of one's own, and single values.

`preset + overrides` is one `TrainConfig`, checked by OmegaConf: an unknown name or a value of
another type is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from pathlib import Path

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..losses import LossWeights
from ..networks import BackboneName

PRESETS = Path(__file__).parent / "presets"

_LEAST = {
    "seed": 0,
    "max_steps": 0,
    "luminance_noise": 0,
    "data.workers": 0,
    "optimizer.warp_lr": 0,
    "optimizer.color_lr": 0,
    "optimizer.discriminator_lr": 0,
    "optimizer.decay": 0,
    "optimizer.decay_steps": 1,
    "network.channels": 1,
    "network.color_width": 1,
    "network.discriminator_width": 1,
    "prior.num_segments": 1,
    "batch_size": 1,
    "accumulate": 1,
    "log_steps": 1,
    "image_steps": 1,
    "checkpoint_steps": 1,
    "validation_steps": 1,
    "keep": 1,
}


class PriorKind(Enum):
    """Where classes come from; `none` is one class, the paper's "non-local"."""

    stego = "stego"
    clusters = "clusters"
    none = "none"


class Seen(Enum):
    """What of a photo the prior sees."""

    gray = "gray"
    color = "color"


@dataclass
class DataConfig:
    """Photos. Without a manifest, those that installed packages contain.

    One of `spcolor prepare` serves for both: what is held out is validated with itself as the
    reference, as its true colours are known. `in_memory` keeps small data sets there. `classes` is
    a folder that `training/store_classes.py` filled.
    """

    manifest: str | None = None
    validation: str | None = None
    classes: str | None = None
    image_size: int = 256
    self_reference_probability: float = 0.2
    self_reference_area: float = 0.98
    old_photo_probability: float = 0.0
    in_memory: bool = False
    workers: int = 4


@dataclass
class NetworkConfig:
    """Networks. `backbone_weights` and the like are files; None is the usual place or none.

    `initial` is a checkpoint folder whose generator a fresh run starts from.
    """

    backbone: BackboneName = BackboneName.vgg19
    backbone_weights: str | None = None
    channels: int = 256
    color_width: int = 64
    discriminator_width: int = 64
    temperature: float = 0.01
    center: bool = True
    anchored: bool = False
    gray_reference: bool = False
    residual: bool = False
    from_earlier_work: bool = False
    initial: str | None = None


@dataclass
class PriorConfig:
    """Semantic prior. `weights` is a file of STEGO's, or the clusters of an earlier run."""

    kind: PriorKind = PriorKind.stego
    num_segments: int = 22
    weights: str | None = None
    target: Seen = Seen.gray
    reference: Seen = Seen.color


@dataclass
class LossConfig:
    """`weights` as in `LossWeights`; `masked` is SMP, else the plain perceptual loss.

    `global_statistics`: batch statistics over all ranks. The published code keeps them local, and
    divides its L1 by the batch once more (`l1_published_scale`).
    """

    weights: LossWeights = field(default_factory=LossWeights)
    masked: bool = True
    l1_published_scale: bool = False
    global_statistics: bool = True


@dataclass
class OptimizerConfig:
    """Adam, and a learning rate that falls by `decay` every `decay_steps`.

    `eps` and `amsgrad` are the generator's; the discriminator's are PyTorch's defaults.
    """

    warp_lr: float = 2e-5
    color_lr: float = 2e-5
    discriminator_lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    eps: float = 1e-8
    amsgrad: bool = False
    decay_steps: int = 100_000
    decay: float = 0.1


@dataclass
class TrainConfig:
    """All of a run. Steps count updates of the generator.

    Attributes:
        name: of the preset.
        out: folder of checkpoints, logs and validation pictures.
        batch_size: of one process and one pass; `accumulate` passes make a step.
        luminance_noise: standard deviation, in units of L.
        ema: decay of an average of the generator's weights, or None.
        keep: number of checkpoints that stay.
    """

    name: str = MISSING
    out: str = "out/train"
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    seed: int = 0
    batch_size: int = 8
    accumulate: int = 1
    max_steps: int = 120_000
    luminance_noise: float = 2.0
    bf16: bool = False
    compile: bool = False
    ema: float | None = None
    log_steps: int = 10
    image_steps: int = 1000
    checkpoint_steps: int = 2000
    validation_steps: int = 5000
    keep: int = 3


def load_config(preset: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Return a preset or a YAML file, changed by overrides.

    Args:
        preset: "paper", "official", "small", or the path of a YAML file with the fields of
            `TrainConfig`.
        overrides: "name=value", with dots, such as "loss.weights.l1=1".

    Raises:
        FileNotFoundError: no such preset or file.
        ValueError: a name that there is not, a value of another type, or one out of range.

    Example:
        >>> load_config("small", ["max_steps=200"]).max_steps
        200
    """
    names = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    path = PRESETS / f"{preset}.yaml" if preset in names else Path(preset)
    if not path.is_file():
        raise FileNotFoundError(
            f"config: expected one of {', '.join(names)} or a YAML file, got {preset}"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"config: {error}") from None
    return parse_config(text, overrides, name=path.stem)


def parse_config(
    text: str, overrides: Sequence[str] = (), *, name: str = MISSING, source: str = "config"
) -> TrainConfig:
    """Return the configuration of a YAML text, changed by overrides.

    Args:
        text: with the fields of `TrainConfig`.
        overrides: as in `load_config`.
        name: of the preset, if the text does not give one.
        source: what an error calls the text.

    Raises:
        ValueError: as `load_config`, or the text is no YAML.

    Example:
        >>> parse_config(as_yaml(config)) == config
        True
    """
    try:
        config = OmegaConf.merge(
            OmegaConf.structured(TrainConfig(name=name)),
            OmegaConf.create(text),
            OmegaConf.from_dotlist(list(overrides)),
        )
        found = OmegaConf.to_object(config)
    except (OmegaConfBaseException, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{source}: {_message(error)}") from None
    _check(found)
    return found


def as_yaml(config: TrainConfig) -> str:
    """Return a configuration as the YAML text that `load_config` reads."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _message(error: Exception) -> str:
    """Return what went wrong on one line, after the name that OmegaConf keeps apart."""
    name = getattr(error, "full_key", None)
    text = " ".join(str(error).partition("full_key:")[0].split())
    return f"{name}: {text}" if name else text


def _check(config: TrainConfig) -> None:
    for name, least in _LEAST.items():
        value = attrgetter(name)(config)
        # NaN compares with nothing.
        if not least <= value < math.inf:
            raise ValueError(f"{name}: expected a finite number of at least {least}, got {value}")
    if config.data.image_size < 64 or config.data.image_size % 32:
        raise ValueError(
            f"data.image_size: expected a multiple of 32, at least 64, got {config.data.image_size}"
        )
    if config.ema is not None and not 0 < config.ema < 1:
        raise ValueError(f"ema: expected a number between 0 and 1, got {config.ema}")
    if config.network.from_earlier_work and config.network.initial is not None:
        raise ValueError(
            f"network.initial: expected none with network.from_earlier_work, "
            f"got {config.network.initial}"
        )
    if config.prior.kind is PriorKind.none and config.prior.num_segments != 1:
        raise ValueError(
            f"prior.num_segments: expected 1 for prior.kind=none, got {config.prior.num_segments}"
        )

"""Runs of the training code that take a second: tiny networks, five small photos, one class."""

import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from subprocesses import ROOT
from torch import Tensor

pytest.importorskip("omegaconf")
sys.path.insert(0, str(ROOT))  # for train.py

from model_photos import chelsea, coffee, one_thread  # noqa: F401
from PIL import Image
from safetensors.torch import load_file

from spcolor_model.data import Pair, Sample, write_manifest
from spcolor_model.features import network
from spcolor_model.training.config import TrainConfig, load_config
from spcolor_model.training.distributed import Process
from spcolor_model.training.step import Pass
from spcolor_model.training.trainer import Trainer

TINY = (
    "data.image_size=64",
    "data.workers=0",
    "data.in_memory=false",
    "data.old_photo_probability=0",
    "ema=null",
    "loss.weights.warp=0",
    "network.anchored=false",
    "network.gray_reference=false",
    "network.residual=false",
    "network.channels=16",
    "network.color_width=4",
    "network.discriminator_width=4",
    "prior.kind=none",
    "prior.num_segments=1",
    "batch_size=2",
    "max_steps=3",
    "log_steps=1",
)
ALONE = Process(0, 1, torch.device("cpu"))


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """A folder with `train.csv`, four pairs, and `validation.csv`, two others."""
    folder = tmp_path_factory.mktemp("photos")
    pictures = [coffee(), chelsea(), coffee((100, 80)), chelsea((80, 80)), coffee((70, 90))]
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, rgb in zip(paths, pictures, strict=True):
        Image.fromarray(rgb).save(path)
    write_manifest(folder / "train.csv", [Pair(*two) for two in pairwise(paths)])
    write_manifest(folder / "validation.csv", [Pair(paths[0], paths[2]), Pair(paths[3], paths[1])])
    return folder


def overrides(photos: Path, out: Path, *more: str) -> list[str]:
    """Return the values of a tiny run, as `train.py` takes them."""
    manifests = (f"data.manifest={photos}/train.csv", f"data.validation={photos}/validation.csv")
    return [*TINY, *manifests, f"out={out}", *more]


def tiny(photos: Path, out: Path, *more: str) -> TrainConfig:
    return load_config("small", overrides(photos, out, *more))


def trainer(photos: Path, out: Path, *more: str, resume: bool = True) -> Trainer:
    return Trainer(tiny(photos, out, *more), ALONE, resume=resume)


class PreciseTrainer(Trainer):
    """A trainer in float64, in which rounding does not grow to what a mistake would make."""

    def __init__(self, config: TrainConfig, process: Process) -> None:
        network()  # which all share stays in float32
        torch.set_default_dtype(torch.float64)
        try:
            super().__init__(config, process)
        finally:
            torch.set_default_dtype(torch.float32)
        self.model.backbone.double()
        update = self.update
        self.update = lambda passes: update([_double(one) for one in passes])


def _double(one: Pass) -> Pass:
    return one._replace(
        batch=Sample(*(x.double() if x.is_floating_point() else x for x in one.batch)),
        noise=one.noise.double(),
    )


def train(photos: Path, out: Path, *more: str) -> Path:
    """Train to the end; return the folder of the last checkpoint."""
    trainer(photos, out, *more).run()
    return checkpoints(out)[-1]


def checkpoints(out: Path) -> list[Path]:
    """Return everything beside each other in the folder of checkpoints."""
    return sorted((out / "checkpoints").iterdir())


@pytest.fixture(scope="session")
def finished(photos, tmp_path_factory) -> Path:
    """A run of two steps, which tests copy."""
    out = tmp_path_factory.mktemp("finished") / "out"
    train(photos, out, "max_steps=2")
    return out


@pytest.fixture
def out(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out"))


def names(out: Path) -> list[str]:
    return [path.name for path in checkpoints(out)]


def contents(out: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(checkpoints(out)[-1].iterdir())}


def weights(folder: Path) -> dict[str, Tensor]:
    """Return all weights of a checkpoint, by file and name."""
    return {
        f"{path.stem}.{name}": x
        for path in sorted(folder.glob("*.safetensors"))
        for name, x in load_file(path).items()
    }


def state(folder: Path) -> dict:
    return torch.load(folder / "state.pt", weights_only=True)


def distance(
    actual: dict[str, Tensor], expected: dict[str, Tensor], start: dict[str, Tensor] | None = None
) -> float:
    """Return |actual - expected| / |expected - start|: of updates, where start is given."""
    assert actual.keys() == expected.keys()
    start = start or {name: torch.zeros_like(x) for name, x in expected.items()}
    error, size = (
        torch.cat([(x[name].double() - y[name].double()).flatten() for name in expected]).norm()
        for x, y in ((actual, expected), (expected, start))
    )
    return float(error / size)


def assert_same(actual: object, expected: object) -> None:
    """Check that containers, numbers and tensors are equal to the bit."""
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(actual[key], value)
    elif isinstance(expected, (list, tuple)):
        for x, y in zip(actual, expected, strict=True):
            assert_same(x, y)
    elif isinstance(expected, Tensor):
        assert torch.equal(actual, expected)
    else:
        assert actual == expected

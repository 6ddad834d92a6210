"""Runs of two processes in float64, or unlucky: `torchrun rank_runs.py OUT NAME=...`.

The values are those of a tiny run. Every rank writes what it saw to `OUT/rank_<rank>.pt`.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from subprocesses import ROOT
from torch import Tensor
from training_runs import PreciseTrainer

sys.path.insert(0, str(ROOT))

from spcolor_model.losses import generator
from spcolor_model.training import checkpoint, passes
from spcolor_model.training.config import load_config
from spcolor_model.training.distributed import process
from spcolor_model.training.trainer import Trainer, TrainingStoppedError

ORIGINALS = (passes.batch_classes, checkpoint.save_file, generator.smoothness)


def without_classes(*args: object) -> tuple:
    """No position of a reference has a class."""
    target, reference = ORIGINALS[0](*args)
    return target, reference._replace(labels=torch.full_like(reference.labels, -1))


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def not_finite(ab: Tensor, *_: object) -> Tensor:
    return ab.sum() * torch.nan


def run(
    rank: int, out: Path, *more: str, kind: type = Trainer, asked_to_stop: int | None = None
) -> dict:
    """Train; return how that ended in this rank."""
    out.mkdir(exist_ok=True)
    config = load_config("small", [*sys.argv[2:], f"out={out}", *more])
    trainer, warped = kind(config, PROCESS), []
    update = trainer.update

    def watched(passes: list) -> tuple:
        terms, prediction = update(passes)
        warped.append(float(prediction.warped.abs().max()))
        if rank == asked_to_stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return terms, prediction

    trainer.update = watched
    message = ""
    try:
        trainer.run()
    except TrainingStoppedError as error:
        message = str(error)
    networks = (trainer.model, trainer.discriminator)
    state = {name: x.clone() for net in networks for name, x in net.state_dict().items()}
    return {"step": trainer.step, "warped": warped, "message": message, "weights": state}


def only_in(ranks: tuple[int, ...], rank: int, module: object, name: str, replacement: Callable):
    if rank in ranks:
        setattr(module, name, replacement)


def main(rank: int, out: Path) -> dict:
    torch.set_num_threads(1)
    found = {
        name: run(rank, out / name, *more, kind=PreciseTrainer)
        for name, more in (
            ("plain", ()),
            ("accumulated", ("accumulate=2",)),
            ("local", ("loss.global_statistics=false",)),
        )
    }
    for name, ranks in (("first", (0,)), ("both", (0, 1))):
        only_in(ranks, rank, passes, "batch_classes", without_classes)
        found[name] = run(rank, out / name)
        passes.batch_classes = ORIGINALS[0]
    found["stopped"] = run(rank, out / "stopped", asked_to_stop=1)
    only_in((0,), rank, checkpoint, "save_file", full_disk)
    found["full disk"] = run(rank, out / "full")
    checkpoint.save_file = ORIGINALS[1]
    only_in((1,), rank, generator, "smoothness", not_finite)
    found["not finite"] = run(rank, out / "nan")
    return found


if __name__ == "__main__":
    with process() as PROCESS:
        folder = Path(sys.argv[1])
        torch.save(main(PROCESS.rank, folder), folder / f"rank_{PROCESS.rank}.pt")

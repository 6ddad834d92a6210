"""What a run tells: TensorBoard scalars and pictures, and a progress bar.

Dimensions: B samples, S rows and columns of an image.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from ..losses import lab_to_rgb
from ..model import Prediction, gray
from ..sheet import class_colors
from .step import Pass

_MOST_IMAGES = 8
_COLUMNS = 4


class Log:
    """Scalars and pictures to a folder, progress to the terminal; silent in all but one process.

    Args:
        folder: of TensorBoard's files.
        first_step: steps that were made; what an interrupted run logged after them is hidden.
        max_steps: of the whole run.
        is_writing: whether this process is the one that tells.
    """

    def __init__(self, folder: Path, first_step: int, max_steps: int, *, is_writing: bool) -> None:
        self.writer = SummaryWriter(folder, purge_step=first_step + 1) if is_writing else None
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[rate]:.2f} images/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not is_writing,
        )
        self.task = self.progress.add_task(
            "train", total=max_steps, completed=first_step, rate=0.0, loss="-"
        )

    def __enter__(self) -> Log:
        self.progress.start()
        self.last_time = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
        if self.writer is not None:
            self.writer.close()

    def advance(self, images: int) -> None:
        """Count a step of so many images, and show how many there are in a second."""
        now = time.monotonic()
        self.progress.update(self.task, advance=1, rate=images / (now - self.last_time))
        self.last_time = now

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        if self.writer is not None:
            # A path may hold brackets, and must not be broken.
            self.progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Write numbers under group/name."""
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, step)

    def losses(self, terms: Mapping[str, float], step: int) -> None:
        """Write losses, and show them: in the bar, or on a line of their own off a terminal."""
        self.scalars("loss", terms, step)
        self.progress.update(self.task, loss=f"{terms['total']:.2f}")
        if not self.progress.console.is_terminal:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
            rate = self.progress.tasks[self.task].fields["rate"]
            self.say(f"step {step}: {shown}; {rate:.2f} images/s")

    def images(self, one: Pass, prediction: Prediction, step: int) -> None:
        """Write the pictures of a pass: what was seen, what came out, and the classes."""
        if self.writer is not None:
            for name, maps in pictures(one, prediction).items():
                grid = make_grid(maps[:_MOST_IMAGES].float().cpu(), nrow=_COLUMNS)
                self.writer.add_image(name, grid, step)


def pictures(one: Pass, prediction: Prediction) -> dict[str, Tensor]:
    """Return each picture of a pass, [B, 3, S, S] in 0..1."""
    batch = one.batch
    size = batch.luminance.shape[2:]
    classes, reference_classes = (
        _class_picture(labels, size)
        for labels in (one.classes.labels, one.reference_classes.labels)
    )
    warped_ab, similarity = (
        F.interpolate(maps.float(), size) for maps in prediction.warped.split([2, 1], dim=1)
    )
    return {
        "target, seen": gray(batch.seen_luminance),
        "target": _picture(batch.luminance, batch.ab),
        "reference": _picture(batch.reference_luminance, batch.reference_ab),
        "prediction": _picture(batch.luminance, prediction.ab),
        "warped": _picture(batch.luminance, warped_ab),
        "classes": classes,
        "classes by similarity": classes * similarity.clamp(0, 1),
        "classes of the reference": reference_classes,
    }


def _picture(luminance: Tensor, ab: Tensor) -> Tensor:
    return lab_to_rgb(torch.cat([luminance, ab.float()], dim=1))


def _class_picture(labels: Tensor, size: torch.Size) -> Tensor:
    """Return the colours of classes [B, h, w] as [B, 3, S, S] in 0..1."""
    colors = torch.from_numpy(class_colors(labels.cpu().numpy())).permute(0, 3, 1, 2) / 255
    return F.interpolate(colors, size).to(labels.device)

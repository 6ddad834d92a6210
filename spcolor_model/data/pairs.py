"""Samples for training, and the order in which they come.

Both are functions of seed, epoch and index alone: the number of worker processes, the number of
ranks and where a run was interrupted change nothing.

Dimensions: B samples of a batch, S rows and columns of a sample. L is in 0..100 as in
`spcolor_model.color`; networks that want it around 0 subtract 50 themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..color import rgb_to_lab
from ..images import read_image
from .geometry import check_count, crop_resize, self_reference
from .manifest import Pair
from .old_photos import old_luminance
from .stored_classes import REFERENCE, TARGET, StoredClasses

# About a megabyte each, at 256 pixels.
_PHOTOS_IN_MEMORY = 1024


class Sample(NamedTuple):
    """A target, its reference, and whether both are one photo; a batch has B in front.

    Attributes:
        seen_luminance: [1, S, S] float32, what is seen of the target: L, or that of an old print.
        luminance: [1, S, S] float32, L of the target in 0..100.
        ab: [2, S, S] float32, the target's own colours, about -128..127: the truth.
        reference_luminance: [1, S, S] float32.
        reference_ab: [2, S, S] float32.
        is_self: bool; the reference is the target, distorted.
        classes: [2, h, w] float32, labels and confidence of the target, if they are stored: NaN
            for one that is seen as an old print, and h = w = 0 where none are.
        reference_classes: [2, h, w] of the reference, likewise; NaN where it is the target.
    """

    seen_luminance: Tensor
    luminance: Tensor
    ab: Tensor
    reference_luminance: Tensor
    reference_ab: Tensor
    is_self: Tensor
    classes: Tensor
    reference_classes: Tensor


class ColorizationPairs(Dataset[Sample]):
    """Pairs of photos as samples of one size.

    With probability p the reference is the target itself, mirrored and cropped a little
    (`self_reference`); the L1 loss is for these samples alone. A pair without a reference always is
    one. With probability q the target is seen as an old photograph (`old_luminance`), while its
    truth stays what it is. `pairs[epoch, index]` draws anew in each epoch, and `pairs[index]` is
    `pairs[0, index]`.

    Args:
        pairs: as `read_manifest` returns them.
        size: S, in pixels.
        self_reference_probability: p; 0 for validation.
        self_reference_area: least share of the target that such a reference shows.
        old_photo_probability: q; 0 in the paper.
        in_memory: keep up to 1,024 photos in memory, shrunk to a short side of 2 S, which is
            quicker and changes the samples a little.
        seed: of all draws.

    Raises:
        TypeError, ValueError: no pairs, a size below 1, a probability outside 0..1 or a negative
            seed; later, naming the file, a photo that cannot be decoded.
        FileNotFoundError: later, a photo that is gone.

    Attributes:
        stored: classes of all photos, which samples then have; None at first.

    Example:
        >>> pairs = ColorizationPairs(read_manifest("photos/train.csv"))
        >>> pairs[3, 0].ab.shape
        torch.Size([2, 256, 256])

    Source: paper section IV (p = 0.2, S = 256).
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        size: int = 256,
        *,
        self_reference_probability: float = 0.2,
        self_reference_area: float = 0.98,
        old_photo_probability: float = 0.0,
        in_memory: bool = False,
        seed: int = 0,
    ) -> None:
        if not pairs:
            raise ValueError("pairs: expected at least one, got none")
        check_count("size", size)
        check_count("seed", seed, least=0)
        for name, probability in (
            ("self_reference_probability", self_reference_probability),
            ("old_photo_probability", old_photo_probability),
        ):
            if not 0 <= probability <= 1:
                raise ValueError(f"{name}: expected a number in 0..1, got {probability}")
        self.pairs = pairs
        self.size = size
        self.self_reference_probability = self_reference_probability
        self.self_reference_area = self_reference_area
        self.old_photo_probability = old_photo_probability
        self.in_memory = in_memory
        self.seed = seed
        self.stored: StoredClasses | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """Return the sample of an index, or of (epoch, index).

        Raises:
            IndexError: an index outside 0..len-1.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"index: expected 0..{len(self) - 1}, got {index}")
        pair = self.pairs[index]
        generator = _generator(self.seed, epoch, index)
        is_self = float(torch.rand((), generator=generator)) < self.self_reference_probability
        is_self = is_self or pair.reference is None
        target = self._read(pair.target)
        reference = (
            self_reference(target, generator, self.self_reference_area)
            if is_self
            else self._read(pair.reference)
        )
        target, reference = (crop_resize(rgb, self.size) for rgb in (target, reference))
        luminance, ab = _lab(target)
        is_old = float(torch.rand((), generator=generator)) < self.old_photo_probability
        seen = torch.tensor(old_luminance(target, generator))[None] if is_old else luminance
        classes = (
            self._classes(None if is_old else pair.target, TARGET),
            self._classes(None if is_self else pair.reference, REFERENCE),
        )
        return Sample(seen, luminance, ab, *_lab(reference), torch.tensor(is_self), *classes)

    def photo(self, path: Path) -> tuple[Tensor, Tensor]:
        """Return luminance [1, S, S] and ab [2, S, S] of a photo, as samples have it.

        Raises:
            FileNotFoundError, ValueError: naming the file, one that is gone or no photo.
        """
        return _lab(crop_resize(self._read(path), self.size))

    def _classes(self, photo: Path | None, role: int) -> Tensor:
        """Return the stored classes [2, h, w] of a photo; NaN for what is no photo as it is."""
        if self.stored is None:
            return torch.zeros(2, 0, 0)
        if photo is None:
            return torch.full((2, *self.stored.grid), torch.nan)
        return self.stored.of(photo, role)

    def _read(self, path: Path) -> np.ndarray:
        """Return a photo [H, W, 3]."""
        return _shrunk(path, 2 * self.size) if self.in_memory else read_image(path)


class ResumableBatchSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) for `ColorizationPairs`, from any step of a run.

    Step t takes the samples t G .. (t+1) G - 1 of its epoch's shuffled order, where the global
    batch G is batch_size * world_size, and rank r the r-th share of them: the ranks' batches, one
    after another, are the batch of a single process. Samples that do not fill a global batch are
    left out, others in each epoch.

    Args:
        num_samples: length of the data set.
        batch_size: samples of one rank at one step.
        num_steps: steps of the whole run, from 0.
        start_step: where this run begins; all there is to restore.
        seed: of the order.
        rank, world_size: which of how many processes.

    Raises:
        TypeError, ValueError: a number out of range, or fewer samples than a global batch.

    Example:
        >>> batches = ResumableBatchSampler(len(pairs), 8, 120_000, start_step=50_000)
        >>> loader = DataLoader(pairs, batch_sampler=batches, num_workers=4)
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        num_steps: int,
        *,
        start_step: int = 0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        for name, count in (("batch_size", batch_size), ("world_size", world_size)):
            check_count(name, count)
        for name, count in (
            ("num_samples", num_samples),
            ("num_steps", num_steps),
            ("start_step", start_step),
            ("seed", seed),
            ("rank", rank),
        ):
            check_count(name, count, least=0)
        if rank >= world_size:
            raise ValueError(f"rank: expected 0..{world_size - 1} (world_size - 1), got {rank}")
        if num_samples < batch_size * world_size:
            raise ValueError(
                f"num_samples: expected at least {batch_size * world_size} "
                f"(batch_size * world_size), got {num_samples}"
            )
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.start_step = start_step
        self.seed = seed
        self.rank = rank
        self.world_size = world_size

    @property
    def steps_per_epoch(self) -> int:
        return self.num_samples // (self.batch_size * self.world_size)

    def __len__(self) -> int:
        """Steps that are left."""
        return max(0, self.num_steps - self.start_step)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order_epoch = None
        for step in range(self.start_step, self.num_steps):
            epoch, position = divmod(step, self.steps_per_epoch)
            if epoch != order_epoch:
                order, order_epoch = self._order(epoch), epoch
            first = (position * self.world_size + self.rank) * self.batch_size
            yield [(epoch, index) for index in order[first : first + self.batch_size].tolist()]

    def _order(self, epoch: int) -> Tensor:
        """Return the shuffled indices [num_samples] of an epoch."""
        return torch.randperm(self.num_samples, generator=_generator(self.seed, epoch))


@lru_cache(_PHOTOS_IN_MEMORY)
def _shrunk(path: Path, size: int) -> np.ndarray:
    """Read a photo [H, W, 3]; its short side is at most `size`."""
    rgb = read_image(path)
    height, width = rgb.shape[:2]
    scale = size / min(height, width)
    if scale >= 1:
        return rgb
    return cv2.resize(
        rgb, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
    )


def _lab(rgb: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return luminance [1, S, S] and ab [2, S, S] of a photo [S, S, 3]."""
    luminance, ab = rgb_to_lab(rgb)
    return torch.tensor(luminance)[None], torch.tensor(ab).permute(2, 0, 1).contiguous()


def _generator(seed: int, *key: int) -> torch.Generator:
    """Return a generator that depends on seed and key alone, with unrelated streams for each."""
    (state,) = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state))

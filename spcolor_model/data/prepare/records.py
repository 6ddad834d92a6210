"""The record of a file: what is known of it, and of a good photo what it looks like."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from .describe import BINS, CELLS, GLOBAL_CHANNELS, LOCAL_CHANNELS, BackboneName, describe
from .examine import Reason, examine
from .scan import Found


class Settings(NamedTuple):
    """What a record depends on besides the file.

    Attributes:
        min_size: least short side, in pixels.
        features: the network that describes photos.
    """

    min_size: int = 256
    features: BackboneName = BackboneName.efficientnet_lite0


class Task(NamedTuple):
    """A file to make a record of.

    Attributes:
        found: the file.
        path: its path relative to the output folder.
        settings: of the run.
    """

    found: Found
    path: str
    settings: Settings


class Record(NamedTuple):
    """What is known of a file; from `pixels` on, null unless the reason is "kept".

    Attributes:
        path: relative to the output folder, with slashes.
        sha256: of the bytes, in hexadecimal, or None where they cannot be read.
        width, height: in pixels, upright, or None where the header does not tell.
        reason, detail: of `Examined`.
        pixels: SHA-256 of the upright RGB pixels.
        phash, whole, cells, histograms: of `Description`, arrays as bytes.
    """

    path: str
    sha256: str | None
    width: int | None
    height: int | None
    reason: str
    detail: str
    pixels: bytes | None = None
    phash: int | None = None
    whole: bytes | None = None
    cells: bytes | None = None
    histograms: bytes | None = None


class Layout(NamedTuple):
    """Shape and dtype of an array that a record has as bytes."""

    shape: tuple[int, ...]
    dtype: type[np.generic]

    @property
    def size(self) -> int:
        """Bytes."""
        return np.dtype(self.dtype).itemsize * int(np.prod(self.shape))


def layouts(features: BackboneName) -> dict[str, Layout]:
    """Return the layout of each array of a record.

    Example:
        >>> layouts(BackboneName.vgg19)["whole"].shape
        (512,)
    """
    return {
        "whole": Layout((GLOBAL_CHANNELS[features],), np.float16),
        "cells": Layout((CELLS**2, LOCAL_CHANNELS), np.float16),
        "histograms": Layout((CELLS**2, BINS), np.uint16),
    }


def make_record(task: Task) -> Record:
    """Examine a file, and describe it if it is kept.

    Raises:
        FileNotFoundError, ValueError: the network's weights are not there or damaged.

    Example:
        >>> make_record(Task(Found(Path("icon.png"), 900), "icon.png", Settings())).reason
        'small'
    """
    seen = examine(task.found, task.settings.min_size)
    facts = (_text(task.path), seen.sha256, seen.width, seen.height)
    facts += (seen.reason.value, _text(seen.detail))
    if seen.rgb is None:
        return Record(*facts)
    pixels = hashlib.sha256(str(seen.rgb.shape).encode())
    pixels.update(np.ascontiguousarray(seen.rgb))
    looks = describe(seen.rgb, task.settings.features)
    arrays = {name: getattr(looks, name).tobytes() for name in layouts(task.settings.features)}
    return Record(*facts, pixels.digest(), looks.phash, **arrays)


def lost_record(task: Task) -> Record:
    """Return the record of a file of which the worker process died."""
    detail = "the process that read it died, twice"
    return Record(_text(task.path), None, None, None, Reason.unreadable.value, detail)


def _text(text: str) -> str:
    """Return a text that UTF-8 can hold: a file's name may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()

"""Published weights: where they come from, and how a copy is found, downloaded and checked.

The downloads are the publishers' own addresses. The tests run them against local copies; the public
servers themselves were not asked.
"""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ..files import sha256

# A folder of weight files under their published names.
FOLDER_VARIABLE = "SPCOLOR_WEIGHTS"
_EARLIER_WORK = (
    "colorization_checkpoint.zip, to which the README of "
    "github.com/zhangmozhe/Deep-Exemplar-based-Video-Colorization links"
)


class Published(NamedTuple):
    """A published file of weights.

    Attributes:
        file: its name.
        origin: who publishes it, for messages.
        url: its address, or None where there is no stable one.
        sha256: the first digits of its SHA-256, or "" where the publisher states none.
    """

    file: str
    origin: str
    url: str | None = None
    sha256: str = ""


PUBLISHED = {
    "vgg19_conv": Published("vgg19_conv.pth", _EARLIER_WORK),
    "nonlocal_net_iter_76000": Published("nonlocal_net_iter_76000.pth", _EARLIER_WORK),
    "colornet_iter_76000": Published("colornet_iter_76000.pth", _EARLIER_WORK),
    "discriminator_iter_76000": Published("discriminator_iter_76000.pth", _EARLIER_WORK),
    "vgg19": Published(
        "vgg19-dcbb9e9d.pth",
        "torchvision",
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "dcbb9e9d",
    ),
    "dino_vitbase8_pretrain": Published(
        "dino_vitbase8_pretrain.pth",
        "github.com/facebookresearch/dino",
        "https://dl.fbaipublicfiles.com/dino/dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth",
    ),
    "cocostuff27_vit_base_5": Published(
        "cocostuff27_vit_base_5.ckpt",
        "github.com/mhamilton723/STEGO",
        "https://marhamilresearch4.blob.core.windows.net/stego-public/saved_models/"
        "cocostuff27_vit_base_5.ckpt",
    ),
}


def find(name: str, path: str | Path | None = None) -> Path:
    """Return the file of published weights, downloaded if there is no copy yet.

    Looked for in this order: `path`; the folder of the environment variable SPCOLOR_WEIGHTS; the
    `checkpoints` folder of `torch.hub`, which downloads go to.

    A file found by its name must have the publisher's SHA-256. Where none is published, the sum is
    written to `<file>.sha256` at the first use, and must be the same ever after.

    Args:
        name: a key of `PUBLISHED`.
        path: the file, or a folder that holds it under its published name; taken as it is.

    Raises:
        FileNotFoundError: no such file, or its download failed; says where it comes from.
        ValueError: an unknown name, or a file whose SHA-256 is another.

    Example:
        >>> state = load_state(find("vgg19_conv"))
    """
    if name not in PUBLISHED:
        expected = ", ".join(map(repr, PUBLISHED))
        raise ValueError(f"name: expected one of {expected}, got {name!r}")
    known = PUBLISHED[name]
    if path is not None:
        path = Path(path)
        path = path / known.file if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; it is published by {known.origin}")
        return path
    folders = _folders()
    copies = [folder / known.file for folder in folders if (folder / known.file).is_file()]
    path = copies[0] if copies else _download(known, folders)
    _check_sum(path, known)
    return path


def _folders() -> list[Path]:
    """Return the folders to look in; downloads go to the last."""
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    own = os.environ.get(FOLDER_VARIABLE)
    if not own:
        return [cache]
    if not Path(own).is_dir():
        raise FileNotFoundError(f"{FOLDER_VARIABLE}: expected a folder, got {own!r}")
    return [Path(own), cache]


def _download(known: Published, folders: Sequence[Path]) -> Path:
    missing = f"{known.file}: not in {', '.join(map(str, folders))}"
    hint = f"published by {known.origin}; {FOLDER_VARIABLE} may name the folder of a copy"
    if known.url is None:
        raise FileNotFoundError(f"{missing}; {hint}")
    path = folders[-1] / known.file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(known.url, str(path), hash_prefix=known.sha256 or None)
    except OSError as error:
        raise FileNotFoundError(f"{missing}; {known.url} failed ({error}); {hint}") from error
    except RuntimeError as error:
        raise ValueError(f"{known.url}: {error}") from error
    return path


def _check_sum(path: Path, known: Published) -> None:
    """Compare a file's SHA-256 with the publisher's, or with the one at its first use."""
    digest = sha256(path)
    record = path.with_name(path.name + ".sha256")
    if known.sha256:
        expected, source = known.sha256, f"published by {known.origin}"
    elif record.is_file():
        expected = record.read_text().partition(" ")[0]
        source = f"that at its first use; if it was replaced on purpose, delete {record}"
        if len(expected) != len(digest):
            raise ValueError(f"{record}: expected a SHA-256 and a file name, got {expected!r}")
    else:
        _record(record, f"{digest}  {path.name}\n")
        return
    if not digest.startswith(expected):
        raise ValueError(f"{path}: expected SHA-256 {expected} ({source}), got {digest}")


def _record(record: Path, line: str) -> None:
    """Write a file as a whole, so that no other process reads half of it."""
    part = record.with_name(f"{record.name}.{uuid.uuid4().hex}")
    try:
        part.write_text(line)
    except OSError:
        warnings.warn(f"{record}: cannot be written; a change goes unnoticed", stacklevel=4)
    else:
        part.replace(record)

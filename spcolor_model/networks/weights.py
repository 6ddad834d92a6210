"""Pretrained weights: files of them are read, running nothing that is in them, and loaded."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .published import PUBLISHED

# Where a checkpoint of more than weights keeps them; of DINO's two networks, the teacher.
_NESTED = ("state_dict", "teacher", "student", "model")
_SHOWN = 5


class _Inert:
    """Stands for every object of a checkpoint that is neither a tensor nor a container."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _empty_dict(*args: object) -> dict:
    return {}


def load_state(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint file, and run nothing that is in it.

    A file that ends in .safetensors is read as such, any other as one of `torch.save`. In both the
    tensors may be at the top, or under "state_dict" (Lightning), "teacher" (DINO), "student" or
    "model"; a prefix "module." that all names share is removed.

    Pickles are read by `torch.load(weights_only=True)`, which builds tensors and containers alone.
    Classes it does not know, such as a checkpoint's settings, are never imported: each becomes the
    same inert stand-in, with a warning that lists them.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        FileNotFoundError: no such file; says where a published one comes from.
        ValueError: a folder, or no checkpoint, or a damaged one, or one that asks for a module
            that `torch.load` refuses, such as os.

    Example:
        >>> load_state("cocostuff27_vit_base_5.ckpt")["cluster_probe.clusters"].shape
        torch.Size([27, 90])
    """
    path = Path(path)
    if not path.exists():
        origins = [known.origin for known in PUBLISHED.values() if known.file == path.name]
        hint = "".join(f"; it is published by {origin}" for origin in origins)
        raise FileNotFoundError(f"{path}: no such file{hint}")
    if not path.is_file():
        raise ValueError(f"{path}: expected a file, got a folder")
    foreign = []
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            saved = load_file(path)
        else:
            # Files from before torch 1.6 are no archives, and may hold no foreign class.
            if zipfile.is_zipfile(path):
                foreign = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
            saved = _load_pickle(path, foreign)
    # A damaged or hostile file can make a reader raise anything.
    except Exception as error:
        names = f" that names {_shorten(foreign)}" if foreign else ""
        raise ValueError(
            f"{path}: expected a checkpoint of tensors, got a file{names} that cannot be read "
            f"({type(error).__name__}): damaged, of another format, or not safe"
        ) from error
    state = _tensors(path, saved)
    if foreign:
        warnings.warn(f"{path}: read without its {_shorten(foreign)}", stacklevel=2)
    return state


def _load_pickle(path: Path, foreign: Sequence[str]) -> object:
    """Read a file of `torch.save`, in which the `foreign` names mean nothing."""
    containers = {"collections.defaultdict": _empty_dict}
    stand_ins = [(containers.get(name, _Inert), name) for name in foreign]
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(path, map_location="cpu", weights_only=True)


def _tensors(path: Path, saved: object) -> dict[str, Tensor]:
    """Return the named tensors of what a file held."""
    if isinstance(saved, Mapping):
        saved = next((saved[x] for x in _NESTED if isinstance(saved.get(x), Mapping)), saved)
        tensors = {str(name): x for name, x in saved.items() if isinstance(x, Tensor)}
        if tensors:
            shared = "module." if all(name.startswith("module.") for name in tensors) else ""
            return {name.removeprefix(shared): x for name, x in tensors.items()}
    raise ValueError(f"{path}: expected tensors by name, got {type(saved).__name__} without any")


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: str | Path,
    ignore: Sequence[str] = (),
) -> None:
    """Load tensors into a module whose names and shapes they must have exactly.

    Args:
        module: the one to load into.
        state: tensors by name, as of `load_state`.
        source: where they come from, for messages.
        ignore: a further name may be in `state` if it begins with one of these.

    Raises:
        ValueError: naming the source and what is missing, unexpected, or of another shape. The
            module is then as it was.

    Example:
        >>> load_into(vgg, load_state(path), source=path)
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in state]
    unexpected = [
        name for name in state if name not in expected and not name.startswith(tuple(ignore))
    ]
    if missing or unexpected:
        lists = {"missing": missing, "unexpected": unexpected}
        got = "; ".join(f"{len(x)} {kind}: {_shorten(x)}" for kind, x in lists.items() if x)
        raise ValueError(f"{source}: expected the tensors of {type(module).__name__}, got {got}")
    wrong = [
        f"{name}: expected shape {list(x.shape)}, got {list(state[name].shape)}"
        for name, x in expected.items()
        if x.shape != state[name].shape
    ]
    if wrong:
        raise ValueError(f"{source}: {_shorten(wrong, '; ')}")
    module.load_state_dict({name: state[name] for name in expected})


def _shorten(names: Sequence[str], separator: str = ", ") -> str:
    """Join the first few names, and count the others."""
    more = f"{separator}and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return separator.join(names[:_SHOWN]) + more

"""Tile shapes of each kernel, by architecture and kind of product.

No search runs at first use: a tile is chosen by what the host knows (types, N, M, K, device), and
`spcolor_ops.tune` replaces entries where it is asked to. `make gpu-report` compiles every entry and
says what its loop can reach.
"""

import functools
from typing import NamedTuple

import torch
import triton


class Tile(NamedTuple):
    """What one program works on."""

    rows: int  # that stay: query rows (forward, query gradient) or key rows (key gradient)
    columns: int  # of one step of its loop over the other side
    channels: int  # of the operands that are multiplied at once, at most
    num_warps: int
    num_stages: int
    gradient_channels: int = 0  # of the gradient that one program sums


class Device(NamedTuple):
    """What the choice of a tile needs to know of a device."""

    capability: tuple[int, int]
    shared_memory: int  # bytes that one program can have
    multiprocessors: int


# What CPU tensors stand for, interpreted or compiled ahead of time: an H100.
STAND_IN = Device((9, 0), 232_448, 132)

# family of architectures -> kind of product -> tile
FORWARD = {
    "sm_90": {
        "half": Tile(128, 128, 128, 4, 1),
        "tf32": Tile(64, 32, 256, 4, 2),
        "tf32x3": Tile(128, 64, 32, 4, 2),
        "ieee": Tile(64, 64, 16, 8, 1),
        "double": Tile(32, 32, 256, 4, 1),
    },
    "sm_80": {
        "half": Tile(128, 32, 64, 4, 2),
        "tf32": Tile(128, 32, 32, 4, 2),
        "tf32x3": Tile(32, 64, 32, 4, 1),
        "ieee": Tile(32, 32, 16, 4, 1),
        "double": Tile(16, 16, 256, 4, 1),
    },
    "small": {
        "half": Tile(64, 32, 64, 4, 2),
        "tf32": Tile(32, 64, 64, 4, 1),
        "tf32x3": Tile(16, 64, 32, 4, 1),
        "ieee": Tile(32, 32, 32, 4, 1),
        "double": Tile(16, 16, 32, 4, 1),
    },
}
FORWARD["sm_100"] = FORWARD["sm_90"] | {"tf32x3": Tile(64, 32, 32, 8, 1)}
_COMMON_BACKWARD = {
    "half": Tile(64, 32, 256, 4, 1, 128),
    "half tf32x3": Tile(32, 32, 256, 4, 1, 64),
    "tf32": Tile(32, 32, 256, 4, 1, 128),
    "ieee": Tile(32, 32, 16, 8, 1, 64),
    "double": Tile(16, 16, 256, 4, 1, 64),
}
BACKWARD = {
    "sm_90": _COMMON_BACKWARD
    | {
        "half": Tile(128, 32, 256, 8, 1, 256),
        "tf32x3": Tile(32, 64, 64, 4, 1, 128),
        "double": Tile(16, 32, 64, 4, 1, 64),
    },
    "sm_80": _COMMON_BACKWARD | {"tf32x3": Tile(16, 64, 64, 4, 1, 128)},
    "small": _COMMON_BACKWARD
    | {
        "tf32x3": Tile(16, 32, 64, 4, 1, 128),
        "ieee": Tile(16, 32, 16, 4, 1, 64),
        "double": Tile(16, 16, 32, 4, 1, 64),
    },
}
BACKWARD["sm_100"] = BACKWARD["sm_90"] | {
    "half": Tile(64, 32, 128, 4, 1, 128),
    "tf32x3": Tile(16, 32, 64, 4, 1, 128),
}
_SMALL_CLASSES = 4  # tiles: classes below that many waste less of smaller tiles
_MOST_SPLITS = 8
_FEWEST_WARPS = 4  # Hopper's matrix instruction is one of four warps


def device_of(device: torch.device) -> Device:
    """Return what is known of a device; STAND_IN where there is none."""
    return _cuda_device(device) if device.type == "cuda" else STAND_IN


@functools.cache
def _cuda_device(device: torch.device) -> Device:
    properties = torch.cuda.get_device_properties(device)
    shared_memory = getattr(properties, "shared_memory_per_block_optin", 65_536)
    capability = (properties.major, properties.minor)
    return Device(capability, shared_memory, properties.multi_processor_count)


def family(device: torch.device) -> str:
    """Return the row of the tables that serves a device."""
    known = device_of(device)
    if known.shared_memory < 160_000:
        return "small"
    newer = (family for family in ((10, 0), (9, 0)) if known.capability >= family)
    return "sm_{}{}".format(*next(newer, (8, 0)))


def _choose(table, device: torch.device, kind: str, class_length: float) -> Tile:
    tile = table[family(device)][kind]
    if tile.rows > 64 and class_length < _SMALL_CLASSES * tile.rows:
        return tile._replace(
            rows=tile.rows // 2,
            columns=min(tile.columns, 32),
            num_warps=max(tile.num_warps // 2, _FEWEST_WARPS),
            gradient_channels=min(tile.gradient_channels, 128),
        )
    return tile


def forward_kind(dtype: torch.dtype, precision: str) -> str:
    """Return the column of `FORWARD` for packed operands of `dtype`."""
    return {2: "half", 8: "double"}.get(dtype.itemsize, precision)


def backward_kind(dtype: torch.dtype, precision: str) -> str:
    """Return the column of `BACKWARD` for packed operands of `dtype`."""
    half = "half tf32x3" if precision == "tf32x3" else "half"
    return {2: half, 8: "double"}.get(dtype.itemsize, precision)


def forward_tile(
    device: torch.device, dtype: torch.dtype, precision: str, class_length: float
) -> Tile:
    """Return the tile of scores of packed operands of `dtype`; class_length is the mean N / K."""
    return _choose(FORWARD, device, forward_kind(dtype, precision), class_length)


def backward_tile(
    device: torch.device, dtype: torch.dtype, precision: str, class_length: float
) -> Tile:
    """Return the tile of both gradients."""
    return _choose(BACKWARD, device, backward_kind(dtype, precision), class_length)


def key_splits(device: torch.device, programs: int, columns: int) -> int:
    """Return into how many parts the keys are cut, so that few query tiles fill the device.

    A part has at least four steps of the loop: less would not pay for adding the parts up.
    """
    wanted = 2 * device_of(device).multiprocessors // max(programs, 1)
    return max(1, min(wanted, columns // 4, _MOST_SPLITS))


def channel_block(channels: int, dtype: torch.dtype) -> int:
    """Return how many channels of an operand a program holds at once: a power of two."""
    most = 512 // dtype.itemsize
    return min(most, max(16, triton.next_power_of_2(channels)))


def channel_slices(
    device: torch.device, tile: Tile, channels: int, dtype: torch.dtype
) -> dict[str, int | bool]:
    """Return the constants that say how a kernel's products walk the channels.

    A loop over few slices is unrolled, which is faster, but gives each shared memory of its own,
    in every stage of the loop over the columns.
    """
    block = min(tile.channels, channel_block(channels, dtype))
    padded = triton.cdiv(channels, block) * block
    most = 98_304 if family(device) == "small" else 131_072
    stage = (tile.rows + tile.columns) * padded * dtype.itemsize
    unrolled = stage <= most and stage * tile.num_stages <= device_of(device).shared_memory
    return {"CHANNELS": block if unrolled else min(block, 64), "UNROLLED": unrolled}

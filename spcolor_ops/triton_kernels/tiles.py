"""Tile shapes of each kernel, by the shared memory of the device and the size of an operand.

No search runs at first use: a table is chosen by what the host knows (types, N, M, K, device).
"""

import functools
from typing import NamedTuple

import torch
import triton


class Tile(NamedTuple):
    """What one program works on."""

    rows: int  # that stay: query rows (forward, query gradient) or key rows (key gradient)
    columns: int  # of one step of its loop over the other side
    num_warps: int
    num_stages: int


class Device(NamedTuple):
    """What the choice of a tile needs to know of a device."""

    shared_memory: int  # bytes that one program can have
    multiprocessors: int


# An H100: what the interpreter and ahead-of-time compilation stand for.
_DEFAULT_DEVICE = Device(232_448, 132)
_LARGE = 160_000  # bytes; A100, H100, B200 have more, and RTX cards have about 100,000

# (shared memory is large, bytes of an operand's element) -> tile
_FORWARD = {
    (True, 2): Tile(128, 64, 8, 3),
    (True, 4): Tile(64, 64, 4, 2),
    (True, 8): Tile(32, 32, 4, 1),
    (False, 2): Tile(64, 32, 4, 2),
    (False, 4): Tile(32, 32, 4, 2),
    (False, 8): Tile(16, 16, 4, 1),
}
_BACKWARD = {
    (True, 2): Tile(64, 64, 8, 2),
    (True, 4): Tile(32, 64, 8, 1),
    (True, 8): Tile(16, 32, 4, 1),
    (False, 2): Tile(32, 32, 4, 1),
    (False, 4): Tile(32, 32, 8, 1),
    (False, 8): Tile(16, 16, 4, 1),
}
_SMALL_CLASSES = 4  # tiles: classes below that many waste less of smaller tiles
_MOST_SPLITS = 8


def device_of(device: torch.device) -> Device:
    """Return what is known of a device; an H100's figures where there is none."""
    return _cuda_device(device) if device.type == "cuda" else _DEFAULT_DEVICE


@functools.cache
def _cuda_device(device: torch.device) -> Device:
    properties = torch.cuda.get_device_properties(device)
    shared_memory = getattr(properties, "shared_memory_per_block_optin", 65_536)
    return Device(shared_memory, properties.multi_processor_count)


def _choose(table, device: torch.device, dtype: torch.dtype, class_length: float) -> Tile:
    tile = table[device_of(device).shared_memory >= _LARGE, dtype.itemsize]
    if tile.rows > 64 and class_length < _SMALL_CLASSES * tile.rows:
        return tile._replace(rows=tile.rows // 2, num_warps=tile.num_warps // 2)
    return tile


def forward_tile(device: torch.device, dtype: torch.dtype, class_length: float) -> Tile:
    """Return the tile of the forward; class_length is the mean N / K."""
    return _choose(_FORWARD, device, dtype, class_length)


def backward_tile(device: torch.device, dtype: torch.dtype, class_length: float) -> Tile:
    """Return the tile of both gradients."""
    return _choose(_BACKWARD, device, dtype, class_length)


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

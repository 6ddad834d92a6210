"""A compiled kernel, and the problem it was compiled for."""

from dataclasses import dataclass

from .bound import Product
from .sass import Code

BATCH, LENGTH, CHANNELS, VALUES, CLASSES = 8, 4096, 256, 3, 22


@dataclass(frozen=True)
class Compiled:
    """One kernel as the library launches it."""

    name: str
    code: Code | None  # None for an architecture that is not NVIDIA's
    shared_memory: int  # bytes of a program
    warps: int
    products: list[Product]  # of one iteration of its loop
    slices: int = 1  # of the channels, each of which has its own turn of an inner loop
    consumers: int = 0  # groups of four warps that take turns; 0: all warps work together

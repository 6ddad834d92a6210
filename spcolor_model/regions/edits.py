"""Edits: which region takes its colours from where, and which keeps colours of its own.

Dimensions: H rows and W columns of a photo.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .shapes import Mask, Shape

OWN, GRAY = "own", "gray"
_HEX = re.compile("#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Region:
    """A part of the target, of the reference, or of both.

    Args:
        target, reference: shapes, joined, in pixels of the photo as it is seen upright. With both,
            the region is a class of its own: its target part takes colours from its reference part
            alone, and no other part does.
        color: "gray", "own" (the target's own colours) or "#rrggbb", of which the target's
            luminance is kept; for a region of the target that takes no colours.
        feather: pixels inside the border over which `color` fades in; 1/400 of the target's longer
            side where None.

    Raises:
        ValueError: a region of nothing, another `color`, or one that takes colours too.

    Example:
        >>> Region(target=[Box(10, 10, 60, 40)], color="gray")
        Region(target=[Box(left=10, top=10, right=60, bottom=40)], ...
    """

    target: Sequence[Shape] = ()
    reference: Sequence[Shape] = ()
    color: str | None = None
    feather: int | None = None

    def __post_init__(self) -> None:
        if not self.target and not self.reference:
            raise ValueError("target: expected shapes here or in reference, got none")
        if self.color is None:
            if self.feather is not None:
                raise ValueError(f"feather: expected with color alone, got {self.feather}")
            return
        known = self.color in (OWN, GRAY)
        if not known and not (isinstance(self.color, str) and _HEX.fullmatch(self.color)):
            raise ValueError(f'color: expected "gray", "own" or "#rrggbb", got {self.color!r}')
        if self.reference or not self.target:
            raise ValueError(
                "color: expected for a region of the target alone, got one "
                + ("that takes colours from the reference" if self.target else "of the reference")
            )
        if self.feather is not None and not (
            isinstance(self.feather, int) and not isinstance(self.feather, bool)
        ):
            raise TypeError(f"feather: expected a whole number of pixels, got {self.feather!r}")
        if self.feather is not None and self.feather < 0:
            raise ValueError(f"feather: expected at least 0, got {self.feather}")


@dataclass(frozen=True)
class Pair:
    """A class or region of the target takes the colours of one of the reference.

    Args:
        target, reference: the number of a class of the prior, or the name of a region.

    Raises:
        TypeError, ValueError: neither of these.

    Example:
        >>> Pair("coat", 5)
        Pair(target='coat', reference=5)
    """

    target: int | str
    reference: int | str

    def __post_init__(self) -> None:
        for name, value in (("target", self.target), ("reference", self.reference)):
            if not isinstance(value, int | str) or isinstance(value, bool):
                raise TypeError(f"{name}: expected a class number or a region, got {value!r}")
            if isinstance(value, int) and value < 0:
                raise ValueError(f"{name}: expected a class number from 0, got {value}")


@dataclass(frozen=True)
class Edits:
    """What a person decided about the correspondence of a target and its reference.

    Args:
        regions: by name. Where two of one photo overlap, the later one counts.
        pairs: all meant at once: a pair is never a step to another one. Several may have one
            reference.

    Raises:
        ValueError: a pair of an unknown region, two pairs of one target, or a region that nothing
            is to be done with; the message begins with the key.

    Example:
        >>> edits = Edits({"wall": Region([Box(0, 0, 90, 60)], color="gray")}, [Pair(3, 5)])
        >>> colorize("gray.jpg", "colour.jpg", edits=edits).rgb.shape
        (768, 1024, 3)
    """

    regions: Mapping[str, Region] = field(default_factory=dict)
    pairs: Sequence[Pair] = ()

    def __post_init__(self) -> None:
        used = {"target": set(), "reference": set()}
        for index, pair in enumerate(self.pairs):
            for side, seen in used.items():
                self._check_pair(f"pairs[{index}].{side}", side, getattr(pair, side), seen)
        for name, region in self.regions.items():
            takes = region.reference or name in used["target"]
            if region.target and not takes and region.color is None:
                raise ValueError(
                    f"regions.{name}: expected a reference, a color or a pair, got a target alone"
                )
            if not region.target and name not in used["reference"]:
                raise ValueError(
                    f"regions.{name}: expected a target, or a pair that takes it as its reference"
                )

    def _check_pair(self, key: str, side: str, value: int | str, seen: set) -> None:
        if side == "target" and value in seen:
            raise ValueError(f"{key}: expected one pair for each target, got a second of {value!r}")
        seen.add(value)
        if isinstance(value, int):
            return
        region = self.regions.get(value)
        if region is None or not getattr(region, side):
            known = [name for name, one in self.regions.items() if getattr(one, side)]
            expected = ", ".join(map(repr, known)) or "none is there"
            raise ValueError(
                f"{key}: expected a class number or a region with a {side} ({expected}), got "
                f"{value!r}"
            )
        if side == "target" and (region.color is not None or region.reference):
            has = "a color" if region.color is not None else "a reference of its own"
            raise ValueError(f"{key}: expected a region that takes nothing else, but it has {has}")

    @property
    def change_classes(self) -> bool:
        """Tell whether anything but kept colours is asked for."""
        return bool(self.pairs) or any(one.color is None for one in self.regions.values())

    @property
    def files(self) -> list[Path]:
        """The files that masks are read from."""
        shapes = (
            shape
            for region in self.regions.values()
            for shape in (*region.target, *region.reference)
        )
        return [
            Path(shape.picture)
            for shape in shapes
            if isinstance(shape, Mask) and not isinstance(shape.picture, np.ndarray)
        ]

    def fill(self, name: str, side: str, size: tuple[int, int]) -> np.ndarray:
        """Return a region's part of one photo, [H, W] bool.

        Args:
            name: of the region.
            side: "target" or "reference".
            size: (H, W) of that photo.

        Raises:
            FileNotFoundError, TypeError, ValueError: a shape that does not fit the photo, or no
                pixel at all; the message begins with the key.
        """
        inside = np.zeros(size, bool)
        for index, shape in enumerate(getattr(self.regions[name], side)):
            try:
                inside |= shape.fill(size)
            except (OSError, TypeError, ValueError) as error:
                raise type(error)(f"regions.{name}.{side}[{index}].{error}") from None
        if not inside.any():
            raise ValueError(f"regions.{name}.{side}: expected at least one pixel, got none")
        return inside

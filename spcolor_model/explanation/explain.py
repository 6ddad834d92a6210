"""What points of a target take from the reference, with classes and without (paper fig. 5).

Dimensions: H rows and W columns of a photo, h rows and w columns of a grid of positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..color import rgb_to_lab
from ..engine import Colorization, Engine, ImageLike, colorize, make_engine
from ..images import as_rgb
from ..operands import Operands, Row
from ..prior import Prior

# Below it, the surroundings say more about a position's colour than its own matches do.
_LOW_TRUST = 0.5
# Share of a photo that is worth a remark.
_MUCH = 0.5


class Point(NamedTuple):
    """One explained point of the target.

    Attributes:
        x, y: its pixel, from the left and from the top.
        label: its class, or a number that no class of the reference has.
        within: what it took, from its own class.
        across: what it would have taken without classes.
        best: pixel (x, y) of the best match in the reference; None where there is none.
        best_across: likewise without classes.
        similarity: S of paper eq. 14.
        trust: how far its result follows the match, in 0..1.
        ab: a and b of the result.
        warnings: what speaks against its colour.
    """

    x: int
    y: int
    label: int
    within: Row
    across: Row
    best: tuple[int, int] | None
    best_across: tuple[int, int] | None
    similarity: float
    trust: float
    ab: tuple[float, float]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """A coloured photo, what was matched, and the points that were asked for.

    Attributes:
        colorization: what `colorize` returns.
        operands: of the correspondence operator.
        trust: how far the result follows the matches, [h, w] in 0..1.
        points: in the order in which they were asked for.
    """

    colorization: Colorization
    operands: Operands
    trust: np.ndarray
    points: list[Point] = field(default_factory=list)

    @property
    def unrelated_share(self) -> float:
        """Share of the target whose class the reference lacks."""
        return self.colorization.match.unrelated.float().mean().item()

    @property
    def low_trust_share(self) -> float:
        """Share of the target that has matches, but follows others more than them."""
        related = ~self.colorization.match.unrelated.numpy()
        return float((related & (self.trust < _LOW_TRUST)).mean())

    @property
    def warnings(self) -> list[str]:
        """What speaks against colours, of the points and of the photo."""
        return [*self._of_the_photo(), *(text for one in self.points for text in one.warnings)]

    def at(self, x: int, y: int) -> Point:
        """Explain the target's pixel (x, y).

        Raises:
            ValueError: it is outside the target.

        Example:
            >>> explanation.at(120, 80).best
            (131, 84)
        """
        check_point((x, y), self.colorization.gray)
        height, width = self.colorization.gray.shape[:2]
        rows, columns = self.operands.grid
        position = (y * rows // height, x * columns // width)
        label = int(self.operands.query_labels[position[0] * columns + position[1]])
        within = self.operands.row(position)
        across = self.operands.without_classes().row(position)
        similarity = self.colorization.match.confidence[position[0], position[1]].item()
        trust = float(self.trust[position])
        _, ab = rgb_to_lab(self.colorization.rgb[y : y + 1, x : x + 1])
        return Point(
            x,
            y,
            label,
            within,
            across,
            self._pixel(within),
            self._pixel(across),
            similarity,
            trust,
            tuple(ab[0, 0].tolist()),
            tuple(self._of_a_point(x, y, label, within, trust)),
        )

    def _pixel(self, row: Row) -> tuple[int, int] | None:
        """Return the pixel (x, y) of the reference in the middle of the best position."""
        if row.best is None:
            return None
        height, width = self.colorization.reference.shape[:2]
        rows, columns = self.operands.key_grid
        return int((row.best[1] + 0.5) * width / columns), int((row.best[0] + 0.5) * height / rows)

    def _of_a_point(self, x: int, y: int, label: int, within: Row, trust: float) -> Iterator[str]:
        if within.best is None:
            yield (
                f"point {x},{y}: the reference has nothing of its class {label}, so nothing was "
                f"matched; that is so for {self.unrelated_share:.0%} of the target"
            )
        elif trust < _LOW_TRUST:
            yield (
                f"point {x},{y}: little in the reference is like it (trust {trust:.0%}), so that "
                "its colour is rather that of its surroundings; that is so for "
                f"{self.low_trust_share:.0%} of the target"
            )

    def _of_the_photo(self) -> Iterator[str]:
        if self.unrelated_share > _MUCH:
            yield f"the reference has nothing for {self.unrelated_share:.0%} of the target"
        if self.low_trust_share > _MUCH:
            yield f"little in the reference is like {self.low_trust_share:.0%} of the target"


class _Observed:
    """An engine that keeps what it matched."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.prior = getattr(engine, "prior", None)
        self.operands: Operands | None = None

    def __call__(self, luminance: np.ndarray, reference: np.ndarray, prior: Prior | None):
        return self.engine(luminance, reference, prior, observe=self._keep)

    def _keep(self, operands: Operands) -> None:
        self.operands = operands


def explain(
    target: ImageLike,
    reference: ImageLike,
    points: Sequence[tuple[int, int]] = (),
    *,
    engine: str | Engine = "trained",
    **options: Any,
) -> Explanation:
    """Colour a photo and say what points of it took from the reference.

    Args:
        target, reference: as in `colorize`.
        points: pixels (x, y) of the target as it is seen upright; more can be asked for afterwards
            with `Explanation.at`, in milliseconds.
        engine: as in `colorize`; one of your own must take `observe` and have `trust`, as
            `MatchEngine` does.
        options: others of `colorize`.

    Raises:
        FileNotFoundError, TypeError, ValueError: as `colorize`; a point outside the target.

    Example:
        >>> explain("gray.jpg", "colour.jpg", [(120, 80)]).points[0].within.similarity
        0.83
    """
    chosen = make_engine(engine)
    if not hasattr(chosen, "trust"):
        raise TypeError(
            "engine: expected one that can be observed and has `trust`, as 'trained' and 'match' "
            f"do, got {type(chosen).__name__}"
        )
    rgb = as_rgb("target", target)
    for point in points:
        check_point(point, rgb)
    observed = _Observed(chosen)
    colorization = colorize(rgb, reference, engine=observed, **options)
    explanation = Explanation(colorization, observed.operands, chosen.trust(colorization.match))
    explanation.points.extend(explanation.at(*point) for point in points)
    return explanation


def check_point(point: tuple[int, int], rgb: np.ndarray) -> None:
    """Check that a pixel (x, y) is in a photo [H, W, 3].

    Raises:
        ValueError: it is not.
    """
    height, width = rgb.shape[:2]
    x, y = point
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(
            f"point: expected x in 0..{width - 1} and y in 0..{height - 1}, as the target has "
            f"{width} x {height} pixels, got {x},{y}"
        )

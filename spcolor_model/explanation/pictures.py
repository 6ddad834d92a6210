"""Pictures of an explanation: its maps, and what single points took.

Dimensions: H rows and W columns of a photo, h rows and w columns of a grid of positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from ..color import lab_to_rgb, rgb_to_lab
from ..operands import Row
from ..sheet import class_colors, warped_rgb
from .drawing import SIDE, enlarged, font, gray, mark, marked, numbered
from .explain import Explanation, Point

# The reference behind a correspondence map: contrast and least gray value in the point's class,
# and contrast out of it.
_BRIGHT, _LIFTED = 0.55, 45
_DARK = 0.3
_LEAST_WEIGHT = 1e-3
# Shown around a point: this share of the photo's longer side.
_AROUND = 0.25


class Picture(NamedTuple):
    """A picture [.., .., 3] uint8, its caption, and what it shows, for those who cannot see it."""

    caption: str
    rgb: np.ndarray
    alt: str


def overview(explanation: Explanation) -> list[Picture]:
    """Return the pictures of the whole photo (paper fig. 8)."""
    result = explanation.colorization
    unrelated = result.match.unrelated
    labels = result.target_labels.masked_fill(unrelated, -1).numpy()
    similarity = result.match.confidence.clamp(min=0).numpy()
    top = max(float(similarity.max()), 1e-6)
    marks = [(point.x, point.y) for point in explanation.points]
    matches = [point.best for point in explanation.points]
    product = class_colors(labels) * (similarity / top)[..., None]
    return [
        Picture(
            "Target, as seen",
            marked(result.gray, marks),
            "The target in gray, with the numbered points that are explained",
        ),
        Picture(
            "Reference, with the best matches",
            marked(result.reference, matches),
            "The reference in colour; a number marks the best match of each point",
        ),
        Picture(
            "Result",
            marked(result.rgb, marks),
            "The coloured photo, with the numbered points",
        ),
        Picture(
            "Warped colour, as matched",
            enlarged(warped_rgb(result)),
            "The colours that the match alone gives, on a coarse grid",
        ),
        Picture(
            "Classes of the target (black: none in the reference)",
            numbered(labels),
            "Class map of the target, one colour for each class, numbered",
        ),
        Picture(
            "Classes of the reference",
            numbered(result.reference_labels.numpy()),
            "Class map of the reference in the same colours, numbered",
        ),
        Picture(
            f"Similarity S, black 0 to white {top:.2f}",
            enlarged(gray(similarity / top)),
            "Similarity map of the target: bright where the match is good",
        ),
        Picture(
            "Classes x similarity",
            enlarged(product.round().astype(np.uint8)),
            "Class map of the target, dark where the similarity is low",
        ),
    ]


def of_point(explanation: Explanation, number: int) -> list[Picture]:
    """Return the pictures of the point of a number, from 1 (paper fig. 5)."""
    point = explanation.points[number - 1]
    name = f"Point {number}"
    return [
        Picture(
            f"{name}: the target around it",
            _around(explanation, point),
            f"The target around point {number} in gray, left, and coloured, right",
        ),
        Picture(
            f"{name}, with classes: {_place(point.best)}",
            _correspondence(explanation, point.within, point.label, point.best),
            _described(f"What point {number} takes within class {point.label}", point.best),
        ),
        Picture(
            f"{name}, without classes: {_place(point.best_across)}",
            _correspondence(explanation, point.across, None, point.best_across),
            _described(f"What point {number} would take without classes", point.best_across),
        ),
        Picture(
            f"{name}: colour with classes, without, result",
            _swatches(list(swatches(explanation, point))),
            "Three fields of colour: "
            + ", ".join(f"{name} {hex_color(rgb)}" for name, rgb in swatches(explanation, point)),
        ),
    ]


def swatches(explanation: Explanation, point: Point) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and colour [3] uint8 of what was taken and of the result, at the point's L."""
    gray = explanation.colorization.gray[point.y : point.y + 1, point.x : point.x + 1]
    luminance = rgb_to_lab(gray)[0]
    for name, ab in (
        ("with classes", point.within.value[:2].numpy()),
        ("without", point.across.value[:2].numpy()),
        ("result", np.array(point.ab)),
    ):
        yield name, lab_to_rgb(luminance, ab[None, None])[0, 0]


def hex_color(rgb: np.ndarray) -> str:
    """Return a colour [3] uint8 as "#rrggbb"."""
    return "#" + bytes(rgb).hex()


def _place(best: tuple[int, int] | None) -> str:
    return "nothing" if best is None else f"best at {best[0]},{best[1]}"


def _described(what: str, best: tuple[int, int] | None) -> str:
    if best is None:
        return f"{what}: nothing, as the reference lacks the class"
    return f"{what}: bright spots on the darkened reference, most at pixel {best[0]},{best[1]}"


def _around(explanation: Explanation, point: Point) -> np.ndarray:
    """Return a square around a point, in gray and coloured, side by side."""
    gray, rgb = explanation.colorization.gray, explanation.colorization.rgb
    height, width = gray.shape[:2]
    side = min(max(16, round(_AROUND * max(height, width))), height, width)
    left = min(max(point.x - side // 2, 0), width - side)
    top = min(max(point.y - side // 2, 0), height - side)
    window = (slice(top, top + side), slice(left, left + side))
    place = [(point.x - left, point.y - top)]
    halves = []
    for one in (gray, rgb):
        image = Image.fromarray(one[window]).resize((SIDE // 2, SIDE // 2), Image.LANCZOS)
        draw = ImageDraw.Draw(image)
        mark(draw, [(n + 0.5) * SIDE / 2 / side for n in place[0]])
        halves.append(np.asarray(image))
    return np.concatenate(halves, axis=1)


def _correspondence(
    explanation: Explanation, row: Row, label: int | None, best: tuple[int, int] | None
) -> np.ndarray:
    """Lay the weights of a point over the darkened reference; other classes are darker still."""
    reference = Image.fromarray(explanation.colorization.reference)
    scale = SIDE / max(reference.size)
    size = [max(1, round(n * scale)) for n in reference.size]
    photo = np.asarray(reference.convert("L").resize(size, Image.LANCZOS)).astype(np.float32)
    shown = _LIFTED + _BRIGHT * photo
    if label is not None:
        operands = explanation.operands
        own = (operands.key_labels == label).reshape(operands.key_grid).byte().cpu().numpy()
        inside = cv2.resize(own, size, interpolation=cv2.INTER_NEAREST)
        shown = np.where(inside, shown, _DARK * photo)
    shown = shown[..., None].repeat(3, axis=2)
    heat = _heat(row.weights, size)
    ramp = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    alpha = heat[..., None] ** 0.5
    image = Image.fromarray(((1 - alpha) * shown + alpha * ramp).round().astype(np.uint8))
    if best is not None:
        mark(ImageDraw.Draw(image), [(n + 0.5) * scale for n in best])
    return np.asarray(image)


def _heat(weights: Tensor, size: Sequence[int]) -> np.ndarray:
    """Return 1 + log10(p / max p) / 3 cut to 0..1 and spread over about a cell, [H, W]."""
    top = float(weights.max())
    if top == 0:
        return np.zeros(size[::-1], np.float32)
    # From a thousandth of the largest weight on; a linear scale shows a single cell.
    scaled = (1 + (weights / top).clamp(min=_LEAST_WEIGHT).log10() / 3).numpy()
    cells = cv2.resize(scaled, size, interpolation=cv2.INTER_NEAREST)
    spread = cv2.GaussianBlur(cells, (0, 0), max(size) / max(weights.shape) / 2)
    return spread / spread.max()


def _swatches(colors: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Return fields of named colours [3] uint8, side by side."""
    width = SIDE // len(colors)
    image = Image.new("RGB", (width * len(colors), SIDE // 2))
    draw = ImageDraw.Draw(image)
    for index, (name, rgb) in enumerate(colors):
        draw.rectangle((index * width, 0, (index + 1) * width, SIDE), fill=tuple(rgb.tolist()))
        ink = "black" if rgb.mean() > 128 else "white"
        text = f"{name}\n{hex_color(rgb)}"
        draw.text((index * width + 14, 14), text, fill=ink, font=font(34))
    return np.asarray(image)

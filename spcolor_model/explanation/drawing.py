"""Photos and maps, enlarged, marked and numbered.

Dimensions: h rows and w columns of a map.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..sheet import class_colors

# Longest side of a picture in pixels.
SIDE = 900
# A class of less than this share of a map gets no number.
_SMALLEST_NUMBERED = 0.01


def gray(values: np.ndarray) -> np.ndarray:
    """Show values [h, w] of 0..1 as [h, w, 3] uint8."""
    return np.repeat((values.clip(0, 1) * 255).round().astype(np.uint8)[..., None], 3, axis=2)


def enlarged(rgb: np.ndarray) -> np.ndarray:
    """Scale so that the longer side is `SIDE`; cells of a small map stay sharp."""
    scale = SIDE / max(rgb.shape[:2])
    size = [max(1, round(length * scale)) for length in rgb.shape[1::-1]]
    return cv2.resize(rgb, size, interpolation=cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA)


def marked(rgb: np.ndarray, places: Sequence[tuple[int, int] | None]) -> np.ndarray:
    """Enlarge a photo and mark pixels (x, y) with numbers from 1."""
    image = Image.fromarray(rgb)
    scale = SIDE / max(image.size)
    image = image.resize([max(1, round(n * scale)) for n in image.size], Image.LANCZOS)
    draw = ImageDraw.Draw(image)
    for number, place in enumerate(places, 1):
        if place is not None:
            mark(draw, [(n + 0.5) * scale for n in place], str(number))
    return np.asarray(image)


def mark(draw: ImageDraw.ImageDraw, place: Sequence[float], text: str = "") -> None:
    """Draw a ring, visible on any ground, and a text beside it, inside the picture."""
    x, y = place
    for width, color in ((7, "black"), (3, "white")):
        radius = 18 + width // 2
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=width)
    if text:
        left = x - 52 if x > draw.im.size[0] - 66 else x + 26
        top = min(max(y - 20, 2), draw.im.size[1] - 44)
        draw.text(
            (left, top), text, fill="white", font=font(34), stroke_width=4, stroke_fill="black"
        )


def font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def numbered(labels: np.ndarray) -> np.ndarray:
    """Show a class map [h, w] with the number of each class where most of it is."""
    image = Image.fromarray(enlarged(class_colors(labels)))
    draw = ImageDraw.Draw(image)
    scale = image.width / labels.shape[1]
    for label in np.unique(labels[labels >= 0]):
        inside = labels == label
        if inside.mean() < _SMALLEST_NUMBERED:
            continue
        padded = np.pad(inside, 1).astype(np.uint8)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        draw.text(
            ((x + 0.5) * scale, (y + 0.5) * scale),
            str(label),
            fill="white",
            font=font(34),
            anchor="mm",
            stroke_width=4,
            stroke_fill="black",
        )
    return np.asarray(image)

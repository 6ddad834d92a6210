"""One labelled picture of everything that led to a colorization.

Dimensions: H rows and W columns of a photo, h rows and w columns of a feature grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .color import lab_to_rgb, rgb_to_lab
from .engine import Colorization
from .images import write_image

_PANEL = (360, 300)
_CAPTION = 24
_COLUMNS = 4


def save_sheet(path: str | Path, colorization: Colorization) -> None:
    """Save target, reference, class maps, warped colour, similarity and result side by side.

    Unrelated regions are black in the class map of the target and in the similarity map.

    Raises:
        ValueError: Pillow knows no format of the path's suffix.

    Example:
        >>> save_sheet("out/sheet.png", colorize("gray.jpg", "colour.jpg"))
    """
    write_image(path, draw_sheet(colorization))


def draw_sheet(colorization: Colorization) -> np.ndarray:
    """Return the sheet of `save_sheet` as [height, width, 3] uint8."""
    return draw_panels(list(panels(colorization).items()))


def draw_panels(pictures: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Return captions and pictures [.., .., 3] uint8, four in a row, as [height, width, 3] uint8.

    Example:
        >>> draw_panels([("a photo", rgb)]).shape
        (324, 1440, 3)
    """
    fitted = [(caption, _panel(picture)) for caption, picture in pictures]
    rows = -(-len(fitted) // _COLUMNS)
    cell = (_PANEL[0], _PANEL[1] + _CAPTION)
    sheet = Image.new("RGB", (cell[0] * _COLUMNS, cell[1] * rows), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for index, (caption, picture) in enumerate(fitted):
        left, top = index % _COLUMNS * cell[0], index // _COLUMNS * cell[1]
        sheet.paste(picture, (left, top + _CAPTION))
        draw.text((left + 4, top + 3), caption, fill="black", font=font)
    return np.asarray(sheet)


def class_colors(labels: np.ndarray) -> np.ndarray:
    """Colour the classes of labels [h, w] as [h, w, 3] uint8; -1 is black.

    Hues a golden ratio apart differ for neighbouring class numbers.

    Example:
        >>> class_colors(np.array([[-1]]))
        array([[[0, 0, 0]]], dtype=uint8)
    """
    hue = np.deg2rad(360 * ((labels * 0.618034) % 1))
    luminance = 45.0 + 12.0 * (labels % 4)
    chroma = 42.0 * np.stack([np.cos(hue), np.sin(hue)], axis=-1)
    return np.where(labels[..., None] >= 0, lab_to_rgb(luminance, chroma), 0).astype(np.uint8)


def panels(colorization: Colorization) -> dict[str, np.ndarray]:
    """Return the sheet's captions and pictures [.., .., 3] uint8, each of its own size.

    Example:
        >>> panels(colorize("gray.jpg", "colour.jpg"))["result"].shape
        (768, 1024, 3)
    """
    found = colorization.match
    labels = colorization.target_labels.masked_fill(found.unrelated, -1)
    unrelated = found.unrelated.float().mean().item()
    return {
        "target, as seen": colorization.gray,
        "reference": colorization.reference,
        "classes of the target (unrelated black)": class_colors(labels.numpy()),
        "classes of the reference": class_colors(colorization.reference_labels.numpy()),
        "warped colour": warped_rgb(colorization),
        f"similarity S, median {found.confidence.median():.2f}": _gray(found.confidence),
        "result": colorization.rgb,
        f"unrelated (white), {unrelated:.0%}": _gray(found.unrelated.float()),
    }


def warped_rgb(colorization: Colorization) -> np.ndarray:
    """Return the warped ab, before any filling, with the luminance of its grid cells [h, w, 3].

    Example:
        >>> warped_rgb(colorize("gray.jpg", "colour.jpg")).shape
        (112, 144, 3)
    """
    ab = colorization.match.ab.permute(1, 2, 0).numpy()
    height, width = ab.shape[:2]
    gray = np.asarray(Image.fromarray(colorization.gray).resize((width, height), Image.BOX))
    return lab_to_rgb(rgb_to_lab(gray)[0], ab)


def _gray(values: Tensor) -> np.ndarray:
    """Show values [h, w] of 0..1 as [h, w, 3] uint8."""
    return np.repeat((values.clamp(0, 1) * 255).byte().numpy()[..., None], 3, axis=2)


def _panel(picture: np.ndarray) -> Image.Image:
    """Fit a picture into a panel; a small map is enlarged without blurring its cells."""
    image = Image.fromarray(picture)
    scale = min(_PANEL[0] / image.width, _PANEL[1] / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    fitted = image.resize(size, Image.NEAREST if scale > 1 else Image.LANCZOS)
    panel = Image.new("RGB", _PANEL, "white")
    panel.paste(fitted)
    return panel

"""One labelled picture of everything that led to a colorization.

Dimensions: H rows and W columns of a photo, h rows and w columns of a feature grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from .color import lab_to_rgb, rgb_to_lab
from .engine import Colorization
from .images import write_image

_PANEL = (360, 300)
_CAPTION = 24
_COLUMNS = 4


def save_sheet(path: str | Path, colorization: Colorization) -> None:
    """Save target, references, class maps, warped colour, similarity and result side by side.

    Unrelated regions are black in the class map of the target, in the similarity map and, with
    several references, in the map of which one each position took; there a reference has the colour
    of its frame.

    Raises:
        ValueError: Pillow knows no format of the path's suffix.

    Example:
        >>> save_sheet("out/sheet.png", colorize("gray.jpg", "colour.jpg"))
    """
    write_image(path, draw_sheet(colorization))


def draw_sheet(colorization: Colorization) -> np.ndarray:
    """Return the sheet of `save_sheet` as [height, width, 3] uint8."""
    return draw_panels(list(panels(colorization).items()))


def save_each(path: str | Path, together: Colorization, alone: Sequence[Colorization]) -> None:
    """Save one target under several references side by side (as the paper's fig. 4).

    Above are the target and the references; below, the results of all of them together and of each
    alone.

    Args:
        path: whose suffix names the format.
        together: coloured with all references.
        alone: with each of them, in their order.

    Raises:
        ValueError: Pillow knows no format of the path's suffix.

    Example:
        >>> alone = [colorize("gray.jpg", one) for one in references]
        >>> save_each("out/each.png", colorize("gray.jpg", references), alone)
    """
    pictures = [("target, as seen", together.gray)]
    pictures += [(f"reference {i}", one.reference) for i, one in enumerate(alone, 1)]
    pictures.append(("with all of them", together.rgb))
    pictures += [(f"with reference {i} alone", one.rgb) for i, one in enumerate(alone, 1)]
    write_image(path, draw_panels(pictures, 1 + len(alone)))


def draw_panels(pictures: Sequence[tuple[str, np.ndarray]], columns: int = _COLUMNS) -> np.ndarray:
    """Return captions and pictures [.., .., 3] uint8 in rows of `columns`, as one picture.

    Example:
        >>> draw_panels([("a photo", rgb)]).shape
        (324, 1440, 3)
    """
    rows = -(-len(pictures) // columns)
    cell = (_PANEL[0], _PANEL[1] + _CAPTION)
    sheet = Image.new("RGB", (cell[0] * columns, cell[1] * rows), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for index, (caption, picture) in enumerate(pictures):
        left, top = index % columns * cell[0], index // columns * cell[1]
        sheet.paste(_panel(picture), (left, top + _CAPTION))
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
    several = len(colorization.references) > 1
    seen, classes, took = {}, {}, {}
    for number, one in enumerate(colorization.references):
        name = f"reference {number + 1}" if several else "reference"
        own = colorization.labels_of_references[number]
        seen[name] = _framed(one, number) if several else one
        classes[f"classes of the {name}" if not several else f"classes of {name}"] = class_colors(
            own.numpy()
        )
    if several:
        took["which reference (unrelated black)"] = class_colors(found.taken.numpy())
    return {
        "target, as seen": colorization.gray,
        **seen,
        "classes of the target (unrelated black)": class_colors(labels.numpy()),
        **classes,
        "warped colour": warped_rgb(colorization),
        f"similarity S, median {found.confidence.median():.2f}": _gray(found.confidence),
        "result": colorization.rgb,
        f"unrelated (white), {unrelated:.0%}": _gray(found.unrelated.float()),
        **took,
    }


def _framed(picture: np.ndarray, number: int) -> np.ndarray:
    """Frame a reference with its colour in the map of which reference was taken."""
    width = max(1, max(picture.shape) // 40)
    color = tuple(class_colors(np.array(number)).tolist())
    return np.asarray(ImageOps.expand(Image.fromarray(picture), width, color))


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

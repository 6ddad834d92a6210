"""Read any photo as upright 8-bit RGB, and write one.

Dimensions: H rows and W columns of the photo.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def read_image(path: str | Path) -> np.ndarray:
    """Read the first frame of an image file as upright RGB.

    The EXIF orientation is applied, transparency is laid on white, 16-bit gray is scaled to 8 bits,
    and every other mode (palette, CMYK, LA, 1-bit) goes through Pillow's own conversion.

    Args:
        path: any format that Pillow reads.

    Returns:
        [H, W, 3] uint8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a readable image; the message names it.

    Example:
        >>> read_image("photo.jpg").shape
        (768, 1024, 3)
    """
    with _opened(Path(path)) as image:
        return to_rgb(ImageOps.exif_transpose(image))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong while it is decoded becomes an error that names it."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected an image file, got nothing at that path")
    try:
        with Image.open(path) as image:
            yield image
    except UnidentifiedImageError:
        raise ValueError(f"{path}: expected an image, got a file of no known format") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow reports damaged data through all of these types.
        raise ValueError(f"{path}: expected a readable image, got: {error}") from error


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert a Pillow image of any mode to [H, W, 3] uint8, transparency laid on white.

    Raises:
        ValueError: a mode of floating values, whose range is not known.

    Example:
        >>> to_rgb(Image.new("LA", (2, 1), (0, 0)))[0, 0]
        array([255, 255, 255], dtype=uint8)
    """
    if image.mode == "F":
        raise ValueError("mode F: expected 8- or 16-bit values, got floating ones of unknown range")
    if image.mode.startswith("I"):
        # 16-bit gray; Pillow's convert would clip it at 255 instead of scaling.
        gray = np.clip(np.asarray(image, dtype=np.float64) / 257, 0, 255).round().astype(np.uint8)
        image = Image.fromarray(gray)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def as_rgb(name: str, image: str | Path | Image.Image | np.ndarray) -> np.ndarray:
    """Return [H, W, 3] uint8 of a path, a Pillow image or an array; `name` is the argument's.

    Args:
        name: what an error message calls the image.
        image: a path, a Pillow image, or a uint8 array [H, W] or [H, W, 3].

    Raises:
        FileNotFoundError, ValueError: as `read_image`.
        TypeError, ValueError: another type, or an array of another shape or dtype.

    Example:
        >>> as_rgb("target", np.zeros((2, 3), np.uint8)).shape
        (2, 3, 3)
    """
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        return to_rgb(ImageOps.exif_transpose(image))
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"{name}: expected a path, a Pillow image or a uint8 array, got {type(image).__name__}"
        )
    if image.dtype != np.uint8:
        raise TypeError(f"{name}: expected an array of uint8, got {image.dtype}")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"{name}: expected shape [H, W] or [H, W, 3], got {list(image.shape)}")
    return image


def write_image(path: str | Path, rgb: np.ndarray) -> None:
    """Write [H, W, 3] uint8 to a path whose suffix names the format, making its folder.

    Raises:
        ValueError: Pillow knows no format of that suffix.

    Example:
        >>> write_image("out/result.png", rgb)
    """
    path = Path(path)
    if path.suffix.lower() not in EXTENSIONS:
        known = ", ".join(sorted(EXTENSIONS))
        raise ValueError(f"{path}: expected a suffix of {known}, got {path.suffix!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, **({"quality": 95} if path.suffix.lower() != ".png" else {}))


def list_images(folder: str | Path) -> list[Path]:
    """Return the image files of a folder (by suffix, not below it), sorted by name.

    Example:
        >>> [path.name for path in list_images("photos")]
        ['a.jpg', 'b.png']
    """
    return sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in EXTENSIONS)


def as_mask(name: str, mask: str | Path | Image.Image | np.ndarray) -> np.ndarray:
    """Return a class mask as integers: [H, W] of gray values or palette entries, or [H, W, 3].

    Args:
        name: what an error message calls the mask.
        mask: a path, a Pillow image, or an integer array, which is returned as it is.

    Raises:
        FileNotFoundError, ValueError: as `read_image`.

    Example:
        >>> as_mask("target_mask", Image.new("P", (3, 2))).shape
        (2, 3)
    """
    if isinstance(mask, np.ndarray):
        return mask
    if isinstance(mask, str | Path):
        with _opened(Path(mask)) as image:
            return as_mask(name, image)
    if not isinstance(mask, Image.Image):
        raise TypeError(
            f"{name}: expected a path, a Pillow image or an array, got {type(mask).__name__}"
        )
    upright = ImageOps.exif_transpose(mask)
    plain = upright if upright.mode in {"1", "L", "P", "I", "I;16"} else upright.convert("RGB")
    return np.array(plain).astype(np.int64)

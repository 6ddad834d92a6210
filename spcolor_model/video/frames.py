"""Luminance of a frame, and colour put into it: its luma is kept, its chroma is replaced.

Dimensions: H rows and W columns of a frame, h rows and w columns of its chroma planes.
"""

from __future__ import annotations

import re
from functools import cache

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from skimage.color import lab2rgb, rgb2lab

from ..color import lab_to_rgb

# Formats whose planes are luma, and chroma if there is any, of little-endian integers.
_PLANAR = re.compile(r"(gray|yuvj?(?P<chroma>420|422|444)p)(?P<bits>9|10|12|14|16)?(le)?")
# Weights of red and blue in luma.
_MATRICES = {
    Colorspace.ITU709: (0.2126, 0.0722),
    Colorspace.ITU601: (0.299, 0.114),
    Colorspace.SMPTE170M: (0.299, 0.114),
    9: (0.2627, 0.0593),  # BT.2020
}
# Lower films are taken for BT.601 where they do not say, as players do.
_LOWEST_HD = 577
_LEVELS = 4096
_LUMA_STEPS = 2


def luminance(frame: av.VideoFrame) -> np.ndarray:
    """Return L [H, W] float32 in 0..100 of a frame: of its luma, whatever its colours.

    A frame of RGB, which has no luma, gives the luminance of its colours.

    Example:
        >>> luminance(frame).shape
        (272, 640)
    """
    if not _PLANAR.fullmatch(frame.format.name):
        return _rgb_luminance(frame)
    return lightness(_unit(frame)).astype(np.float32)


def colored(frame: av.VideoFrame, light: np.ndarray, ab: np.ndarray) -> av.VideoFrame:
    """Return a frame in colour; its luma plane is that of the frame, bit for bit.

    Chroma is that of the colour (L', a, b) whose luma is the frame's: L' is found by two steps of
    L' <- L' + L(luma) - L(luma of (L', a, b)), at the size of the chroma planes. Subsampling and
    depth are kept; gray becomes 4:2:0, and what is no planar YUV becomes 4:4:4.

    Args:
        frame: as read.
        light: L [H, W], as of `luminance`.
        ab: [H, W, 2].

    Example:
        >>> colored(frame, luminance(frame), ab).format.name
        'yuv420p10le'
    """
    name = frame.format.name
    found = _PLANAR.fullmatch(name)
    bits = _bits(frame)
    chroma = (found["chroma"] or "420") if found else "444"
    depth = f"{bits}le" if bits > 8 else ""
    out = av.VideoFrame(frame.width, frame.height, f"yuv{chroma}p{depth}")
    _keep_time(frame, out)
    for tag in ("color_primaries", "color_trc", "colorspace") if found else ():
        setattr(out, tag, getattr(frame, tag))
    out.color_range = ColorRange.JPEG if _is_full(frame) else ColorRange.MPEG
    top, size = _span(bits, _is_full(out))
    if found:
        unit = _unit(frame)
        _plane(out, 0)[...] = _plane(frame, 0)
    else:
        unit = _gray(light)
        _plane(out, 0)[...] = (top + unit * size).round()
    shape = out.planes[1].width, out.planes[1].height
    small = (cv2.resize(x, shape, interpolation=cv2.INTER_AREA) for x in (unit, ab))
    middle, reach = 1 << (bits - 1), (_span(bits, _is_full(out), chroma=True))[1]
    for plane, values in enumerate(_chroma(*small, _matrix(frame)), 1):
        steps = (middle + reach * values).round()
        _plane(out, plane)[...] = steps.clip(0, (1 << bits) - 1)
    return out


def picture(frame: av.VideoFrame, light: np.ndarray, ab: np.ndarray) -> av.VideoFrame:
    """Return a frame as a coloured image, of 16 bits a channel where the frame has more than 8.

    Args: as `colored`.
    """
    if _bits(frame) > 8:
        rgb = lab2rgb(np.concatenate([light[..., None], ab], axis=-1)) * 65535
        out = av.VideoFrame.from_ndarray(rgb.round().astype(np.uint16), format="rgb48be")
    else:
        out = av.VideoFrame.from_ndarray(lab_to_rgb(light, ab), format="rgb24")
    _keep_time(frame, out)
    return out


def _keep_time(frame: av.VideoFrame, out: av.VideoFrame) -> None:
    out.pts = frame.pts
    # A frame that is of no film has none.
    if frame.time_base is not None:
        out.time_base = frame.time_base


def lightness(unit: np.ndarray) -> np.ndarray:
    """Return L in 0..100 of gray values in 0..1.

    Example:
        >>> lightness(np.array([0.0, 1.0])).round()
        array([  0., 100.])
    """
    return np.interp(unit, *_curve())


def _gray(light: np.ndarray) -> np.ndarray:
    """Return the gray value in 0..1 of L."""
    levels, curve = _curve()
    return np.interp(light, curve, levels)


@cache
def _curve() -> tuple[np.ndarray, np.ndarray]:
    """Return gray values and their L."""
    levels = np.linspace(0, 1, _LEVELS + 1)
    return levels, rgb2lab(np.repeat(levels[:, None], 3, axis=1))[:, 0]


def _rgb_luminance(frame: av.VideoFrame) -> np.ndarray:
    deep = _bits(frame) > 8
    rgb = frame.to_ndarray(format="rgb48le" if deep else "rgb24")
    return rgb2lab(rgb / (65535 if deep else 255))[..., 0].astype(np.float32)


def _chroma(unit: np.ndarray, ab: np.ndarray, matrix: tuple[float, float]) -> list[np.ndarray]:
    """Return Cb and Cr [h, w] in -0.5..0.5 of luma [h, w] in 0..1 and ab [h, w, 2]."""
    red, blue = matrix
    weights = np.array([red, 1 - red - blue, blue])
    wanted = lightness(unit)
    light = wanted
    for step in range(_LUMA_STEPS + 1):
        rgb = lab2rgb(np.concatenate([light[..., None], ab], axis=-1))
        luma = rgb @ weights
        if step < _LUMA_STEPS:
            light = (light + wanted - lightness(luma)).clip(0, 100)
    return [(rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)]


def _unit(frame: av.VideoFrame) -> np.ndarray:
    """Return luma [H, W] float32 in 0..1."""
    low, size = _span(_bits(frame), _is_full(frame))
    return ((_plane(frame, 0).astype(np.float32) - low) / size).clip(0, 1)


def _span(bits: int, full: bool, *, chroma: bool = False) -> tuple[int, int]:
    """Return black, and the steps from there to white (of chroma: of its whole range)."""
    if full:
        return 0, (1 << bits) - 1
    scale = 1 << (bits - 8)
    return 16 * scale, (224 if chroma else 219) * scale


def _plane(frame: av.VideoFrame, index: int) -> np.ndarray:
    """Return a plane of a frame as an array that shares its memory."""
    plane = frame.planes[index]
    values = np.frombuffer(plane, np.uint8 if _bits(frame) <= 8 else np.dtype("<u2"))
    rows = values.reshape(plane.height, plane.line_size // values.itemsize)
    return rows[:, : plane.width]


def _bits(frame: av.VideoFrame) -> int:
    """Return the bits of a component, up to 16."""
    return max(component.bits for component in frame.format.components)


def _is_full(frame: av.VideoFrame) -> bool:
    name = frame.format.name
    if not name.startswith(("yuv", "gray")):
        return False
    return name.startswith("yuvj") or frame.color_range == ColorRange.JPEG


def _matrix(frame: av.VideoFrame) -> tuple[float, float]:
    unsaid = Colorspace.ITU709 if frame.height >= _LOWEST_HD else Colorspace.ITU601
    return _MATRICES.get(frame.colorspace, _MATRICES[unsaid])

"""From Lab to the RGB that feature networks see, with gradients."""

from __future__ import annotations

import kornia.color
import torch
from torch import Tensor

from spcolor_ops import _checks

from ._inputs import as_float


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert CIE Lab (D65, 2 degrees) to sRGB, clamped to the gamut channel by channel.

        fy = (L + 16) / 116,    fx = fy + a / 500,    fz = max(fy - b / 200, 0)
        X, Y, Z = 0.95047 g(fx), g(fy), 1.08883 g(fz)
        g(t) = t³ if t > 0.2068966 else (t - 16/116) / 7.787
        R, G, B = clamp(gamma(M [X, Y, Z]), 0, 1)

    with the sRGB matrix M and transfer curve gamma. The gradient is finite everywhere, black
    included, and 0 in a channel that is clamped.

    Args:
        lab: [B, 3, H, W]: L in 0..100, a and b in about -128..127.

    Returns:
        RGB in 0..1, [B, 3, H, W].

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> lab_to_rgb(torch.tensor([50.0, 20.0, -30.0]).view(1, 3, 1, 1)).flatten()
        tensor([0.4964, 0.4293, 0.6668])

    Source: CIE 15:2004 and IEC 61966-2-1 (sRGB), as in `kornia.color.lab_to_rgb`.
    """
    lab = as_float("lab", lab, "B 3 H W")
    _checks.check_size("lab", lab, 1, 3, "Lab")
    # Autocast would round the matrix product to half precision.
    with torch.autocast(lab.device.type, enabled=False):
        return kornia.color.lab_to_rgb(lab)

"""Whether a way warps as the operator does, inside the networks that are timed.

Dimensions: B images, h rows and w columns of the feature grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..peers import OPERATOR
from ..problem import Way
from .matching import matching_by
from .problems import Problem

# Largest error over the largest value: float32 logits of up to 100 leave 1e-4 of the weights.
WARPED_TOLERANCE = 5e-4
# Norm of the error over the norm, of all of WarpNet's weights.
GRADIENT_TOLERANCE = 1e-3


def errors(problem: Problem, way: Way) -> tuple[float, float]:
    """Return the relative errors of warped ab and S, and of WarpNet's gradients.

    Raises:
        AssertionError: one of both is beyond its tolerance.
    """
    (wanted, wanted_gradient), (found, gradient) = (
        _outcome(problem, each) for each in (OPERATOR, way)
    )
    warped_error = relative_error(found, wanted)
    gradient_error = float((gradient - wanted_gradient).norm() / wanted_gradient.norm())
    for what, error, tolerance in (
        ("warped", warped_error, WARPED_TOLERANCE),
        ("gradient", gradient_error, GRADIENT_TOLERANCE),
    ):
        # Written so that NaN fails.
        assert error <= tolerance, f"{problem.name}, {way.name}: {what} differs by {error:.1e}"
    return warped_error, gradient_error


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Return max |found - wanted| / max |wanted| of the worst channel of [B, 3, h, w]."""
    largest = wanted.abs().amax(dim=(0, 2, 3))
    return float(((found - wanted).abs().amax(dim=(0, 2, 3)) / largest).max())


def _outcome(problem: Problem, way: Way) -> tuple[Tensor, Tensor]:
    """Return warped [B, 3, h, w] and the gradient of WarpNet's weights for random gradients."""
    one = problem.passed(0)
    with matching_by(way):
        warped = problem.model(
            one.batch.luminance,
            one.batch.reference_luminance,
            one.batch.reference_ab,
            one.classes,
            one.reference_classes,
        ).warped
        given = torch.randn(warped.shape, generator=torch.Generator().manual_seed(0))
        gradients = torch.autograd.grad(warped, list(problem.model.warp_net.parameters()), given)
    return warped.detach(), torch.cat([x.flatten() for x in gradients])

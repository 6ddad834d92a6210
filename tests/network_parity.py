"""How two networks are compared: in float64, forward and gradients, relative to each maximum."""

import pytest
import torch
from torch import Tensor, nn

# Rounding alone; a wrong layer is off by far more.
TOLERANCE = 1e-10


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def randomised(module: nn.Module) -> nn.Module:
    """Move every parameter off its initial value, so that slopes and scales differ."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def copied_state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict whose parameters require gradients."""
    trained = {name for name, _ in module.named_parameters()}
    return {
        name: x.detach().clone().requires_grad_(name in trained)
        for name, x in module.state_dict().items()
    }


def errors(actual: Tensor, expected: Tensor, *inputs: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Worst relative error of the output, and of the gradients of a random sum of it.

    `inputs` are pairs of leaves; errors are relative to each tensor's maximum. A gradient that is
    exactly 0, such as that of a bias before a norm, is noise on both sides.
    """
    assert actual.shape == expected.shape
    cotangent = torch.randn_like(actual)
    found, wanted = (
        torch.autograd.grad(out, leaves, cotangent)
        for out, leaves in zip((actual, expected), zip(*inputs, strict=True), strict=True)
    )
    noise = 1e-12 * max(x.abs().max() for x in wanted)
    worst = 0.0
    for mine, theirs in zip(found, wanted, strict=True):
        if theirs.abs().max() <= noise:
            assert mine.abs().max() <= noise
        else:
            worst = max(worst, relative_error(mine, theirs))
    return relative_error(actual, expected), worst


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def parameters(module: nn.Module, state: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [(parameter, state[name]) for name, parameter in module.named_parameters()]


def twin_leaves(*size: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    x = scale * torch.randn(*size)
    return x.requires_grad_(), x.detach().clone().requires_grad_()

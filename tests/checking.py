"""Run a correspondence operator, forward and backward, and compare it with the oracle."""

from typing import NamedTuple

import conditioning
import oracle
import torch
from cases import PAPER, Inputs, Options
from tolerances import coarser_by, worst_ratio
from torch import Tensor

import spcolor_ops
from spcolor_ops.correspondence import weight_cutoff

OUTPUTS = ("warped", "similarity", "lse")
WANTED = ("query", "key", "value", "temperature")


class Actual(NamedTuple):
    """What an operator gave: outputs, the gradients that came in, and those that went out."""

    outputs: dict[str, Tensor]
    incoming: dict[str, Tensor]
    gradients: dict[str, Tensor]


def sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the type of similarity and lse."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def leaf(x: Tensor, needs_grad: bool = True) -> Tensor:
    """Return x with its strides as it is, cut from any graph."""
    return x.detach().requires_grad_(needs_grad)


def on_device(x: Tensor, device: str) -> Tensor:
    """Copy x with all of its storage, so that strides and offset stay as they are."""
    if x.device.type == device:
        return x
    storage = torch.empty(0, dtype=x.dtype).set_(x.untyped_storage())
    return storage.to(device).as_strided(x.shape, x.stride(), x.storage_offset())


def run(
    inputs: Inputs,
    options: Options = PAPER,
    *,
    backend: str | None,
    device: str = "cpu",
    differentiated: tuple[str, ...] = OUTPUTS,
    wanted: tuple[str, ...] = WANTED,
) -> Actual:
    """Call the operator, send random gradients into `differentiated`, take those of `wanted`.

    The operator gets its tensors on `device`; what it gives is copied to the CPU.
    """
    inputs = Inputs(*(on_device(x, device) for x in inputs[:5]), inputs.num_segments)
    leaves = {
        name: leaf(getattr(inputs, name), name in wanted) for name in ("query", "key", "value")
    }
    temperature = torch.tensor(
        options.temperature, dtype=sum_dtype(inputs.query.dtype), device=device
    )
    leaves["temperature"] = leaf(temperature, "temperature" in wanted)
    outputs = spcolor_ops.segment_correspondence(
        leaves["query"],
        leaves["key"],
        leaves["value"],
        *inputs[3:5],
        num_segments=inputs.num_segments,
        temperature=leaves["temperature"],
        center=options.center,
        normalize=options.normalize,
        precision=options.precision,
        backend=backend,
    )._asdict()
    actual = backward(outputs, leaves, differentiated, wanted)
    return Actual(*({name: x.cpu() for name, x in tensors.items()} for tensors in actual))


def backward(
    outputs: dict[str, Tensor],
    leaves: dict[str, Tensor],
    differentiated: tuple[str, ...],
    wanted: tuple[str, ...],
) -> Actual:
    """Send random gradients into the `differentiated` outputs and collect those of the leaves."""
    generator = torch.Generator().manual_seed(99)
    incoming = {
        name: torch.randn(outputs[name].shape, generator=generator).to(outputs[name])
        for name in differentiated
    }
    gradients = {}
    if wanted:
        gradients = dict(
            zip(
                wanted,
                torch.autograd.grad(
                    [outputs[name] for name in differentiated],
                    [leaves[name] for name in wanted],
                    [incoming[name] for name in differentiated],
                    allow_unused=True,
                ),
                strict=True,
            )
        )
    gradients = {
        name: torch.zeros_like(leaves[name]) if grad is None else grad
        for name, grad in gradients.items()
    }
    outputs = {name: output.detach() for name, output in outputs.items()}
    return Actual(outputs, incoming, gradients)


def compare(inputs: Inputs, options: Options, actual: Actual) -> dict[str, float]:
    """Return the worst error over its tolerance of each output and gradient: right if at most 1."""
    dtype = inputs.query.dtype
    names = ("query", "key", "value", "temperature")
    tensors = (*inputs[:3], torch.tensor(options.temperature, dtype=sum_dtype(dtype)))
    leaves = {
        name: x.detach().double().requires_grad_() for name, x in zip(names, tensors, strict=True)
    }
    query, key, value, temperature = leaves.values()
    rule = {"num_segments": inputs.num_segments, "center": options.center}
    rule |= {"normalize": options.normalize, "dtype": dtype}
    index = actual.outputs["index"]
    expected = oracle.correspondence(
        query, key, value, *inputs[3:5], temperature, index=index, **rule
    )
    incoming = {
        name: actual.incoming[name].double()
        if name in actual.incoming
        else torch.zeros_like(getattr(expected, name))
        for name in OUTPUTS
    }
    gradients = torch.autograd.grad(
        [getattr(expected, name) for name in OUTPUTS],
        list(leaves.values()),
        list(incoming.values()),
        allow_unused=True,
    )
    gradients = {
        name: torch.zeros_like(leaves[name]) if grad is None else grad
        for name, grad in zip(leaves, gradients, strict=True)
    }

    expected = oracle.Oracle(*(x.detach() for x in expected))
    units, errors = [], []
    for x, labels in ((query, inputs.query_labels), (key, inputs.key_labels)):
        x = x.detach()
        units.append(oracle.unit_vectors(x, labels, **rule))
        errors.append(conditioning.vector_error(x, units[-1], options.center, options.normalize))
    condition = conditioning.conditions(
        *units,
        *errors,
        value.detach(),
        options.temperature,
        expected,
        incoming,
        1.1 * weight_cutoff(dtype),  # a weight at the cutoff may be computed on either side of it
        options.center,
        options.normalize,
    )

    coarser = coarser_by(options.precision, dtype)
    similarity_condition = coarser * condition.amplified["similarity"]
    ratios = {"index": index_ratio(index, expected, similarity_condition, dtype)}
    for name, got, wanted in (
        *((name, actual.outputs[name], getattr(expected, name)) for name in OUTPUTS),
        *((name, got, gradients[name]) for name, got in actual.gradients.items()),
    ):
        ratio = worst_ratio(
            name,
            got,
            wanted,
            dtype,
            coarser * condition.amplified[name],
            condition.dropped.get(name, 0.0),
        )
        ratios[f"grad_{name}" if name in leaves else name] = ratio
    return ratios


def index_ratio(
    index: Tensor, expected: oracle.Oracle, condition: Tensor, dtype: torch.dtype
) -> float:
    """Return how far the cosine at `index` is below the maximum; infinite at a wrong position."""
    if index.shape != expected.index.shape or index.dtype != torch.int64:
        return float("inf")
    alone = ~expected.related.any(2)
    length = expected.cosine.shape[2]
    inside = torch.where(alone, index == -1, (index >= 0) & (index < length))
    if not inside.all():
        return float("inf")
    if not length:
        return 0.0
    at_index = index.clamp(min=0)[:, :, None]
    if not (alone | expected.related.gather(2, at_index)[:, :, 0]).all():
        return float("inf")
    best = expected.cosine.masked_fill(~expected.related, -torch.inf).amax(2).masked_fill(alone, 0)
    return worst_ratio("similarity", expected.similarity, best, dtype, 2 * condition)


def assert_types(inputs: Inputs, actual: Actual) -> None:
    """Check the type of every output and gradient, which the comparison does not see."""
    features, values = inputs.query.dtype, inputs.value.dtype
    types = {"warped": values, "similarity": sum_dtype(features), "lse": sum_dtype(features)}
    types |= {"index": torch.int64}
    assert {name: output.dtype for name, output in actual.outputs.items()} == types
    types = {"query": features, "key": features, "value": values}
    types |= {"temperature": sum_dtype(features)}
    for name, grad in actual.gradients.items():
        assert grad.dtype == types[name], name


def assert_right(inputs: Inputs, options: Options, actual: Actual) -> None:
    """Fail with every output and gradient that is beyond its tolerance."""
    assert_types(inputs, actual)
    wrong = {name: r for name, r in compare(inputs, options, actual).items() if not r <= 1}
    assert not wrong, f"error / tolerance: {wrong}"


def check(inputs: Inputs, options: Options = PAPER, **how) -> Actual:
    """Run and compare; see `run` for what `how` chooses."""
    actual = run(inputs, options, **how)
    assert_right(inputs, options, actual)
    return actual

"""`python -m benchmarks.precision`: what each precision of the products costs in accuracy.

A tensor core rounds its operands, multiplies exactly and sums in float32; that is computed here in
plain PyTorch, so no GPU is needed. Compared with float64 are the cosines, the softmax weights at
temperature 0.01 and the colours that they average, of whole images (k = 1), centred: the features
of EfficientNet-Lite0 that colorizing matches, and those of VGG-19 with random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spcolor_model.features import WorkingImage

from . import machine
from .pairs import Pair
from .problem import TEMPERATURE
from .real_pairs import photo_pairs, real_pair
from .tables import markdown, write_csv

PAIRS = 4
VGG_LAYERS = (
    18  # up to the last rectifier of the third block: 256 channels at a quarter of the size
)


def to_tf32(x: Tensor) -> Tensor:
    """Round float32 to 10 bits of fraction, ties away from zero."""
    return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def three_products(q: Tensor, k: Tensor) -> Tensor:
    q_high, k_high = to_tf32(q), to_tf32(k)
    q_low, k_low = to_tf32(q - q_high), to_tf32(k - k_high)
    return q_high @ k_high.mT + (q_low @ k_high.mT + q_high @ k_low.mT)


def rounded(round_operand: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda q, k: round_operand(q).float() @ round_operand(k).float().mT


# precision -> scores of float32 unit vectors [N, C] and [M, C]
SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ieee": lambda q, k: q @ k.mT,
    "tf32x3": three_products,
    "tf32": rounded(to_tf32),
    "fp16": rounded(torch.Tensor.half),
    "bf16": rounded(torch.Tensor.bfloat16),
}


def unit_vectors(x: Tensor, *, center: bool = True) -> Tensor:
    return F.normalize(x - x.mean(0) if center else x, dim=1)


def errors(scores: Tensor, exact: Tensor, value: Tensor) -> dict[str, float]:
    """Compare scores [N, M] with float64 ones, and what a softmax makes of both."""
    weights, exact_weights = ((x.double() / TEMPERATURE).softmax(1) for x in (scores, exact))
    cosine = (scores.double() - exact).abs()
    weight = (weights - exact_weights).abs()
    colour = (weights @ value - exact_weights @ value).norm(dim=1)
    return {
        "worst_cosine_error": float(cosine.max()),
        "mean_cosine_error": float(cosine.mean()),
        "worst_weight_error": float(weight.max()),
        "moved_weight": float(weight.sum(1).mean() / 2),  # of a row's 1, on average
        "worst_ab_error": float(colour.max()),
        "mean_ab_error": float(colour.mean()),
        "same_index": float((scores.argmax(1) == exact.argmax(1)).double().mean()),
    }


def measure(query: Tensor, key: Tensor, value: Tensor) -> Iterator[dict[str, str | float]]:
    """Yield a line for each precision, of features [N, C], [M, C] and values [M, D]."""
    exact = unit_vectors(query.double()) @ unit_vectors(key.double()).mT
    q, k = unit_vectors(query), unit_vectors(key)
    for precision, scores in SCORES.items():
        yield {"precision": precision} | errors(scores(q, k), exact, value.double())
    # Features that are float16 already, not centred: exact products, scaled afterwards.
    query, key = query.half(), key.half()
    exact = unit_vectors(query.double(), center=False) @ unit_vectors(key.double(), center=False).mT
    products = query.float() @ key.float().mT
    scales = [1 / x.float().norm(dim=1) for x in (query, key)]
    raw = products * scales[0][:, None] * scales[1]
    yield {"precision": "ieee, fp16 features"} | errors(raw, exact, value.double())


@torch.inference_mode()
def vgg_features(photo: np.ndarray) -> Tensor:
    """Return [N, 256] of a photo [H, W, 3] from VGG-19 with weights that are random, but fixed."""
    from torchvision.models import vgg19

    torch.manual_seed(0)
    network = vgg19(weights=None).features[:VGG_LAYERS].eval()
    pixels = WorkingImage(photo).pixels[None] / 255
    return network(F.interpolate(pixels, scale_factor=0.5, mode="area"))[0].flatten(1).mT


def problems(pair: Pair) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Yield (name of the features, query, key, value) of one pair."""
    real = real_pair(pair)
    yield "EfficientNet-Lite0", real.query[0], real.key[0], real.value[0]
    query, key = (vgg_features(photo) for photo in (pair.target, pair.reference))
    generator = torch.Generator().manual_seed(0)
    yield "VGG-19, random weights", query, key, 40 * torch.randn(len(key), 2, generator=generator)


def run(folder: Path) -> None:
    """Print a table for each kind of features, and save every line in `folder`."""
    lines = [
        {"pair": pair.name, "features": name} | line
        for pair in photo_pairs(PAIRS)
        for name, *tensors in problems(pair)
        for line in measure(*tensors)
    ]
    if not lines:
        return
    header = ["precision", "cosine worst", "mean", "weight worst", "moved"]
    header += ["ab worst", "mean", "same index"]
    for name in dict.fromkeys(line["features"] for line in lines):
        print(f"\n{name}: worst and mean of {PAIRS} pairs\n")
        rows = [
            summary([x for x in lines if (x["features"], x["precision"]) == (name, precision)])
            for precision in dict.fromkeys(line["precision"] for line in lines)
        ]
        print("\n".join(markdown(header, rows)))
    write_csv(lines, machine.describe(), folder / "precision.csv")


def summary(lines: list[dict]) -> list[str]:
    """Return a row of the printed table from the lines of all pairs."""

    def worst(column: str) -> str:
        return f"{max(line[column] for line in lines):.1e}"

    def mean(column: str, form: str = ".1e") -> str:
        return f"{sum(line[column] for line in lines) / len(lines):{form}}"

    return [
        lines[0]["precision"],
        worst("worst_cosine_error"),
        mean("mean_cosine_error"),
        worst("worst_weight_error"),
        mean("moved_weight"),
        worst("worst_ab_error"),
        mean("mean_ab_error"),
        mean("same_index", ".2%"),
    ]


if __name__ == "__main__":
    run(Path("out/bench"))

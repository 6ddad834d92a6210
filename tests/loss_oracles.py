"""Losses as loops over single numbers in float64, for numpy arrays."""

import math

import numpy as np
import torch

# Both sides sum in float64, in another order.
RTOL = 1e-12


def random(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64) * scale


def assert_value(actual: torch.Tensor, expected: float, rtol: float = RTOL) -> None:
    assert actual.shape == ()
    assert abs(actual.item() - expected) <= rtol * abs(expected)


def l1_oracle(ab, truth, is_self):
    errors = [
        abs(x - y)
        for b in range(len(ab))
        if is_self[b]
        for x, y in zip(ab[b].ravel(), truth[b].ravel(), strict=True)
    ]
    return math.fsum(errors) / len(errors) if errors else 0.0


def perceptual_oracle(features, truth, similarity=None):
    total, (images, channels, rows, columns) = [], features.shape
    for b, c, y, x in np.ndindex(features.shape):
        weight = 1.0
        if similarity is not None:
            near = (y * similarity.shape[1] // rows, x * similarity.shape[2] // columns)
            weight -= similarity[(b, *near)]
        total.append((features[b, c, y, x] - truth[b, c, y, x]) ** 2 * weight)
    return math.fsum(total) / (images * channels * rows * columns)


def masked_l1_oracle(ab, truth, similarity):
    total = []
    for b, c, y, x in np.ndindex(ab.shape):
        near = (y * similarity.shape[1] // ab.shape[2], x * similarity.shape[2] // ab.shape[3])
        total.append(abs(ab[b, c, y, x] - truth[b, c, y, x]) * (1 - similarity[(b, *near)]))
    return math.fsum(total) / ab.size


def adversarial_oracle(real, fake, sign):
    """sign 1: the discriminator's, -1: the generator's."""
    real, fake = real.ravel().tolist(), fake.ravel().tolist()
    mean_real, mean_fake = sum(real) / len(real), sum(fake) / len(fake)
    of_real = sum((r - mean_fake - sign) ** 2 for r in real) / len(real)
    of_fake = sum((f - mean_real + sign) ** 2 for f in fake) / len(fake)
    return 0.5 * (of_real + of_fake)


def smoothness_oracle(ab, lab, alpha):
    images, _, rows, columns = ab.shape
    squares = []
    for b, y, x in np.ndindex(images, rows, columns):
        weights, colours = [], []
        for dy, dx in np.ndindex(3, 3):
            v, u = y + dy - 1, x + dx - 1
            inside = 0 <= v < rows and 0 <= u < columns
            lab_near = lab[b, :, v, u] if inside else np.zeros(3)
            colours.append(ab[b, :, v, u] if inside else np.zeros(2))
            weights.append(math.exp(-((lab[b, :, y, x] - lab_near) ** 2).sum() / alpha))
        for c in range(2):
            mean = sum(w * colour[c] for w, colour in zip(weights, colours, strict=True))
            squares.append((ab[b, c, y, x] - mean / sum(weights)) ** 2)
    return math.fsum(squares) / len(squares)


def contextual_oracle(features, reference, bandwidth):
    def directions(maps, centre):
        offsets = maps.reshape(len(maps), -1).T - centre
        return [offset / math.sqrt((offset**2).sum()) for offset in offsets]

    logs = []
    for x_map, y_map in zip(features, reference, strict=True):
        centre = y_map.reshape(len(y_map), -1).mean(1)
        y_directions = directions(y_map, centre)
        best = []
        for x in directions(x_map, centre):
            distances = [abs(1 - (x * y).sum()) for y in y_directions]
            relative = [d / (min(distances) + 1e-5) for d in distances]
            weights = [math.exp((1 - d) / bandwidth) for d in relative]
            best.append(max(weights) / sum(weights))
        logs.append(-math.log(sum(best) / len(best)))
    return sum(logs) / len(logs)

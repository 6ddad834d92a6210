"""What the networks must compute, from a state dict, in float64.

Layer by layer from the published sizes, with norms, paddings, attention and matching written out;
gradients are left to PyTorch's autograd. Convolutions are PyTorch's.
"""

import numpy as np
import oracle
import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def instance_norm(x: Tensor) -> Tensor:
    mean = x.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3])
    variance = ((x - mean) ** 2).sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3])
    return (x - mean) / torch.sqrt(variance + 1e-5)


def twice(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def convolve(state: State, key: str, x: Tensor, **options) -> Tensor:
    return F.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"], **options)


# WarpNet


def nearest(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Resize [B, h, w]: position i of H reads floor(i h / H)."""
    row = [i * maps.shape[1] // rows for i in range(rows)]
    column = [i * maps.shape[2] // columns for i in range(columns)]
    return maps[:, row][:, :, column]


def padded(state: State, key: str, x: Tensor, stride: int = 1) -> Tensor:
    """A 3 x 3 convolution of the mirrored map."""
    return convolve(state, key, F.pad(x, (1, 1, 1, 1), mode="reflect"), stride=stride)


def half_branch(state: State, key: str, conv: int, x: Tensor, stride: int = 1) -> Tensor:
    x = instance_norm(padded(state, f"{key}.{conv}", x, stride))
    return prelu(x, state[f"{key}.{conv + 2}.weight"])


def embedding(state: State, maps: list[Tensor]) -> Tensor:
    """[B, C, H/4, W/4] of four maps."""
    x2, x3, x4, x5 = (x / (x.square().sum(1, keepdim=True).sqrt() + 2.2e-16) for x in maps)
    x2 = half_branch(state, "layer2_1", 5, half_branch(state, "layer2_1", 1, x2), stride=2)
    x3 = half_branch(state, "layer3_1", 5, half_branch(state, "layer3_1", 1, x3))
    x4 = twice(half_branch(state, "layer4_1", 5, half_branch(state, "layer4_1", 1, x4)))
    x5 = twice(half_branch(state, "layer5_1", 1, x5))
    x5 = twice(half_branch(state, "layer5_1", 6, x5))
    x = torch.cat([x2, x3, x4, x5], 1)
    for block in ("layer.0", "layer.1", "layer.2"):
        slope = state[f"{block}.prelu.weight"]
        y = prelu(instance_norm(padded(state, f"{block}.conv1", x)), slope)
        x = prelu(x + instance_norm(padded(state, f"{block}.conv2", y)), slope)
    return x


def warp_net(state: State, target, reference, ab, labels, confidences, num_segments) -> Tensor:
    """[B, 3, H/4, W/4]; labels and confidences are pairs (target, reference) of [B, h, w]."""
    rows, labels_of, confidence_of = [], [], []
    for side, maps, name in ((0, target, "theta_class"), (1, reference, "phi_class")):
        x = embedding(state, maps)
        size = x.shape[2:]
        x = torch.einsum("oc,bchw->bhwo", state[f"{name}.weight"], x) + state[f"{name}.bias"]
        rows.append(x.flatten(1, 2))
        labels_of.append(nearest(labels[side], *size).flatten(1))
        confidence_of.append(nearest(confidences[side], *size).flatten(1))
    height, width = ab.shape[2] // 4, ab.shape[3] // 4
    small = ab.reshape(*ab.shape[:2], height, 4, width, 4).mean((3, 5)).flatten(2).mT
    found = oracle.correspondence(
        *rows,
        torch.cat([small, confidence_of[1][:, :, None]], 2),
        *labels_of,
        torch.tensor(0.01, dtype=torch.float64),
        num_segments=num_segments,
        center=True,
        normalize=True,
        dtype=torch.float64,
    )
    total = found.similarity * confidence_of[0] * found.warped[:, :, 2]
    out = torch.cat([found.warped[:, :, :2], total[:, :, None]], 2)
    return out.mT.unflatten(2, target[1].shape[2:])


# ColorVidNet


def color_vid_net(state: State, x: Tensor) -> Tensor:
    def conv(key, x, rate=1):
        return convolve(state, key, x, padding=rate, dilation=rate)

    def block(x, keys, rate=1):
        for key in keys.split():
            x = conv(key, x, rate).clamp(min=0)
        return instance_norm(x)

    def sampled(x, key):
        return x[:, :, ::2, ::2] * state[f"{key}norm_ss.weight"][:, 0, 0, 0][:, None, None]

    n1 = block(x, "conv1_1_new.0 conv1_1_new.2 conv1_2")
    n2 = block(sampled(n1, "conv1_2"), "conv2_1 conv2_2")
    n3 = block(sampled(n2, "conv2_2"), "conv3_1 conv3_2 conv3_3")
    x = block(sampled(n3, "conv3_3"), "conv4_1 conv4_2 conv4_3")
    x = block(x, "conv5_1 conv5_2 conv5_3", rate=2)
    x = block(x, "conv6_1 conv6_2 conv6_3", rate=2)
    x = block(x, "conv7_1 conv7_2 conv7_3")
    x = (conv("conv8_1.1", twice(x)) + conv("conv3_3_short", n3)).clamp(min=0)
    x = block(x, "conv8_2 conv8_3")
    x = (conv("conv9_1.1", twice(x)) + conv("conv2_2_short", n2)).clamp(min=0)
    x = block(x, "conv9_2")
    x = (conv("conv10_1.1", twice(x)) + conv("conv1_2_short", n1)).clamp(min=0)
    x = conv("conv10_2", x)
    x = torch.where(x > 0, x, 0.2 * x)
    return 128 * torch.tanh(convolve(state, "conv10_ab", x))


# Discriminator


def spectral(state: State, key: str, x: Tensor, *, iterate: bool, stride=1, padding=0) -> Tensor:
    """Convolve with W / sigma; `iterate` does one power iteration first, and stores it."""
    held = f"{key}.module."
    weight = state[f"{held}weight_bar"]
    matrix = weight.detach().reshape(weight.shape[0], -1).numpy()
    u, v = (state[f"{held}weight_{name}"].numpy() for name in "uv")
    if iterate:
        v = matrix.T @ u
        v = v / max(np.linalg.norm(v), 1e-12)
        u = matrix @ v
        u = u / max(np.linalg.norm(u), 1e-12)
        state[f"{held}weight_u"], state[f"{held}weight_v"] = map(torch.from_numpy, (u, v))
    outer = torch.from_numpy(np.outer(u, v)).reshape(weight.shape)
    normalised = weight / (outer * weight).sum()
    return F.conv2d(x, normalised, state[f"{held}bias"], stride=stride, padding=padding)


def discriminator(state: State, x: Tensor, layers: int, *, iterate: bool) -> Tensor:
    def halved(key, x):
        return spectral(state, f"{key}.0", x, iterate=iterate, stride=2, padding=1)

    def leaky(x):
        return torch.where(x > 0, x, 0.2 * x)

    x = leaky(instance_norm(halved("layer2", leaky(halved("layer1_new", x)))))
    q, k, v = (
        spectral(state, f"attention.{name}_conv", x, iterate=iterate).flatten(2)
        for name in ("query", "key", "value")
    )
    weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k), 2)
    x = x + state["attention.gamma"] * torch.einsum("bij,bcj->bci", weights, v).view_as(x)
    for index in range(3, layers + 1):
        x = leaky(instance_norm(halved(f"layer{index}", x)))
    x = spectral(state, "last_new", x, iterate=iterate)
    return x.sum((2, 3)) / (x.shape[2] * x.shape[3])

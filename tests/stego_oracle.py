"""STEGO a second time: NumPy in float64, from the equations of its parts."""

import numpy as np
from scipy.special import erf, softmax

# ImageNet's, which the network keeps in float32.
MEAN = np.array([0.485, 0.456, 0.406], np.float32).astype(float)
STD = np.array([0.229, 0.224, 0.225], np.float32).astype(float)


def cubic_matrix(length: int, side: int) -> np.ndarray:
    """Bicubic weights [length, side] of DINO: Keys's kernel, a = -0.75, edges repeated."""
    weights = np.zeros((length, side))
    for row in range(length):
        at = (row + 0.5) * side / (length + 0.1) - 0.5
        for tap in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            x = abs(at - tap)
            near = 1.25 * x**3 - 2.25 * x**2 + 1
            far = -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            weights[row, min(max(tap, 0), side - 1)] += near if x <= 1 else far
    return weights


def positions(embedding: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[1 + n * n, E] -> [1 + h * w, E]."""
    side = int(np.sqrt(len(embedding)))
    rows, columns = (cubic_matrix(length, side) for length in size)
    grid = embedding[1:].reshape(side, side, -1)
    grid = np.einsum("yi,xj,ije->yxe", rows, columns, grid)
    return np.concatenate([embedding[:1], grid.reshape(size[0] * size[1], -1)])


def linear(x: np.ndarray, p: dict, name: str) -> np.ndarray:
    weight = p[f"{name}.weight"]
    return x @ weight.reshape(len(weight), -1).T + p[f"{name}.bias"]


def layer_norm(x: np.ndarray, p: dict, name: str) -> np.ndarray:
    centred = x - x.mean(1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-6)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def attention(x: np.ndarray, p: dict, name: str, heads: int) -> np.ndarray:
    query, key, value = np.split(linear(x, p, f"{name}.qkv"), 3, axis=1)
    out = []
    for q, k, v in zip(*(np.split(y, heads, axis=1) for y in (query, key, value)), strict=True):
        out.append(softmax(q @ k.T / np.sqrt(q.shape[1]), axis=1) @ v)
    return linear(np.concatenate(out, axis=1), p, f"{name}.proj")


def vit(image: np.ndarray, p: dict, heads: int) -> np.ndarray:
    """Tokens [h * w, E] of one normalised image [3, H, W] under DINO's parameter names."""
    kernel = p["patch_embed.proj.weight"]
    height, width = (length // 8 for length in image.shape[1:])
    patches = image.reshape(3, height, 8, width, 8).transpose(1, 3, 0, 2, 4)
    patches = patches.reshape(height * width, -1)
    x = patches @ kernel.reshape(len(kernel), -1).T + p["patch_embed.proj.bias"]
    x = np.concatenate([p["cls_token"][0], x]) + positions(p["pos_embed"][0], (height, width))
    depth = 1 + max(int(name.split(".")[1]) for name in p if name.startswith("blocks."))
    for block in (f"blocks.{index}" for index in range(depth)):
        x = x + attention(layer_norm(x, p, f"{block}.norm1"), p, f"{block}.attn", heads)
        hidden = linear(layer_norm(x, p, f"{block}.norm2"), p, f"{block}.mlp.fc1")
        gelu = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        x = x + linear(gelu, p, f"{block}.mlp.fc2")
    return layer_norm(x, p, "norm")[1:]


def code(tokens: np.ndarray, p: dict) -> np.ndarray:
    """STEGO's head: tokens [N, E] -> [N, 90]."""
    hidden = np.maximum(linear(tokens, p, "cluster2.0"), 0)
    return linear(tokens, p, "cluster1.0") + linear(hidden, p, "cluster2.2")


def probe(codes: np.ndarray, clusters: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels and confidence of codes [N, E]."""
    lengths = np.linalg.norm(codes, axis=1)[:, None] * np.linalg.norm(clusters, axis=1)
    probabilities = softmax(scale * (codes @ clusters.T) / lengths, axis=1)
    return probabilities.argmax(1), probabilities.max(1)


def stego(rgb: np.ndarray, state: dict, heads: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and confidence [h, w] of one image [3, H, W], under the checkpoint's names."""
    image = (rgb - MEAN[:, None, None]) / STD[:, None, None]
    net = {name.removeprefix("net."): x for name, x in state.items()}
    backbone = {name.removeprefix("model."): x for name, x in net.items()}
    codes = code(vit(image, backbone, heads), net)
    size = (image.shape[1] // 8, image.shape[2] // 8)
    found = probe(codes, state["cluster_probe.clusters"], 10)
    return tuple(x.reshape(size) for x in found)

"""Checkpoints of the earlier work that SPColor starts from, renamed to its keys.

The earlier work is Deep Exemplar-based Video Colorization (Zhang et al. 2019), whose networks
differ in a few layers. The published SPColor code loads its files as they are and leaves those
layers random; here the ones that mean the same are converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

# The earlier work's input channels are L, a, b, S and the last frame's L, a, b; ours a, b, S, L.
_COLOR_CHANNELS = [1, 2, 3, 0]
_SPECTRAL_NORM_KEYS = ("bias", "weight_u", "weight_v", "weight_bar")


class Conversion(NamedTuple):
    """A converted state dict and what does not carry over.

    Attributes:
        state: keys and shapes of our network.
        fresh: keys of our network that the checkpoint has nothing for; `state` lacks them, and
            they keep their initial values.
        dropped: what of the checkpoint has no place in our network.

    Example:
        >>> found = discriminator_from_earlier_work(saved)
        >>> discriminator.load_state_dict({**discriminator.state_dict(), **found.state})
        <All keys matched successfully>
    """

    state: dict[str, Tensor]
    fresh: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


def warp_net_from_earlier_work(state: Mapping[str, Tensor]) -> Conversion:
    """Convert `nonlocal_net_iter_*.pth` to `WarpNet`: its projections are 1 x 1 convolutions.

        theta_class.weight = theta.weight[:, :, 0, 0],    likewise phi.

    Args:
        state: 43 keys; theta.weight and phi.weight [C, C, 1, 1], their biases [C].

    Returns:
        Everything carries over.

    Raises:
        ValueError: a projection is absent or of another shape.

    Example:
        >>> warp_net.load_state_dict(warp_net_from_earlier_work(torch.load(path)).state)
        <All keys matched successfully>
    """
    converted = dict(state)
    for name in ("theta", "phi"):
        _check(state, f"{name}.weight", "C C 1 1")
        _check(state, f"{name}.bias", "C")
        converted[f"{name}_class.weight"] = converted.pop(f"{name}.weight")[:, :, 0, 0]
        converted[f"{name}_class.bias"] = converted.pop(f"{name}.bias")
    return Conversion(converted)


def color_vid_net_from_earlier_work(state: Mapping[str, Tensor]) -> Conversion:
    """Convert `colornet_iter_*.pth` to `ColorVidNet`: other input channels, in another order.

        conv1_1_new.0.weight[:, (a, b, S, L)] = conv1_1.0.weight[:, (1, 2, 3, 0)]

    Args:
        state: 65 keys; conv1_1.0.weight [O, 7, 3, 3] of L, a, b, S and the last frame's L, a, b.

    Returns:
        Everything carries over but the last frame's channels.

    Raises:
        ValueError: the first layer is absent or of another shape.

    Example:
        >>> color_net.load_state_dict(color_vid_net_from_earlier_work(torch.load(path)).state)
        <All keys matched successfully>
    """
    _check(state, "conv1_1.0.weight", "O 7 3 3")
    converted = {
        f"conv1_1_new.{key.removeprefix('conv1_1.')}" if key.startswith("conv1_1.") else key: x
        for key, x in state.items()
    }
    converted["conv1_1_new.0.weight"] = state["conv1_1.0.weight"][:, _COLOR_CHANNELS]
    return Conversion(converted, dropped=("conv1_1.0.weight[:, 4:7]",))


def discriminator_from_earlier_work(state: Mapping[str, Tensor]) -> Conversion:
    """Convert `discriminator_iter_*.pth` to `Discriminator`: it judges pairs of 216 x 384 frames.

    Its first layer reads six channels and its last one a 3 x 6 map, so both stay fresh.

    Args:
        state: 41 keys; layer1.0.module.* and last.module.* are the ones without a counterpart.

    Returns:
        Everything carries over but the first and the last layer.

    Raises:
        ValueError: one of these two is absent.

    Example:
        >>> discriminator_from_earlier_work(torch.load(path)).fresh[0]
        'layer1_new.0.module.bias'
    """
    _check(state, "layer1.0.module.weight_bar", "O 6 4 4")
    _check(state, "last.module.weight_bar", "1 C 3 6")
    dropped = tuple(key for key in state if key.startswith(("layer1.", "last.")))
    fresh = tuple(
        f"{name}.module.{key}"
        for name in ("layer1_new.0", "last_new")
        for key in _SPECTRAL_NORM_KEYS
    )
    return Conversion({k: x for k, x in state.items() if k not in dropped}, fresh, dropped)


def _check(state: Mapping[str, Tensor], key: str, dims: str) -> None:
    """Check that a key is there with sizes such as "O 7 3 3", where letters stand for any."""
    if key not in state:
        shown = ", ".join([*list(state)[:3], "..."]) if state else "nothing"
        raise ValueError(f"state: expected the earlier work's key {key!r}, got {shown}")
    shape, expected = list(state[key].shape), dims.split()
    fits = len(shape) == len(expected) and all(
        not want.isdigit() or int(want) == size for want, size in zip(expected, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"state[{key!r}]: expected shape [{', '.join(expected)}], got {shape}")

"""VGG-19 up to relu5_2: the paper's features and perceptual network.

Dimensions: B images, C channels, H rows and W columns of the image.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, check_rgb

# (convolutions, channels) of each stage; a 2 x 2 maximum pool stands between stages.
_STAGES = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
# (reversed channel order, mean, scale) by the origin of the weights; mean and scale in that order.
_PREPROCESSING = {
    "caffe": (True, (0.40760392, 0.45795686, 0.48501961), (255.0, 255.0, 255.0)),
    "torchvision": (False, (0.485, 0.456, 0.406), (1 / 0.229, 1 / 0.224, 1 / 0.225)),
}


class VGG19(Backbone):
    """Return relu1_2, relu2_2, relu3_2, relu4_2 and relu5_2 of VGG-19.

    All 16 convolutions are in the state dict, under the keys conv1_1 ... conv5_4 of the published
    `vgg19_conv.pth`; the two after relu5_2 are not computed. The weights are random until
    `load_state_dict`. The input is prepared as those weights expect:

        caffe:        x = 255 (bgr - mean)      (`vgg19_conv.pth`; the paper's)
        torchvision:  x = (rgb - mean) / std    (`torchvision_state_dict`)

    Args:
        preprocessing: "caffe" or "torchvision".

    Raises:
        ValueError: another preprocessing.

    Example:
        >>> [tuple(x.shape[1:]) for x in VGG19()(torch.rand(1, 3, 256, 256))]
        [(64, 256, 256), (128, 128, 128), (256, 64, 64), (512, 32, 32), (512, 16, 16)]
    """

    name = "vgg19"
    correspondence_channels = (128, 256, 512, 512)
    _stride_2 = 1

    def __init__(self, preprocessing: str = "caffe") -> None:
        super().__init__()
        if preprocessing not in _PREPROCESSING:
            expected = ", ".join(repr(name) for name in _PREPROCESSING)
            raise ValueError(f"preprocessing: expected one of {expected}, got {preprocessing!r}")
        self.is_bgr, mean, scale = _PREPROCESSING[preprocessing]
        # Not persistent: the published state dict has convolutions alone.
        for name, values in (("mean", mean), ("scale", scale)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        channels = 3
        for stage, (count, width) in enumerate(_STAGES, 1):
            for index in range(1, count + 1):
                self.add_module(f"conv{stage}_{index}", nn.Conv2d(channels, width, 3, padding=1))
                channels = width
        self._freeze()

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """Extract the five maps.

        Args:
            rgb: [B, 3, H, W] in 0..1, H and W at least 32. A gray target is L* / 100 replicated.

        Returns:
            Five maps [B, C, H / s, W / s], rounded down: strides s = 1, 2, 4, 8, 16 with
            C = 64, 128, 256, 512, 512.

        Raises:
            TypeError, ValueError: another shape or an integer dtype.
        """
        check_rgb(rgb)
        x = ((rgb.flip(1) if self.is_bgr else rgb) - self.mean) * self.scale
        maps = []
        for stage, (count, _) in enumerate(_STAGES, 1):
            x = self._convolve(x, stage, 1, 2)
            maps.append(x)
            if stage < len(_STAGES):
                x = F.max_pool2d(self._convolve(x, stage, 3, count), 2)
        return maps

    def _convolve(self, x: Tensor, stage: int, first: int, last: int) -> Tensor:
        """Convolutions first..last of a stage with a ReLU each."""
        for index in range(first, last + 1):
            x = F.relu(getattr(self, f"conv{stage}_{index}")(x))
        return x


def torchvision_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the convolutions of torchvision's `vgg19` to those of `VGG19`.

    Its weights expect `VGG19(preprocessing="torchvision")`: the difference cannot be folded into
    the first convolution, because zero padding comes after the preprocessing.

    Args:
        state: torchvision's state dict; "features.N.weight" [O, I, 3, 3] and "features.N.bias" [O].
            Other keys, those of the classifier, are left out.

    Returns:
        A state dict of `VGG19`.

    Raises:
        ValueError: not 16 convolutions.

    Example:
        >>> vgg = VGG19("torchvision")
        >>> vgg.load_state_dict(torchvision_state_dict(torchvision.models.vgg19().state_dict()))
        <All keys matched successfully>
    """
    features = [key.split(".") for key in state if key.startswith("features.")]
    places = sorted({int(place) for _, place, _ in features})
    names = [f"conv{s}_{i + 1}" for s, (count, _) in enumerate(_STAGES, 1) for i in range(count)]
    if len(places) != len(names):
        raise ValueError(
            f"state: expected torchvision's vgg19, with {len(names)} convolutions under "
            f'"features.", got {len(places)}'
        )
    renamed = dict(zip(places, names, strict=True))
    return {
        f"{renamed[int(place)]}.{kind}": state[f"features.{place}.{kind}"]
        for _, place, kind in features
    }

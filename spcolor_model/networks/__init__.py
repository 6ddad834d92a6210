"""Networks of SPColor, with the state-dict keys and shapes of the published code."""

from .backbone import Backbone
from .color_vid_net import ColorVidNet
from .discriminator import Discriminator
from .efficientnet import EfficientNetLite0
from .pretrained import BackboneName, load_backbone
from .vgg import VGG19
from .warp_net import WarpNet

__all__ = [
    "VGG19",
    "Backbone",
    "BackboneName",
    "ColorVidNet",
    "Discriminator",
    "EfficientNetLite0",
    "WarpNet",
    "load_backbone",
]

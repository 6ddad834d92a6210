"""Losses of SPColor (paper section III-C), one function each, and their weighted total.

No function but the total holds a weight. Half-precision arguments are computed in float32, also
under autocast. Arguments named truth or reference get no gradient.
"""

from .adversarial import adversarial_discriminator, adversarial_generator
from .color import lab_to_rgb
from .contextual import contextual, contextual_pyramid
from .generator import GeneratorLoss, LossWeights
from .masked_l1 import similarity_masked_l1
from .perceptual import perceptual, similarity_masked_perceptual
from .self_reference import self_reference_l1
from .smoothness import smoothness

__all__ = [
    "GeneratorLoss",
    "LossWeights",
    "adversarial_discriminator",
    "adversarial_generator",
    "contextual",
    "contextual_pyramid",
    "lab_to_rgb",
    "perceptual",
    "self_reference_l1",
    "similarity_masked_l1",
    "similarity_masked_perceptual",
    "smoothness",
]

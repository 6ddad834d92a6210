"""Training data: manifests of photo pairs, their geometry, and the samples that networks see."""

from .geometry import crop_resize, self_reference
from .manifest import Pair, check_manifest, read_manifest, write_manifest
from .pairs import ColorizationPairs, ResumableBatchSampler, Sample

__all__ = [
    "ColorizationPairs",
    "Pair",
    "ResumableBatchSampler",
    "Sample",
    "check_manifest",
    "crop_resize",
    "read_manifest",
    "self_reference",
    "write_manifest",
]

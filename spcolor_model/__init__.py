"""SPColor: semantic prior guided exemplar-based image colorization, on top of spcolor_ops.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module

_HOME = {
    "Colorization": "engine",
    "Edits": "regions",
    "Explanation": "explanation",
    "colorize": "engine",
    "explain": "explanation",
    "save_report": "explanation",
    "save_sheet": "sheet",
}

__all__ = [
    "Colorization",
    "Edits",
    "Explanation",
    "colorize",
    "explain",
    "save_report",
    "save_sheet",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

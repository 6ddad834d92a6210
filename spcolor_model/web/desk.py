"""What every tab does with a visitor's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from . import colouring
from .colouring import Choice
from .limits import Limits
from .storage import Storage


class Desk:
    """Pictures and files of visitors, for the handlers of a tab.

    Handlers get the values of components, and the request, which says whose they are.

    Args:
        storage: where files of visitors go.
        limits: on a batch.

    Example:
        >>> Desk(storage, Limits()).picture(rgb, token)
        '/tmp/page/qF3.../Zk9....jpg'
    """

    def __init__(self, storage: Storage, limits: Limits) -> None:
        self.storage = storage
        self.limits = limits

    def show(self, photo: str | None, request: gr.Request) -> tuple[str | None, str | None]:
        """Return a photo as it is shown, and its path."""
        if photo is None:
            return None, None
        path = self.storage.new_file(visitor(request), ".jpg")
        colouring.preview(Path(photo), path)
        return str(path), photo

    def picture(self, rgb: np.ndarray, token: str, side: int = colouring.SHOWN_SIDE) -> str:
        """Save a picture [H, W, 3] uint8 as it is shown; return its path."""
        path = self.storage.new_file(token, ".jpg")
        colouring.preview(rgb, path, side)
        return str(path)


def visitor(request: gr.Request) -> str:
    """Return the token that the gate has put into the request."""
    return request.request.state.visitor


def to_save(path: Path | None) -> dict[str, Any]:
    """Return the update of a button that saves a file, or that has none."""
    return gr.update(value=path and str(path), interactive=path is not None)


def choice(engine: str, prior: str, fitted: bool, segments: float) -> Choice:
    """Return what the components of `parts.settings` say."""
    return Choice(engine, prior, int(segments) if fitted and prior == "clusters" else None)


def require(**chosen: object) -> None:
    """Check that something was chosen of each.

    Raises:
        gr.Error: nothing was; the names are what the page calls it.
    """
    for name, value in chosen.items():
        if not value:
            raise gr.Error(f"Choose a {name.replace('_', ' ')} first.", print_exception=False)

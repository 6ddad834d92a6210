"""Why a point has its colour: a click on the photo, and what the point took."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from threading import Lock

import gradio as gr

from ..explanation import Explanation
from ..explanation.pictures import of_point
from . import parts
from .colouring import SHOWN_SIDE
from .desk import Desk, visitor
from .limits import Limits
from .storage import Storage

_HEIGHT = 440
# Features of both photos, about 100 MB each.
_KEPT = 4


class Points(Desk):
    """Handlers of clicks; the matches of the last few photos are kept. Args as of `Desk`."""

    def __init__(self, storage: Storage, limits: Limits) -> None:
        super().__init__(storage, limits)
        self._kept: OrderedDict[str, Explanation] = OrderedDict()
        self._lock = Lock()

    def keep(self, session: str, explanation: Explanation) -> None:
        """Keep what a session's points can be explained with, in place of its last."""
        with self._lock:
            self._kept[session] = explanation
            self._kept.move_to_end(session)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)

    def explain(self, request: gr.Request, clicked: gr.SelectData) -> tuple[list, str]:
        """Return pictures of the point that was clicked, and what speaks against its colour."""
        with self._lock:
            explanation = self._kept.get(request.session_hash)
        if explanation is None:
            raise gr.Error(
                "Colour the photo again: its matches are not kept any more.", print_exception=False
            )
        height, width = explanation.colorization.gray.shape[:2]
        scale = max(1, max(height, width) / SHOWN_SIDE)
        x, y = (
            min(max(0, round(place * scale)), length - 1)
            for place, length in zip(clicked.index, (width, height), strict=True)
        )
        point = explanation.at(x, y)
        token = visitor(request)
        pictures = [
            (self.picture(one.rgb, token), one.caption)
            for one in of_point(replace(explanation, points=[point]), 1)
        ]
        said = point.warnings or [f"point {x},{y}: similarity S {point.similarity:.2f}"]
        return pictures, "\n".join(f"- {sentence}" for sentence in said)


def build(handlers: Points) -> gr.Image:
    """Add the components; return the photo that is clicked."""
    gr.Markdown("### Why this colour? Click a point of the photo")
    with gr.Row():
        photo = gr.Image(
            label="Click a point", interactive=False, height=_HEIGHT, buttons=[], elem_id="clicked"
        )
        with gr.Column():
            pictures = parts.pictures("What the point took", "points", columns=2)
            said = gr.Markdown(elem_id="point_remarks")
    photo.select(handlers.explain, None, [pictures, said], show_progress_on=pictures)
    return photo

"""The tab of one photo: colour it, see how that came about, save it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from ..color import gray_rgb, rgb_to_lab
from ..images import read_image, write_image
from ..sheet import draw_sheet, panels
from . import colouring, parts, points
from .desk import Desk, choice, require, to_save, visitor
from .examples import Example
from .limits import Limits, shown
from .regions import BRUSHES, drawn_edits
from .storage import Storage

_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif"}
_ALONE = [("Stays gray", "gray"), ("Keeps the colours it has", "own")]
_RESULT = 620
_CANVAS = 480
# Longest side of what is drawn on: a phone has to load and to keep it.
_CANVAS_SIDE = 900


class OnePhoto(Desk):
    """Handlers of the tab.

    Args:
        storage, limits: of `Desk`.
        examples: photos that everybody may use.
    """

    def __init__(self, storage: Storage, limits: Limits, examples: list[Example]) -> None:
        super().__init__(storage, limits)
        self.examples = examples
        self.points = points.Points(storage, limits)

    def take_example(self, request: gr.Request, chosen: gr.SelectData) -> tuple[str, ...]:
        """Return target and reference of an example, each as shown and its path."""
        example = self.examples[chosen.index]
        return (
            *self.show(str(example.target), request),
            *self.show(str(example.reference), request),
        )

    def colour(
        self,
        target: str | None,
        reference: str | None,
        engine: str,
        prior: str,
        fitted: bool,
        segments: int,
        target_drawing: dict | None,
        reference_drawing: dict | None,
        alone: str,
        suffix: str,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008 - Gradio finds it by this default
    ) -> tuple:
        """Colour one photo.

        Returns:
            Both halves of the comparison, file to save, panels, sheet to save, remarks, and the
            photo whose points can be clicked.
        """
        require(photo_to_colour=target, colour_reference=reference)
        token = visitor(request)
        progress(0.1, "Colouring")
        try:
            sizes = tuple(read_image(photo).shape[:2] for photo in (target, reference))
            edits = drawn_edits(target_drawing, reference_drawing, sizes, alone)
            chosen = replace(choice(engine, prior, fitted, segments), edits=edits)
            explanation = colouring.colour(Path(target), Path(reference), chosen)
        except ValueError as error:
            raise gr.Error(shown(str(error)), print_exception=False) from error
        result = explanation.colorization
        self.points.keep(request.session_hash, explanation)
        progress(0.8, "Saving")
        folder, stem = self.storage.new_folder(token), Path(target).stem
        coloured = folder / f"{stem}_coloured{_SUFFIXES[suffix]}"
        write_image(coloured, result.rgb)
        sheet = folder / f"{stem}_sheet.png"
        write_image(sheet, draw_sheet(result))
        maps = [
            (self.picture(colouring.enlarged(picture), token), caption)
            for caption, picture in panels(result).items()
        ]
        height, width = result.rgb.shape[:2]
        coloured_picture = self.picture(result.rgb, token)
        return (
            (self.picture(result.gray, token), coloured_picture),
            to_save(coloured),
            maps,
            to_save(sheet),
            " ".join([f"{width} x {height} pixels.", *colouring.remarks(result)]),
            coloured_picture,
        )

    def canvas(self, target: str | None, reference: str | None, request: gr.Request) -> tuple:
        """Return both photos as they are drawn on, the target in gray."""
        token = visitor(request)
        return (
            self._canvas(target, token, is_gray=True),
            self._canvas(reference, token, is_gray=False),
        )

    def _canvas(self, photo: str | None, token: str, *, is_gray: bool) -> dict | None:
        if photo is None:
            return None
        rgb = read_image(photo)
        background = self.picture(
            gray_rgb(rgb_to_lab(rgb)[0]) if is_gray else rgb, token, side=_CANVAS_SIDE
        )
        return {"background": background, "layers": [], "composite": None}


def build(handlers: OnePhoto) -> None:
    """Add the tab's components."""
    with gr.Row():
        target_box, target = parts.photo_box(handlers, "1. Photo to colour", "target")
        reference_box, reference = parts.photo_box(handlers, "2. Colour reference", "reference")
    examples = gr.Gallery(
        [(str(example.thumbnail), example.caption) for example in handlers.examples],
        label="Or try one of these",
        columns=4,
        height="auto",
        object_fit="contain",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
        elem_classes="pictures",
    )
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        settings = parts.settings()
        suffix = gr.Radio(list(_SUFFIXES), value="PNG", label="Save as")
    with gr.Accordion("Regions: say what belongs together", open=False) as regions:
        gr.Markdown(
            "Paint over a thing in both photos with one colour of brush: it takes its colours from "
            "there alone, and nothing else does. What you paint on the photo alone takes none."
        )
        alone = gr.Radio(
            _ALONE, value="gray", label="What is painted on the photo alone", elem_id="alone"
        )
        with gr.Row():
            drawings = [
                _canvas("On the photo", "target_drawing"),
                _canvas("On the reference", "reference_drawing"),
            ]
    start, stop = parts.start_and_stop("3. Colour", "Stop", "colour")
    with gr.Column(visible=False) as results:
        compared = gr.ImageSlider(
            label="Before and after",
            height=_RESULT,
            max_height=_RESULT,
            buttons=["fullscreen"],
            interactive=False,
            elem_id="result",
        )
        said = gr.Markdown(elem_id="remarks")
        with gr.Row():
            save = parts.save_button("Save the result, full size", "save", variant="primary")
            save_sheet = parts.save_button("Save all pictures as one sheet", "save_sheet")
        clicked = points.build(handlers.points)
        maps = parts.pictures("How it came about", "maps")

    photos = [target_box, target, reference_box, reference]
    examples.select(handlers.take_example, None, photos, show_progress="minimal")
    gr.on(
        [regions.expand, target.change, reference.change],
        handlers.canvas,
        [target, reference],
        drawings,
        show_progress="hidden",
    )
    running = start.click(
        lambda: gr.update(visible=True), None, results, show_progress="hidden"
    ).then(
        handlers.colour,
        [target, reference, *settings, *drawings, alone, suffix],
        [compared, save, maps, save_sheet, said, clicked],
        show_progress_on=compared,
        **parts.MODEL,
    )
    stop.click(None, cancels=running)


def _canvas(label: str, name: str) -> gr.ImageEditor:
    return gr.ImageEditor(
        label=label,
        type="pil",
        sources=[],
        transforms=[],
        layers=False,
        height=_CANVAS,
        brush=gr.Brush(colors=list(BRUSHES.values()), default_size=24, color_mode="fixed"),
        buttons=["fullscreen"],
        elem_id=name,
    )

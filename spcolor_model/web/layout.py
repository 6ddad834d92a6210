"""The page: what is where, and which handler follows what."""

from __future__ import annotations

from typing import NamedTuple

import gradio as gr

from ..prior import DEFAULT_SEGMENTS
from .handlers import Handlers
from .regions import BRUSHES

_TITLE = "spcolor"
_LEAD = """# spcolor
Colour an old photo with the colours of another one. Take a reference that shows the same kind of
scene: what has no like in it stays pale. Size, lights and shadows stay the photo's own."""
_ENGINES = [("Trained networks", "trained"), ("Matching alone", "match")]
_PRIORS = [("Found by themselves", "clusters"), ("None: match everything", "none")]
_DRAWN = ("Those I draw below", "regions")
_MOST_SEGMENTS = 64
_BOX = 360
_RESULT = 640
_CANVAS = 560
# The model uses all cores for one photo; pictures are shown meanwhile.
_MODEL = {"concurrency_id": "model", "concurrency_limit": 1}
_CSS = """
.gradio-container {max-width: 1180px !important; margin: 0 auto !important}
#examples .caption-label, #maps .caption-label {max-width: 100%; white-space: normal}
@media (max-width: 640px) {.gradio-container {padding: 8px !important}}
"""


class Settings(NamedTuple):
    """Components of what is chosen for an engine."""

    engine: gr.Radio
    prior: gr.Radio
    fitted: gr.Checkbox
    segments: gr.Slider


def theme() -> gr.themes.Base:
    """Return a look whose fonts every system has."""
    return gr.themes.Soft(
        primary_hue="teal",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def css() -> str:
    """Return what the theme leaves out."""
    return _CSS


def build(handlers: Handlers) -> gr.Blocks:
    """Return the page of a server.

    Example:
        >>> gr.mount_gradio_app(app, build(handlers), path="/")
    """
    with gr.Blocks(title=_TITLE, analytics_enabled=False) as page:
        gr.Markdown(_LEAD)
        with gr.Tab("One photo"):
            _one_photo(handlers)
        with gr.Tab("Many photos"):
            _many_photos(handlers)
    return page.queue(api_open=False, max_size=handlers.limits.waiting, default_concurrency_limit=4)


def _one_photo(handlers: Handlers) -> None:
    target, reference = gr.State(), gr.State()
    with gr.Row():
        target_shown = _photo("1. Photo to colour", "target")
        reference_shown = _photo("2. Colour reference", "reference")
    gallery = gr.Gallery(
        [(str(example.thumbnail), example.caption) for example in handlers.examples],
        label="Or try one of these",
        columns=4,
        height="auto",
        object_fit="contain",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )
    with gr.Accordion("Settings", open=False):
        settings = _settings(with_regions=True)
        suffix = gr.Radio(["PNG", "JPEG", "TIFF"], value="PNG", label="Save as")
    with gr.Accordion("Regions: say what belongs together", open=False) as regions:
        gr.Markdown(
            "Paint over a thing in both photos with the same colour of brush: it takes its colours "
            'from there alone. Then choose "Those I draw below" in the settings.'
        )
        with gr.Row():
            target_drawing = _canvas("On the photo", "target_drawing")
            reference_drawing = _canvas("On the reference", "reference_drawing")
    with gr.Row():
        start = gr.Button("3. Colour", variant="primary", elem_id="colour", scale=4)
        stop = gr.Button("Stop", variant="stop", elem_id="stop", scale=1)
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
        download = gr.DownloadButton(
            "Save the result, full size", interactive=False, elem_id="save"
        )
        sheet = gr.DownloadButton("Save the sheet", interactive=False, elem_id="save_sheet")
    maps = gr.Gallery(
        label="How it came about",
        columns=4,
        height="auto",
        object_fit="contain",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="maps",
    )

    photos = [target_shown, target, reference_shown, reference]
    for shown, path in ((target_shown, target), (reference_shown, reference)):
        shown.upload(handlers.show, shown, [shown, path], show_progress="minimal")
        shown.clear(lambda: None, None, path)
    gallery.select(handlers.take_example, None, photos, show_progress="minimal")
    drawings = [target_drawing, reference_drawing]
    gr.on(
        [regions.expand, target.change, reference.change],
        handlers.canvas,
        [target, reference],
        drawings,
        show_progress="hidden",
    )
    running = start.click(
        handlers.colour,
        [target, reference, *settings, *drawings, suffix],
        [compared, download, maps, sheet, said],
        show_progress_on=compared,
        **_MODEL,
    )
    stop.click(None, cancels=running)


def _many_photos(handlers: Handlers) -> None:
    reference = gr.State()
    with gr.Row():
        targets = gr.File(
            label=f"1. Photos to colour, up to {handlers.limits.files}",
            file_count="multiple",
            file_types=["image"],
            height=_BOX,
            elem_id="targets",
        )
        reference_shown = _photo("2. Colour reference of all", "batch_reference")
    with gr.Accordion("Settings", open=False):
        settings = _settings(with_regions=False)
    with gr.Row():
        start = gr.Button("3. Colour all", variant="primary", elem_id="colour_all", scale=4)
        stop = gr.Button("Stop after this photo", variant="stop", scale=1, elem_id="stop_all")
    said = gr.Markdown(elem_id="batch_remarks")
    archive = gr.DownloadButton("Save all as ZIP", interactive=False, elem_id="save_all")
    pictures = gr.Gallery(
        label="Coloured",
        columns=4,
        height="auto",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="coloured",
    )
    reference_shown.upload(
        handlers.show, reference_shown, [reference_shown, reference], show_progress="minimal"
    )
    reference_shown.clear(lambda: None, None, reference)
    start.click(handlers.begin, queue=False).then(
        handlers.colour_batch,
        [targets, reference, *settings],
        [pictures, said, archive],
        show_progress_on=pictures,
        **_MODEL,
    )
    stop.click(handlers.stop, queue=False)


def _photo(label: str, name: str) -> gr.Image:
    """A box that takes a photo, and shows it."""
    return gr.Image(
        label=label,
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        height=_BOX,
        buttons=["fullscreen"],
        elem_id=name,
    )


def _settings(*, with_regions: bool) -> Settings:
    engine = gr.Radio(_ENGINES, value="trained", label="Engine")
    prior = gr.Radio(
        [*_PRIORS, _DRAWN] if with_regions else _PRIORS,
        value="clusters",
        label="Classes",
        info="Colours are matched only between regions of one class.",
    )
    with gr.Row():
        fitted = gr.Checkbox(False, label="Fit the classes to this pair")
        segments = gr.Slider(
            2,
            _MOST_SEGMENTS,
            value=DEFAULT_SEGMENTS,
            step=1,
            label="Number of classes k",
            interactive=True,
        )
    return Settings(engine, prior, fitted, segments)


def _canvas(label: str, name: str) -> gr.ImageEditor:
    return gr.ImageEditor(
        label=label,
        type="pil",
        sources=[],
        transforms=[],
        layers=False,
        height=_CANVAS,
        brush=gr.Brush(colors=list(BRUSHES), default_size=24, color_mode="fixed"),
        buttons=["fullscreen"],
        elem_id=name,
    )

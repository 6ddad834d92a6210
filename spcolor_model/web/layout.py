"""The page: its tabs and its look."""

from __future__ import annotations

import gradio as gr

from . import film, many_photos, one_photo
from .examples import Example
from .limits import Limits
from .storage import Storage

_LEAD = """# spcolor
Colour an old photo with the colours of another one. Take a reference that shows the same kind of
scene: what has no like in it stays pale. Size, lights and shadows stay the photo's own."""
# Photos are handled by some threads, the model by one.
_THREADS = 4
CSS = """
.gradio-container {max-width: 1180px !important; margin: 0 auto !important}
.pictures .grid-wrap {max-height: none !important; min-height: 0 !important}
.pictures .grid-container {height: auto !important}
.pictures .caption-label {max-width: 100%; white-space: normal; text-align: left}
#examples button {aspect-ratio: 3 / 2}
.buttons {align-items: stretch}
@media (max-width: 640px) {
  .pictures .grid-container {grid-template-columns: repeat(2, 1fr) !important}
  .pictures .caption-label {font-size: 11px; padding: 2px 4px}
}
"""


def theme() -> gr.themes.Base:
    """Return a look whose fonts every system has."""
    return gr.themes.Soft(
        primary_hue="teal",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def build(storage: Storage, limits: Limits, examples: list[Example]) -> gr.Blocks:
    """Return the page of a server.

    Example:
        >>> page = build(storage, Limits(), write_examples(storage.shared))
        >>> gr.mount_gradio_app(app, page, path="/", theme=theme(), css=CSS)
    """
    with gr.Blocks(title="spcolor", analytics_enabled=False) as page:
        gr.Markdown(_LEAD)
        with gr.Tab("One photo"):
            one_photo.build(one_photo.OnePhoto(storage, limits, examples))
        with gr.Tab("Many photos"):
            many_photos.build(many_photos.ManyPhotos(storage, limits))
        with gr.Tab("Film"):
            film.build(film.Film(storage, limits))
    return page.queue(api_open=False, max_size=limits.waiting, default_concurrency_limit=_THREADS)

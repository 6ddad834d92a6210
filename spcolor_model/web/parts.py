"""Components that several tabs have."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from ..prior import DEFAULT_SEGMENTS
from .desk import Desk

_ENGINES = [("Trained networks", "trained"), ("Matching alone", "match")]
_PRIORS = [("Found by themselves", "clusters"), ("None: match everything", "none")]
_MOST_SEGMENTS = 64
_BOX = 340
# The model uses all cores for one photo; pictures are shown meanwhile.
MODEL = {"concurrency_id": "model", "concurrency_limit": 1}


class Settings(NamedTuple):
    """Components of what is chosen for an engine; `desk.choice` takes their values."""

    engine: gr.Radio
    prior: gr.Radio
    fitted: gr.Checkbox
    segments: gr.Slider


def settings() -> Settings:
    """Add what an engine can be told."""
    engine = gr.Radio(_ENGINES, value="trained", label="Engine")
    prior = gr.Radio(
        _PRIORS,
        value="clusters",
        label="Classes",
        info="Colours are matched only between regions of one class.",
    )
    fitted = gr.Checkbox(
        False,
        label="Fit the classes to these photos",
        info="Instead of those of the training.",
    )
    segments = gr.Slider(
        2,
        _MOST_SEGMENTS,
        value=DEFAULT_SEGMENTS,
        step=1,
        label="Number of classes k",
        visible=False,
        interactive=True,
    )
    fitted.change(lambda on: gr.update(visible=on), fitted, segments, show_progress="hidden")
    return Settings(engine, prior, fitted, segments)


def photo_box(desk: Desk, label: str, name: str) -> tuple[gr.Image, gr.State]:
    """Add a box that takes a photo and shows it; return it and the path of the photo.

    What is shown is a small copy, which every browser can draw.
    """
    path = gr.State()
    box = gr.Image(
        label=label,
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        height=_BOX,
        min_width=280,
        placeholder="Drop a photo here, or click to choose one",
        buttons=["fullscreen"],
        elem_id=name,
    )
    box.upload(desk.show, box, [box, path], show_progress="minimal")
    box.clear(lambda: None, None, path)
    return box, path


def pictures(label: str, name: str, columns: int = 4) -> gr.Gallery:
    """Add pictures with captions, each enlarged when it is clicked."""
    return gr.Gallery(
        label=label,
        columns=columns,
        height="auto",
        object_fit="contain",
        interactive=False,
        buttons=["fullscreen"],
        elem_id=name,
        elem_classes="pictures",
    )


def start_and_stop(start: str, stop: str, name: str) -> tuple[gr.Button, gr.Button]:
    """Add the two buttons of a job."""
    with gr.Row(elem_classes="buttons"):
        return (
            gr.Button(start, variant="primary", elem_id=name, scale=4),
            gr.Button(stop, variant="stop", elem_id=f"stop_{name}", scale=1),
        )


def save_button(label: str, name: str, **options: Any) -> gr.DownloadButton:
    """Add a button that saves a file, once there is one."""
    return gr.DownloadButton(label, interactive=False, elem_id=name, **options)

"""The tab of a film: references colour it, frame after frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ..images import read_image
from ..video.colorist import DEFAULT_LOG_WEIGHT
from ..video.references import FilmReference
from ..video.run import colorize_video
from . import parts
from .desk import Desk, require, to_save, visitor
from .films import SUFFIXES
from .limits import Limits, shown
from .storage import Storage

_HEIGHT = 480
_BOX = 220


class StoppedError(Exception):
    """A visitor stopped the film."""


class Film(Desk):
    """Handlers of the tab; args as of `Desk`."""

    def __init__(self, storage: Storage, limits: Limits) -> None:
        super().__init__(storage, limits)
        self._stopped: set[str] = set()

    def colour(
        self,
        source: str | None,
        references: list[str] | None,
        propagate: bool,
        deinterlace: bool,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008 - Gradio finds it by this default
    ) -> tuple:
        """Colour a film.

        Returns:
            The film to watch, the file to save, and what is known of it.
        """
        require(film=source, colour_reference=references)
        said = []

        def count(done: int, frames: int) -> None:
            if request.session_hash in self._stopped:
                raise StoppedError
            progress((done, frames), "Colouring", unit="frames")

        folder = self.storage.new_folder(visitor(request))
        output = folder / f"{Path(source).stem}_coloured.mp4"
        found = [FilmReference(read_image(one), None, shown(Path(one).name)) for one in references]
        progress(0, "Finding scenes")
        try:
            colorize_video(
                source,
                found,
                output,
                log_weight=DEFAULT_LOG_WEIGHT if propagate else None,
                deinterlace=deinterlace,
                progress=count,
                tell=said.append,
                warn=said.append,
            )
        except StoppedError:
            return None, to_save(None), "Stopped."
        except (OSError, ValueError) as error:
            raise gr.Error(shown(str(error)), print_exception=False) from error
        return str(output), to_save(output), "\n".join(f"- {shown(one)}" for one in said)

    def stop(self, request: gr.Request) -> None:
        """Let the film end at the frame that it is at."""
        self._stopped.add(request.session_hash)

    def begin(self, request: gr.Request) -> None:
        """Forget that an earlier film was stopped."""
        self._stopped.discard(request.session_hash)


def build(handlers: Film) -> None:
    """Add the tab's components."""
    with gr.Row():
        source = gr.File(
            label=f"1. Film, up to {handlers.limits.minutes:g} minutes",
            file_types=sorted(SUFFIXES),
            height=_BOX,
            elem_id="film",
        )
        references = gr.File(
            label="2. Colour references, one or more",
            file_count="multiple",
            file_types=["image"],
            height=_BOX,
            elem_id="film_references",
        )
    with gr.Accordion("Settings", open=False):
        propagate = gr.Checkbox(
            True,
            label="Steady colours",
            info="The last coloured frame is one more reference of the next.",
        )
        deinterlace = gr.Checkbox(
            False, label="Deinterlace", info="Interlaced films are refused otherwise."
        )
    start, stop = parts.start_and_stop("3. Colour the film", "Stop", "colour_film")
    watched = gr.Video(label="Coloured film", height=_HEIGHT, interactive=False, elem_id="watched")
    said = gr.Markdown(elem_id="film_remarks")
    save = parts.save_button("Save the film", "save_film", variant="primary")
    start.click(handlers.begin, show_progress="hidden").then(
        handlers.colour,
        [source, references, propagate, deinterlace],
        [watched, save, said],
        show_progress_on=watched,
        **parts.MODEL,
    )
    stop.click(handlers.stop, show_progress="hidden")

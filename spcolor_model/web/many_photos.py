"""The tab of many photos: one reference colours them all."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from ..images import write_image
from . import colouring, parts
from .desk import Desk, choice, require, to_save, visitor
from .limits import Limits, shown
from .storage import Storage


class ManyPhotos(Desk):
    """Handlers of the tab; args as of `Desk`."""

    def __init__(self, storage: Storage, limits: Limits) -> None:
        super().__init__(storage, limits)
        self._stopped: set[str] = set()

    def colour(
        self,
        targets: list[str] | None,
        reference: str | None,
        engine: str,
        prior: str,
        fitted: bool,
        segments: int,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008 - Gradio finds it by this default
    ) -> Iterator[tuple]:
        """Colour several photos with one reference; a photo that fails is named.

        Yields:
            Pictures so far, what is known so far, and at the end the ZIP to save.
        """
        require(photo_to_colour=targets, colour_reference=reference)
        if len(targets) > self.limits.files:
            raise gr.Error(
                f"Expected at most {self.limits.files} photos, got {len(targets)}.",
                print_exception=False,
            )
        token = visitor(request)
        chosen = choice(engine, prior, fitted, segments)
        folder = self.storage.new_folder(token)
        done: dict[str, Path] = {}
        pictures, said = [], []
        for index, target in enumerate(map(Path, targets)):
            progress((index, len(targets)), f"Colouring {shown(target.name)}")
            if request.session_hash in self._stopped:
                said.append(f"Stopped after {index} of {len(targets)} photos.")
                break
            try:
                result = colouring.colour(target, Path(reference), chosen).colorization
            except ValueError as error:
                said.append(f"Not coloured: {shown(str(error))}")
            else:
                name = _unused(f"{target.stem}_coloured.png", done)
                done[name] = folder / name
                write_image(done[name], result.rgb)
                pictures.append((self.picture(result.rgb, token), name))
                said.extend(
                    f"{shown(target.name)}: {remark}" for remark in colouring.remarks(result)
                )
            yield list(pictures), _lines(said), gr.skip()
        archive = folder / "coloured.zip" if done else None
        if archive:
            colouring.pack(archive, list(done.items()))
        said.append(f"{len(done)} of {len(targets)} photos are coloured.")
        yield list(pictures), _lines(said), to_save(archive)

    def stop(self, request: gr.Request) -> None:
        """Let the batch end after the photo that it is at; what is done is packed."""
        self._stopped.add(request.session_hash)

    def begin(self, request: gr.Request) -> None:
        """Forget that an earlier batch was stopped."""
        self._stopped.discard(request.session_hash)


def build(handlers: ManyPhotos) -> None:
    """Add the tab's components."""
    with gr.Row():
        targets = gr.File(
            label=f"1. Photos to colour, up to {handlers.limits.files}",
            file_count="multiple",
            file_types=["image"],
            height=340,
            elem_id="targets",
        )
        _, reference = parts.photo_box(handlers, "2. Colour reference of all", "batch_reference")
    with gr.Accordion("Settings", open=False):
        settings = parts.settings()
    start, stop = parts.start_and_stop("3. Colour all", "Stop after this photo", "colour_all")
    said = gr.Markdown(elem_id="batch_remarks")
    archive = parts.save_button("Save all as ZIP", "save_all", variant="primary")
    coloured = parts.pictures("Coloured", "coloured")
    start.click(handlers.begin, show_progress="hidden").then(
        handlers.colour,
        [targets, reference, *settings],
        [coloured, said, archive],
        show_progress_on=coloured,
        **parts.MODEL,
    )
    stop.click(handlers.stop, show_progress="hidden")


def _unused(name: str, taken: Container[str]) -> str:
    """Return a name that is not taken: photos of several folders may share theirs."""
    stem, suffix = Path(name).stem, Path(name).suffix
    number, unused = 1, name
    while unused in taken:
        number += 1
        unused = f"{stem}_{number}{suffix}"
    return unused


def _lines(said: list[str]) -> str:
    """Return sentences as a list."""
    return "\n".join(f"- {sentence}" for sentence in said)

"""What happens when a visitor does something: from the page's values to the page's values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from ..color import gray_rgb, rgb_to_lab
from ..images import read_image, write_image
from ..sheet import draw_sheet, panels
from . import colouring
from .colouring import Choice
from .examples import Example
from .limits import Limits, shown
from .regions import drawn_regions
from .storage import Storage

# Longest side of what is drawn on: a phone has to load and to keep it.
_CANVAS_SIDE = 900
_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif"}


class Handlers:
    """Handlers of one server's page, with what they share.

    Each gets values of components, and the request, which says whose they are.

    Args:
        storage: where files of visitors go.
        limits: on a batch.
        examples: photos that everybody may use.

    Example:
        >>> Handlers(storage, Limits(), write_examples(storage.shared))
    """

    def __init__(self, storage: Storage, limits: Limits, examples: list[Example]) -> None:
        self.storage = storage
        self.limits = limits
        self.examples = examples
        self._stopped: set[str] = set()

    def show(self, photo: str | None, request: gr.Request) -> tuple[str | None, str | None]:
        """Return a photo as it is shown, and its path."""
        if photo is None:
            return None, None
        path = self.storage.new_file(_visitor(request), ".jpg")
        colouring.preview(Path(photo), path)
        return str(path), photo

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
        suffix: str,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008 - Gradio finds it by this default
    ) -> tuple:
        """Colour one photo.

        Returns:
            Both halves of the comparison, file to download, panels, sheet to download, remarks.
        """
        if target is None or reference is None:
            missing = "photo to colour" if target is None else "colour reference"
            raise gr.Error(f"Choose a {missing} first.", print_exception=False)
        token = _visitor(request)
        masks = (drawn_regions(target_drawing), drawn_regions(reference_drawing))
        count = int(segments) if fitted and prior == "clusters" else None
        choice = Choice(engine, prior, count, masks)
        progress(0.1, "Colouring")
        try:
            result, remarks = colouring.colour(Path(target), Path(reference), choice)
        except ValueError as error:
            raise gr.Error(shown(str(error)), print_exception=False) from error
        progress(0.8, "Saving")
        folder, stem = self.storage.new_folder(token), Path(target).stem
        coloured = folder / f"{stem}_coloured{_SUFFIXES[suffix]}"
        write_image(coloured, result.rgb)
        sheet = folder / f"{stem}_sheet.png"
        write_image(sheet, draw_sheet(result))
        both = [self._picture(picture, token) for picture in (result.gray, result.rgb)]
        maps = [
            (self._picture(colouring.picture_of(picture), token), caption)
            for caption, picture in panels(result).items()
        ]
        height, width = result.rgb.shape[:2]
        said = " ".join([f"{width} x {height} pixels.", *remarks])
        return tuple(both), _file(coloured), maps, _file(sheet), said

    def colour_batch(
        self,
        targets: list[str] | None,
        reference: str | None,
        engine: str,
        prior: str,
        fitted: bool,
        segments: int,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Iterator[tuple]:
        """Colour several photos with one reference; a photo that fails is named.

        Yields:
            Pictures so far, what is known so far, and at the end the ZIP to download.
        """
        if not targets or reference is None:
            missing = "colour reference" if targets else "photo to colour"
            raise gr.Error(f"Choose a {missing} first.", print_exception=False)
        if len(targets) > self.limits.files:
            raise gr.Error(
                f"Expected at most {self.limits.files} photos, got {len(targets)}.",
                print_exception=False,
            )
        token, session = _visitor(request), request.session_hash
        count = int(segments) if fitted and prior == "clusters" else None
        choice = Choice(engine, prior, count)
        folder = self.storage.new_folder(token)
        done: dict[str, Path] = {}
        pictures, said = [], []
        for index, target in enumerate(map(Path, targets)):
            progress((index, len(targets)), f"Colouring {shown(target.name)}")
            if session in self._stopped:
                said.append(f"Stopped after {index} of {len(targets)} photos.")
                break
            try:
                result, remarks = colouring.colour(target, Path(reference), choice)
            except ValueError as error:
                said.append(f"Not coloured: {shown(str(error))}")
            else:
                name = _unused(f"{target.stem}_coloured.png", done)
                done[name] = folder / name
                write_image(done[name], result.rgb)
                pictures.append((self._picture(result.rgb, token), name))
                said.extend(f"{shown(target.name)}: {remark}" for remark in remarks)
            yield list(pictures), _lines(said), gr.skip()
        archive = None
        if done:
            archive = folder / "coloured.zip"
            colouring.pack(archive, list(done.items()))
        said.append(f"{len(done)} of {len(targets)} photos are coloured.")
        yield list(pictures), _lines(said), _file(archive)

    def stop(self, request: gr.Request) -> None:
        """Let a batch end after the photo that it is at; what is done is packed."""
        self._stopped.add(request.session_hash)

    def begin(self, request: gr.Request) -> None:
        """Forget that a batch was stopped."""
        self._stopped.discard(request.session_hash)

    def canvas(self, target: str | None, reference: str | None, request: gr.Request) -> tuple:
        """Return both photos as they are drawn on, the target in gray."""
        token = _visitor(request)
        return self._canvas(target, token, is_gray=True), self._canvas(
            reference, token, is_gray=False
        )

    def _canvas(self, photo: str | None, token: str, *, is_gray: bool) -> dict | None:
        if photo is None:
            return None
        rgb = read_image(photo)
        picture = gray_rgb(rgb_to_lab(rgb)[0]) if is_gray else rgb
        background = self._picture(picture, token, side=_CANVAS_SIDE)
        return {"background": background, "layers": [], "composite": None}

    def _picture(self, rgb: np.ndarray, token: str, side: int = colouring.SHOWN_SIDE) -> str:
        """Save a picture as it is shown; return its path."""
        path = self.storage.new_file(token, ".jpg")
        colouring.preview(rgb, path, side)
        return str(path)


def _visitor(request: gr.Request) -> str:
    """Return the token that the gate has put into the request."""
    return request.request.state.visitor


def _file(path: Path | None) -> dict:
    """Return the update of a button that downloads a file, or that has none."""
    return gr.update(value=path and str(path), interactive=path is not None)


def _unused(name: str, taken: dict[str, Path]) -> str:
    """Return a name that is not taken: photos of several folders may share theirs."""
    stem, suffix = Path(name).stem, Path(name).suffix
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}{suffix}"
    return name


def _lines(said: list[str]) -> str:
    """Return sentences as a list."""
    return "\n".join(f"- {sentence}" for sentence in said)

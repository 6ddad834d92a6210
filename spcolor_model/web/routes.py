"""Upload and download: the two routes of Gradio that the page does itself.

Gradio keeps the files of all visitors in one folder under the checksum of their content, and looks
into none of them. Here they go to the visitor's own folder, after they were checked.
"""

from __future__ import annotations

import asyncio
import mimetypes
from pathlib import PurePath

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..images import EXTENSIONS
from .films import SUFFIXES, check_film
from .gate import API
from .limits import Limits, RefusedError, check_image, check_name, check_readable
from .storage import Storage

# Of a form around the files themselves.
_FORM_BYTES = 1 << 16
_PART = 1 << 20
# What a browser shows; all else it is told to save.
_SHOWN = ("image/", "video/")
_FILE_HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}


def routes(storage: Storage, limits: Limits) -> list[Route]:
    """Return the routes that stand before Gradio's.

    Example:
        >>> app = FastAPI(routes=routes(storage, Limits()))
    """

    async def upload(request: Request) -> Response:
        try:
            return JSONResponse(await _take_all(request, storage, limits))
        except RefusedError as refusal:
            return PlainTextResponse(str(refusal), 400)

    async def download(request: Request) -> Response:
        path = request.path_params["path"]
        if not storage.readable(request.state.visitor, path):
            return PlainTextResponse("Not found", 404)
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        shown = kind.startswith(_SHOWN) and kind != "image/svg+xml"
        return FileResponse(
            path,
            media_type=kind,
            filename=PurePath(path).name,
            content_disposition_type="inline" if shown else "attachment",
            headers=_FILE_HEADERS,
        )

    return [
        Route(f"{API}/upload", upload, methods=["POST"]),
        Route(f"{API}/file={{path:path}}", download, methods=["GET"]),
    ]


async def _take_all(request: Request, storage: Storage, limits: Limits) -> list[str]:
    """Return the paths of the files that a form holds."""
    most = limits.bytes * limits.files + _FORM_BYTES
    if int(request.headers.get("content-length", 0)) > most:
        raise RefusedError(f"upload: expected at most {limits.files} files")
    bounded = Request(request.scope, _bounded(request, most))
    try:
        async with bounded.form(max_files=limits.files, max_fields=0) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            if not files:
                raise RefusedError("upload: expected a file, got none")
            return [await _take(file, request.state.visitor, storage, limits) for file in files]
    except MultiPartException as error:
        raise RefusedError(f"upload: {error.message}") from None


def _bounded(request: Request, most: int):
    """Return a `receive` that stops at so many bytes, whatever the header said."""
    count = 0

    async def receive():
        nonlocal count
        message = await request.receive()
        count += len(message.get("body", b""))
        if count > most:
            raise RefusedError(f"upload: expected at most {most} bytes, got more")
        return message

    return receive


async def _take(file: UploadFile, token: str, storage: Storage, limits: Limits) -> str:
    """Check one file and move it into the visitor's folder."""
    name = check_name(file.filename or "", EXTENSIONS | SUFFIXES)
    if file.size > limits.bytes:
        raise RefusedError(
            f"{name}: expected at most {limits.megabytes:g} MB, got {file.size / 1e6:.0f} MB"
        )
    if storage.used(token) + file.size > limits.kept_bytes:
        raise RefusedError(
            f"{name}: expected at most {limits.kept_megabytes:g} MB of one visitor; "
            "reload the page in ten minutes"
        )
    return await asyncio.to_thread(_keep, file, name, token, storage, limits)


def _keep(file: UploadFile, name: str, token: str, storage: Storage, limits: Limits) -> str:
    is_film = PurePath(name).suffix.lower() in SUFFIXES
    if not is_film:
        check_image(file.file, name, limits)
    path = storage.new_folder(token) / name
    try:
        with path.open("xb") as kept:
            while part := file.file.read(_PART):
                kept.write(part)
        if is_film:
            check_film(path, name, limits)
        else:
            check_readable(path, name)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return str(path)

"""What reaches Gradio: known routes, with files that are the visitor's own, and nothing else.

Gradio trusts any path in its one cache folder, whoever put it there, and decodes what a request
holds. Here every request is checked before Gradio sees it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from io import BytesIO

from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import Limits, RefusedError, check_image
from .storage import Storage

COOKIE = "spcolor_visitor"
API = "/gradio_api"
_HEARTBEAT = f"{API}/heartbeat/"
_BLOBS = f"{API}/component_server"
# What the page itself asks for; the rest of Gradio's routes is not reachable.
_ROUTES = (
    "/assets/",
    "/config",
    "/favicon.ico",
    "/manifest.json",
    "/static/",
    "/theme.css",
    f"{API}/cancel",
    f"{API}/file=",
    f"{API}/queue/data",
    f"{API}/queue/join",
    f"{API}/reset",
    f"{API}/startup-events",
    f"{API}/theme.css",
    f"{API}/upload",
    _HEARTBEAT,
    _BLOBS,
)
# A message of the page holds names of files, numbers and choices; only drawings hold more.
_MESSAGE_BYTES = 1 << 20
# The browser itself refuses whatever another machine would have to send.
_HEADERS = {
    b"content-security-policy": (
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
        b"frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
    ),
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}


class Gate:
    """ASGI middleware that lets through what a visitor may ask.

    It hands out the cookie by which a visitor is known, and puts its token into the request's
    state as `visitor`. A message of the page may name the visitor's own files and session alone; a
    drawing must be an image within the limits.

    Args:
        app: what is behind it.
        storage: who has which files.
        limits: on drawings.

    Example:
        >>> app.add_middleware(Gate, storage=storage, limits=Limits())
    """

    def __init__(self, app: ASGIApp, storage: Storage, limits: Limits) -> None:
        self.app = app
        self.storage = storage
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request, and pass it on or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        path = scope["path"]
        if path != "/" and not path.startswith(_ROUTES):
            await PlainTextResponse("Not found", 404)(scope, receive, send)
            return
        token = request.cookies.get(COOKIE)
        if path == "/" or self.storage.knows(token):
            token = self.storage.admit(token)
        elif path.startswith(API) and not path.endswith("/theme.css"):
            await _refusal("the page is too old; load it again", 403)(scope, receive, send)
            return
        scope.setdefault("state", {})["visitor"] = token
        try:
            body = await self._checked_body(request, token)
        except RefusedError as refusal:
            await _refusal(str(refusal), 403)(scope, receive, send)
            return
        except ClientDisconnect:
            return
        send = _with_headers(send, token if path == "/" else None)
        heartbeat = path.startswith(_HEARTBEAT)
        with self.storage.tab(token) if heartbeat else nullcontext():
            await self.app(scope, receive if body is None else _replay(body, receive), send)

    async def _checked_body(self, request: Request, token: str) -> bytes | None:
        """Return the body that was read for a check, or None if there was nothing to check.

        Raises:
            RefusedError: the request names what is not the visitor's, or holds no such image.
        """
        path = request.url.path
        session = request.query_params.get("session_hash")
        if path.startswith(_HEARTBEAT):
            session = path.removeprefix(_HEARTBEAT)
        if session is not None:
            self._check_session(session, token)
        if request.method != "POST" or path == f"{API}/upload":
            return None
        body = await _read(request, self.limits.bytes if path == _BLOBS else _MESSAGE_BYTES)
        if path == _BLOBS:
            await self._check_blobs(request.scope, body, token)
        else:
            self._check_message(body, token)
        return body

    def _check_session(self, session: object, token: str) -> None:
        if not isinstance(session, str) or not self.storage.bind(session, token):
            raise RefusedError("session: expected one of this visitor, got another's")

    def _check_message(self, body: bytes, token: str) -> None:
        try:
            message = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise RefusedError("message: expected JSON, got something else") from None
        if not isinstance(message, dict):
            raise RefusedError("message: expected an object, got something else")
        if "session_hash" in message:
            self._check_session(message["session_hash"], token)
        for file in _files(message):
            path, url = file.get("path"), file.get("url")
            if path is not None and not (
                isinstance(path, str) and self.storage.readable(token, path)
            ):
                raise RefusedError("file: expected one that this visitor sent, got another")
            if url is not None and (not isinstance(url, str) or url.startswith("data:")):
                raise RefusedError("file: expected one that was uploaded, got data in the message")

    async def _check_blobs(self, scope: Scope, body: bytes, token: str) -> None:
        try:
            form = await Request(scope, _replay(body, _nothing)).form(max_files=4, max_fields=16)
        except (MultiPartException, ValueError):
            raise RefusedError("drawing: expected a form, got something else") from None
        self._check_session(form.get("session_hash"), token)
        for value in form.values():
            if not isinstance(value, str):
                check_image(BytesIO(await value.read()), "drawing", self.limits)
        await form.close()


def _files(value: object) -> Iterator[dict]:
    """Yield every object in a message that describes a file."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "path" in value or "url" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


async def _read(request: Request, most: int) -> bytes:
    """Return a body of at most so many bytes."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise RefusedError(f"message: expected at most {most} bytes, got more")
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that hands out a body which was read already."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _refusal(why: str, status: int) -> Response:
    return PlainTextResponse(why, status)


def _with_headers(send: Send, token: str | None) -> Send:
    """Return a `send` that adds the headers of every answer, and a cookie for a token."""
    added = list(_HEADERS.items())
    if token is not None:
        cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"
        added.append((b"set-cookie", cookie.encode()))

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *added]
        await send(message)

    return sending

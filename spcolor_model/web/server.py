"""The server of the page."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from PIL import Image
from starlette.middleware.trustedhost import TrustedHostMiddleware

from .limits import Limits
from .storage import Storage

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SWEEP_SECONDS = 60
_STOP_SECONDS = 3


def make_app(storage: Storage, limits: Limits, hosts: tuple[str, ...] = _LOOPBACK) -> FastAPI:
    """Return the page as an ASGI application.

    Args:
        storage: where files of visitors go. Its root becomes Gradio's folder of files too.
        limits: on what visitors send.
        hosts: names by which the server may be called; a page of another site that has its own
            name point here is refused.

    Example:
        >>> uvicorn.run(make_app(Storage(Path("/tmp/page"), hours=12), Limits()))
    """
    # Gradio reads these when it is imported and when the page is built.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(storage.root)
    import gradio as gr

    from . import layout
    from .examples import write_examples
    from .gate import Gate
    from .routes import routes

    @contextlib.asynccontextmanager
    async def sweeping(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_sweep(storage))
        yield
        task.cancel()

    app = FastAPI(
        lifespan=sweeping,
        routes=routes(storage, limits),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    page = layout.build(storage, limits, write_examples(storage.shared))
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=layout.theme(),
        css=layout.CSS,
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        max_file_size=limits.bytes,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
    )
    app.add_middleware(Gate, storage=storage, limits=limits)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    return app


def serve(host: str, port: int, limits: Limits) -> None:
    """Serve the page until it is interrupted, and then remove all files of visitors.

    Raises:
        OSError: the address cannot be used.
    """
    # Of whatever decodes here, the last word on sizes.
    Image.MAX_IMAGE_PIXELS = limits.pixels
    hosts = _LOOPBACK if host in _LOOPBACK else ("*",)
    with tempfile.TemporaryDirectory(prefix="spcolor-") as folder:
        app = make_app(Storage(Path(folder), limits.hours), limits, hosts)
        uvicorn.run(
            app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=_STOP_SECONDS
        )


async def _sweep(storage: Storage) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        await asyncio.to_thread(storage.sweep)

"""`spcolor serve`."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.", min=1, max=65535)] = 7860,
    megapixels: Annotated[float, typer.Option(help="Most of a photo.")] = 60,
    megabytes: Annotated[float, typer.Option(help="Most of a file.")] = 100,
    files: Annotated[int, typer.Option(help="Most of a batch.")] = 50,
    minutes: Annotated[float, typer.Option(help="Most of a film.")] = 15,
    hours: Annotated[float, typer.Option(help="Files of an idle visitor are kept so long.")] = 12,
) -> None:
    """Colour photos in a browser.

    Nothing is sent to any other machine, and the files of visitors are removed: ten minutes after
    their last page is closed, and at the end.
    """
    try:
        from ..web.limits import Limits
        from ..web.server import serve as run
    except ModuleNotFoundError as error:
        raise typer.BadParameter(
            f'{error}; `pip install ".[model,web]"` in the checkout installs it'
        ) from None
    try:
        limits = Limits(
            megapixels=megapixels,
            megabytes=megabytes,
            files=files,
            minutes=minutes,
            hours=hours,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"http://{host}:{port} (Ctrl+C ends it)")
    run(host, port, limits)

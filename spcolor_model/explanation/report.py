"""An explanation as one HTML file that needs nothing else, and as one picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
from PIL import Image

from ..files import write_whole
from ..sheet import class_colors, draw_panels
from .explain import Explanation
from .pictures import Picture, hex_color, of_point, overview, swatches


class ClassShare(NamedTuple):
    """How much of both photos one class has, and the colour of its map."""

    label: int
    color: str
    target: float
    reference: float


def report_paths(output: str | Path) -> tuple[Path, Path]:
    """Return where the page and the picture go.

    Raises:
        ValueError: a suffix other than .html.

    Example:
        >>> report_paths("out/why.html")
        (PosixPath('out/why.html'), PosixPath('out/why.png'))
    """
    output = Path(output)
    if output.suffix.lower() != ".html":
        raise ValueError(f"output: expected a file with the suffix .html, got {output}")
    return output, output.with_suffix(".png")


def save_report(output: str | Path, explanation: Explanation) -> tuple[Path, Path]:
    """Write `output`, an HTML page with all pictures inside, and a PNG of the same stem.

    Returns:
        Both paths.

    Raises:
        OSError, ValueError: it cannot be written; a suffix other than .html.

    Example:
        >>> save_report("out/why.html", explain("gray.jpg", "colour.jpg", [(120, 80)]))
        (PosixPath('out/why.html'), PosixPath('out/why.png'))
    """
    page, picture = report_paths(output)
    maps = overview(explanation)
    points = [of_point(explanation, number + 1) for number in range(len(explanation.points))]
    html = _html(explanation, maps, points)
    panels = [(one.caption, one.rgb) for row in (maps, *points) for one in row]
    write_whole(page, lambda file: file.write(html.encode()))
    sheet = Image.fromarray(draw_panels(panels))
    write_whole(picture, lambda file: sheet.save(file, "PNG"))
    return page, picture


def class_shares(explanation: Explanation) -> Iterator[ClassShare]:
    """Yield the classes that either photo has, by their number."""
    operands = explanation.operands
    target, reference = (x.cpu().numpy() for x in (operands.query_labels, operands.key_labels))
    for label in np.unique(np.concatenate([target, reference])).tolist():
        if 0 <= label < operands.num_segments:
            color = hex_color(class_colors(np.array([[label]]))[0, 0])
            shares = ((labels == label).mean() for labels in (target, reference))
            yield ClassShare(label, color, *map(float, shares))


def _html(explanation: Explanation, maps: list[Picture], points: list[list[Picture]]) -> str:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"data_uri": _data_uri, "hex": hex_color}
    template = resources.files(__package__).joinpath("report.html").read_text("utf-8")
    return environment.from_string(template).render(
        explanation=explanation,
        maps=maps,
        points=[
            {"point": point, "pictures": pictures, "swatches": list(swatches(explanation, point))}
            for point, pictures in zip(explanation.points, points, strict=True)
        ],
        classes=list(class_shares(explanation)),
    )


def _data_uri(rgb: np.ndarray) -> str:
    """Return a picture [.., .., 3] uint8 as a data URI."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "WEBP", quality=88, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"

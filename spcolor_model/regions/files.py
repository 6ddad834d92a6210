"""Edits as a YAML or JSON file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from .edits import Edits, Pair, Region
from .shapes import Box, Mask, Polygon, Shape

_T = TypeVar("_T")


def load_edits(path: str | Path) -> Edits:
    """Read a file of edits; paths of masks are relative to it.

        regions:
          tank:
            target: {polygon: [[258, 262], [405, 172], [488, 200]]}
            reference: {box: [378, 55, 398, 92]}     # left, top, right, bottom
          wall: {target: {mask: wall.png}, color: gray}
        pairs:
          - {target: 3, reference: 5}

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: what is wrong; the message names the file and the key.

    Example:
        >>> list(load_edits("edits.yaml").regions)
        ['tank', 'wall']
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file of edits, got nothing at that path")
    try:
        # YAML's safe loader reads JSON too.
        data = yaml.load(path.read_text("utf-8"), Loader=_UniqueKeys)
        return parse_edits(data, path.parent)
    except (TypeError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from None


def parse_edits(data: object, folder: str | Path = ".") -> Edits:
    """Return the edits of what a YAML or JSON file holds.

    Args:
        data: a mapping with the keys regions and pairs, one or both.
        folder: what paths of masks are relative to.

    Raises:
        ValueError: what is wrong; the message begins with the key.

    Example:
        >>> parse_edits({"pairs": [{"target": 3, "reference": 5}]}).pairs
        [Pair(target=3, reference=5)]
    """
    data = _mapping("", data, {"regions", "pairs"})
    regions = data.get("regions", {})
    if not isinstance(regions, Mapping):
        raise ValueError(f"regions: expected names with regions, got {regions!r}")
    pairs = data.get("pairs", [])
    if not isinstance(pairs, list):
        raise ValueError(f"pairs: expected a list, got {pairs!r}")
    if not regions and not pairs:
        raise ValueError("expected regions or pairs, got neither")
    return Edits(
        {str(name): _region(f"regions.{name}", one, folder) for name, one in regions.items()},
        [_pair(f"pairs[{index}]", one) for index, one in enumerate(pairs)],
    )


def _region(key: str, data: object, folder: str | Path) -> Region:
    fields = dict(_mapping(key, data, {"target", "reference", "color", "feather"}))
    if "color" in fields and fields["color"] is None:
        raise ValueError(
            f'{key}.color: expected "gray", "own" or "#rrggbb" in quotation marks, got nothing'
        )
    for side in ("target", "reference"):
        if side in fields:
            fields[side] = list(_shapes(f"{key}.{side}", fields[side], folder))
    return _made(key, Region, **fields)


def _pair(key: str, data: object) -> Pair:
    fields = _mapping(key, data, {"target", "reference"})
    for name in ("target", "reference"):
        if name not in fields:
            raise ValueError(f"{key}.{name}: expected a class number or a region, got nothing")
    return _made(key, Pair, **fields)


def _shapes(key: str, data: object, folder: str | Path) -> Iterable[Shape]:
    """Yield the shapes of one mapping, or of a list of them."""
    for index, one in enumerate(data if isinstance(data, list) else [data]):
        where = f"{key}[{index}]" if isinstance(data, list) else key
        fields = _mapping(where, one, {"box", "polygon", "mask"})
        if len(fields) != 1:
            raise ValueError(f"{where}: expected one of box, polygon and mask, got {list(fields)}")
        ((kind, value),) = fields.items()
        if kind == "polygon":
            yield _made(where, Polygon, value)
        elif kind == "mask":
            if not isinstance(value, str):
                raise ValueError(f"{where}.mask: expected the path of a picture, got {value!r}")
            yield Mask(Path(folder) / value)
        elif not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 4:
            raise ValueError(f"{where}.box: expected [left, top, right, bottom], got {value!r}")
        else:
            yield _made(where, Box, *value)


def _made(key: str, kind: Callable[..., _T], *values: Any, **fields: Any) -> _T:
    """Make an object; what it finds wrong is named by its key in the file."""
    try:
        return kind(*values, **fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}.{error}") from None


def _mapping(key: str, data: object, known: set[str]) -> Mapping[str, Any]:
    prefix = f"{key}: " if key else ""
    expected = ", ".join(sorted(known))
    if not isinstance(data, Mapping):
        raise ValueError(f"{prefix}expected a mapping with {expected}, got {data!r}")
    for name in data:
        if name not in known:
            raise ValueError(f"{f'{key}.' if key else ''}{name}: expected one of {expected}")
    return data


class _UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key that comes twice, of which one would silently be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise ValueError(f"line {line}: expected each key once, got {key!r} again")
            seen.add(key)
        return super().construct_mapping(node, deep)

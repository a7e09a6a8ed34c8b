"""Which rasters a name stands for where it is not that of one: a folder's, a list's, a STAC item collection's."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rotacube.errors import RasterMissing, RasterNeedsNetwork, RasterUnreadable
from rotacube.raster.references import LARGEST

SUFFIXES = (".tif", ".tiff", ".jp2", ".img", ".png", ".jpg", ".jpeg")
"""How the rasters of a folder end; virtual ones are left out, which mostly stand for others that lie there, too."""
_HREF = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")


def members_of(name: str) -> list[str] | None:
    """The rasters that a name stands for, the first one counting first; None where it stands for one that GDAL opens.

    - A folder: the rasters in it (`SUFFIXES`), by name; hidden files and folders in it are left out.
    - A list, `.txt`: a path a line, relative to the list's folder; empty lines are left out.
    - A STAC item collection, or item, `.json` or `.geojson`: of each item one asset, the first with the role "visual",
      else with the role "data", else of the media type image/tiff; a path relative to the collection's folder.

    Raises:
        RasterMissing: the list or the collection names none.
        RasterNeedsNetwork: the collection names an address.
        RasterUnreadable: the list or the collection is damaged.
    """
    path = Path(name)
    try:
        if path.is_dir():
            return _in_folder(path) or None
        suffix = path.suffix.lower() if path.is_file() else ""
    except (OSError, ValueError):  # longer than a name may be, or with a NUL
        return None
    if suffix == ".txt":
        return _in_list(path)
    if suffix in (".json", ".geojson"):
        return _in_collection(path)
    return None


def _in_folder(path: Path) -> list[str]:
    found = (p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    return [str(p) for p in sorted(found) if not p.is_dir()]


def _in_list(path: Path) -> list[str]:
    lines = [line.strip() for line in _text(path).splitlines()]
    names = [_place(line, path) for line in lines if line]
    if not names:
        raise RasterMissing(f"The list '{path}' names no raster: write the path of one on each line.")
    return names


def _in_collection(path: Path) -> list[str] | None:
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise RasterUnreadable(f"'{path}' is damaged: it is no JSON ({str(error)[:200]}). Make it again.") from error
    items = content.get("features") if isinstance(content, dict) and "features" in content else [content]
    if not isinstance(items, list) or not any(isinstance(item, dict) and "stac_version" in item for item in items):
        return None
    return [_asset(item, path) for item in items]


def _asset(item: Any, path: Path) -> str:
    """Of an item the path of the asset that is read."""
    number = str(item.get("id", "")) if isinstance(item, dict) else ""
    assets = item.get("assets") if isinstance(item, dict) else None
    known = [a for a in assets.values() if isinstance(a, dict)] if isinstance(assets, dict) else []
    for asset in _ranked(known):
        if isinstance(asset.get("href"), str) and asset["href"]:
            return _place(asset["href"], path)
    raise RasterMissing(
        f"In '{path}' the item '{number[:100]}' has no asset with the role visual or data, or of the type image/tiff. "
        "Name the rasters in a list, one a line, in a file that ends in .txt."
    )


def _ranked(assets: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for role in ("visual", "data"):
        yield from (a for a in assets if isinstance(a.get("roles"), list) and role in a["roles"])
    yield from (a for a in assets if str(a.get("type", "")).lower().startswith("image/tiff"))


def _place(href: str, path: Path) -> str:
    scheme = _HREF.match(href)
    if scheme and scheme["scheme"].lower() != "file":
        raise RasterNeedsNetwork(
            f"'{path}' names data on the network ('{href[:200]}'). Download it, and name the files in its place."
        )
    if scheme:
        return unquote(href[len("file://") :])
    plain = os.path.join(path.parent, href)  # noqa: PTH118
    return plain if "%" not in href or os.path.exists(plain) else str(path.parent / unquote(href))  # noqa: PTH110


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise RasterUnreadable(f"'{path}' has more than {LARGEST >> 20} MB: too large to be read.")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise RasterUnreadable(f"'{path}' cannot be read as text in UTF-8 ({error}). Save it as such.") from error

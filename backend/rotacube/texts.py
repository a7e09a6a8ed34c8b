"""Names that come from outside: what can name no file, model or CRS is told before anything is done with it."""

from __future__ import annotations

import os
import re

from rotacube.errors import OutputUnwritable, RequestRefused, RotacubeError

PART = 255
"""Bytes of the longest part of a path: file systems end there."""
PATH = 4096
"""Bytes of the longest path."""
CRS = 2**16
"""Bytes of the longest CRS: WKT is long."""
_ADDRESS = re.compile(r"/vsi|[A-Za-z][A-Za-z0-9+.-]*://")


def trouble(text: str, longest: int = PATH, part: int = PART) -> str | None:
    """What is wrong with a name, as the end of a sentence that it begins; None where it is fine.

    Args:
        text: the name.
        longest: bytes of all of it.
        part: bytes between two slashes.

    >>> trouble("town.tif") is None
    True
    >>> trouble("town" * 100)
    'is too long: it has a part of 400 bytes, and file systems end at 255'
    """
    if "\0" in text:
        return "has a NUL character in it"
    try:
        whole = text.encode()
    except UnicodeEncodeError:
        return "is no text in UTF-8"
    if len(whole) > longest:
        return f"is too long: it has {len(whole)} bytes, and may have {longest}"
    slashes = "/" if os.sep == "/" else rf"/{os.sep}"
    found = max(len(p.encode()) for p in re.split(f"[{re.escape(slashes)}]", text))
    return f"is too long: it has a part of {found} bytes, and file systems end at {part}" if found > part else None


def trouble_of_raster(text: str) -> str | None:
    """The same of what GDAL opens: only paths have parts that end at 255 bytes, addresses do not."""
    return trouble(text, part=PATH if _ADDRESS.match(text) else PART)


def trouble_of_crs(text: str) -> str | None:
    """The same of a CRS."""
    return trouble(text, CRS, CRS)


def check_raster(text: str) -> None:
    """Check the name of a raster.

    Raises:
        RequestRefused: nothing can have it.
    """
    _refuse("The raster's name", text, trouble_of_raster(text))


def check_output_name(text: str) -> None:
    """Check the path of a file that is to be written.

    Raises:
        OutputUnwritable: nothing can have it.
    """
    _refuse("The output's name", text, trouble(text), OutputUnwritable)


def check_crs(text: str) -> None:
    """Check what is to be a CRS.

    Raises:
        RequestRefused: it is too long, or no text.
    """
    _refuse("The CRS", text, trouble_of_crs(text))


def _refuse(what: str, text: str, wrong: str | None, error: type[RotacubeError] = RequestRefused) -> None:
    if wrong:
        raise error(f"{what} '{text[:40]}' {wrong}. Choose another, or rename it.")

"""The version, which stands in one place: `metadata.txt`.

In a checkout and in the plugin's zip that file is read; an installed wheel carries the number it was built with.
"""

from __future__ import annotations

import configparser
from importlib import metadata
from pathlib import Path


def _read() -> str:
    for folder in Path(__file__).resolve().parents[1:4]:
        path = folder / "metadata.txt"
        if path.is_file():
            parser = configparser.ConfigParser(interpolation=None)
            parser.read(path, encoding="utf-8")
            return parser["general"]["version"]
    return metadata.version("rotacube")


__version__ = _read()

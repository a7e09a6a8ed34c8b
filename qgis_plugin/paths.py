"""Where the plugin's own files lie.

In the zip everything is inside the plugin's folder; in a checkout `resources/`, `backend/` and `metadata.txt` lie
beside `qgis_plugin/`.
"""

from __future__ import annotations

import configparser
from pathlib import Path

PLUGIN = Path(__file__).resolve().parent


def root() -> Path:
    """The folder that holds `resources/` and `backend/`."""
    return PLUGIN if (PLUGIN / "resources").is_dir() else PLUGIN.parent


def resource(*parts: str) -> str:
    """Path of a file below `resources/`."""
    return str(root().joinpath("resources", *parts))


def launch_script() -> Path:
    """The script that starts the backend from its source tree."""
    return root() / "backend" / "launch.py"


def sizes_script() -> Path:
    """The script by which a new environment's Python tells how large the packages are that pip would install."""
    return root() / "backend" / "package_sizes.py"


def is_checkout() -> bool:
    """Whether the plugin runs from the project's repository rather than from an installed zip."""
    return (root() / "pyproject.toml").is_file()


def help_page() -> str:
    """Path of the help page."""
    return str(PLUGIN / "help.html")


def version() -> str:
    """The plugin's version."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(root() / "metadata.txt", encoding="utf-8")
    return parser.get("general", "version", fallback="")

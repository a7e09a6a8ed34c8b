"""Starts the backend for the plugin: the installed package where its version is the plugin's, else the source beside.

Run by the backend's own Python: `python launch.py serve --port 0 --parent-pipe`. The installed package brings compiled
operators; the source that travels with the plugin runs on the reference path.
"""

import configparser
import importlib.util
import json
import runpy
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDED = "PyTorch, rasterio, FastAPI, uvicorn, Typer, rich, pyproj and safetensors"


def wanted_version():
    """The version that the plugin's `metadata.txt` states, which lies one folder up."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(HERE.parent / "metadata.txt", encoding="utf-8")
    return parser.get("general", "version", fallback=None)


def installed_version():
    """The version of the installed package, or None."""
    try:
        return metadata.version("rotacube")
    except metadata.PackageNotFoundError:
        return None


def main():
    """Choose the package, check that what it needs is there, and hand over."""
    # Python puts the script's folder first. Where it comes again, the package is installed from here (pip install -e).
    if sys.path and Path(sys.path[0] or ".").resolve() == HERE:
        del sys.path[0]
    if installed_version() != wanted_version() or importlib.util.find_spec("rotacube") is None:
        sys.path.insert(0, str(HERE))
    try:
        runpy.run_module("rotacube", run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        sentence = (
            f"This Python ({sys.executable}) lacks '{error.name}', which the backend needs ({NEEDED}). Set up the "
            "backend in Rotacube's settings, or choose another Python there."
        )
        print(json.dumps({"error": {"code": "environment", "message": sentence}}), flush=True)
        sys.exit(2)


if __name__ == "__main__":
    main()

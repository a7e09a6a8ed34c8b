"""Whether a Python could run the backend: it is asked, which takes a moment, so not in the GUI's thread."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from ..i18n import tr
from . import environment
from .packages import MINIMUM, is_new_enough

PATIENCE_S = 20
NEEDED = ("torch", "numpy", "rasterio", "pyproj", "shapely", "safetensors", "fastapi", "uvicorn", "typer", "rich")
_ASK = f"""
import importlib.metadata, importlib.util, json, sys
version = None
if importlib.util.find_spec("torch"):
    version = importlib.metadata.version("torch")
missing = [name for name in {NEEDED!r} if importlib.util.find_spec(name) is None]
print(json.dumps(dict(python="%d.%d" % sys.version_info[:2], torch=version, missing=missing)))
"""


def examine(path: str) -> str:
    """What there is to say of a Python, in a sentence."""
    if not Path(path).is_file():
        return tr("There is no file {path}.").format(path=path)
    no_python = tr("{path} is no Python that answers.").format(path=path)
    try:
        answer = subprocess.run(
            [path, "-I", "-c", _ASK],
            env=environment.clean_environment(os.environ),
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        told = json.loads(answer.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2])
        python, torch, missing = told["python"], told["torch"], told["missing"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return no_python
    if not is_new_enough(python):
        text = tr("This is Python {python}; {minimum} or newer is needed.")
        return text.format(python=python, minimum=".".join(map(str, MINIMUM)))
    if missing:
        text = tr("This is Python {python}, but it lacks what the backend needs: {missing}.")
        return text.format(python=python, missing=", ".join(missing))
    return tr("This is Python {python} with PyTorch {torch}: it can run the backend.").format(
        python=python, torch=torch
    )

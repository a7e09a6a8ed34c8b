"""Fixtures for tests that run in QGIS's own Python, with real widgets on a (virtual) screen."""

import importlib.util
import os
import sys
import warnings
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]

if importlib.util.find_spec("qgis") is None:
    collect_ignore_glob = ["*.py"]
    warnings.warn("tests/plugin is skipped: it needs QGIS's own Python (make test runs it there)", stacklevel=1)
else:
    sys.path.insert(0, str(REPO))
    from fixtures import *  # noqa: F403


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory):
    """No test reads or writes the user's own settings, environment and caches."""
    home = tmp_path_factory.mktemp("home")
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")
    os.environ["ROTACUBE_HOME"] = str(home / "rotacube")
    os.environ.pop("ROTACUBE_PYTHON", None)

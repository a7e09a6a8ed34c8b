"""The picture of the rooms in docs/architecture.md: drawn from the imports, up to date, and without a way upward."""

import importlib.util
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
_SPEC = importlib.util.spec_from_file_location("draw_modules", REPO / "tools" / "draw_modules.py")
draw_modules = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(draw_modules)
TOP = "town (public names)"


def rows(picture):
    """The picture's lines as room and what it imports, from the top."""
    for line in picture.splitlines():
        if line.startswith("    "):
            room, _, below = line[8:].rpartition("  ")
            yield room.strip(), [] if below == "-" else below.split(", ")


def planted(folder, files):
    """A small package of these files."""
    for name, code in {"__init__.py": "", **files}.items():
        path = folder / "town" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return folder / "town"


def test_page_is_what_the_imports_are_now():
    page = draw_modules.PAGE.read_text(encoding="utf-8")
    assert draw_modules.drawn(page) == page, "docs/architecture.md is not what the imports are: run make modules"


@pytest.mark.parametrize("name", draw_modules.PACKAGES)
def test_no_arrow_points_upward(name):
    begin, end = draw_modules.markers(name)
    text = draw_modules.PAGE.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]
    drawn = list(rows(text))
    order = [room for room, _ in drawn]
    assert len(order) > 5 and len(set(order)) == len(order)
    assert [(room, other) for n, (room, below) in enumerate(drawn) for other in below if other in order[: n + 1]] == []
    assert {other for _, below in drawn for other in below} <= set(order)


def test_every_way_to_import_counts(tmp_path):
    files = {
        "__init__.py": "from town._version import __version__\nP = {'walk': 'town.streets.paths', 'Fault': 'faults'}",
        "_version.py": "__version__ = '1'",
        "faults.py": "",
        "streets/__init__.py": "from town.streets.paths import walk",
        "streets/paths.py": "from town import __version__\ndef walk():\n    from ..faults import Fault",
        "houses/__init__.py": "",
        "houses/roof.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import town.streets.paths",
        "houses/door.py": "from importlib import import_module\nimport_module('town.parks')\nfrom town import streets",
        "parks.py": "import json",
    }
    assert draw_modules.picture(planted(tmp_path, files), TOP).splitlines() == [
        "     4  town (public names)  _version, faults, streets",
        "     3  houses               parks, streets",
        "     2  streets              _version, faults",
        "     1  _version             -",
        "     1  faults               -",
        "     1  parks                -",
    ]


def test_circle_of_rooms_is_found(tmp_path):
    files = {
        "streets/__init__.py": "",
        "streets/paths.py": "from town.houses import door",
        "streets/stones.py": "",
        "houses/__init__.py": "",
        "houses/door.py": "",
        "houses/roof.py": "def f():\n    from ..streets import stones",
    }
    with pytest.raises(draw_modules.CycleFound, match=r"streets -> houses -> streets|houses -> streets -> houses"):
        draw_modules.picture(planted(tmp_path, files), TOP)


def test_circle_of_modules_within_a_room_is_found(tmp_path):
    files = {
        "streets/__init__.py": "",
        "streets/paths.py": "from . import stones",
        "streets/stones.py": "from town.streets.sand import grain",
        "streets/sand.py": "if False:\n    from .paths import walk",
    }
    circle = r"(?=.*paths -> town.streets.stones|.*sand -> town.streets.paths)"
    with pytest.raises(draw_modules.CycleFound, match=circle):
        draw_modules.picture(planted(tmp_path, files), TOP)


def test_room_that_asks_the_package_for_its_public_names_is_found(tmp_path):
    files = {"__init__.py": "def name(): ...", "streets.py": "from town import name"}
    with pytest.raises(draw_modules.CycleFound, match="town \\(public names\\)"):
        draw_modules.picture(planted(tmp_path, files), TOP)


def test_import_that_leads_nowhere_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere: streets\.gone"):
        draw_modules.picture(
            planted(tmp_path, {"streets/__init__.py": "", "a.py": "from town.streets.gone import b"}), TOP
        )

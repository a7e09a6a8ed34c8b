"""The rooms within the plugin: who may import whom, and what knows neither QGIS nor Qt; checked without running it."""

import ast
from pathlib import Path

import pytest

PLUGIN = Path(__file__).resolve().parents[2] / "qgis_plugin"
# From the top; a module imports from its own room and from those below.
ROOMS = (
    ("__init__",),
    ("plugin",),
    ("controller", "algorithms"),
    ("roofs", "learning", "frames"),
    ("runs", "history", "interrupted", "estimates", "opening", "map_area", "backend_watch"),
    ("gui",),
    ("run",),
    ("canvas",),
    ("layers",),
    ("signals",),
    ("client",),
    ("notify", "paths", "i18n", "compat"),
)
RANK = {name: rank for rank, names in enumerate(ROOMS) for name in names}
PLAIN = ("client/schema.py", "client/http.py", "client/events.py", "client/supervisor.py")
FOREIGN = {"qgis", "PyQt5", "PyQt6", "osgeo"}


def modules(root):
    """The plugin's modules, as parts of their names below the root."""
    return {path.relative_to(root).with_suffix("").parts: path for path in sorted(root.rglob("*.py"))}


def imported(root, name):
    """What a module imports: parts of names of the plugin's own modules, and top names of all others."""
    known = modules(root)
    own, foreign = set(), set()
    for node in ast.walk(ast.parse(known[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            foreign |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            foreign.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = name[: len(name) - node.level] + tuple(node.module.split(".") if node.module else ())
            for alias in node.names:
                candidates = ((*base, alias.name), base, (*base, "__init__"))
                own |= {next((each for each in candidates if each in known), name)} - {name}
    return own, foreign


def climbs(root):
    """Imports from a room above."""
    for name in modules(root):
        for other in sorted(imported(root, name)[0]):
            if RANK[other[0]] < RANK[name[0]]:
                yield f"{'/'.join(name)} imports {'/'.join(other)}"


def cycles(root):
    """Modules that come back to themselves by way of their imports."""
    graph = {name: imported(root, name)[0] for name in modules(root)}
    return sorted("/".join(name) for name in graph if name in reached(graph, name))


def reached(graph, start):
    """All that a module imports, directly or not."""
    found, todo = set(), list(graph[start])
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += graph[name]
    return found


def strangers(root, name):
    """What a module that is to be plain imports of QGIS, Qt and GDAL, directly or not."""
    graph = {each: imported(root, each)[0] for each in modules(root)}
    for each in sorted({name} | reached(graph, name)):
        for foreign in sorted(imported(root, each)[1] & FOREIGN):
            yield f"{'/'.join(each)} imports {foreign}"


def test_every_module_has_a_room():
    assert {name[0] for name in modules(PLUGIN)} == set(RANK)


def test_no_module_imports_from_a_room_above():
    assert list(climbs(PLUGIN)) == []


def test_no_module_comes_back_to_itself():
    assert cycles(PLUGIN) == []


@pytest.mark.parametrize("path", PLAIN)
def test_the_way_to_the_backend_knows_neither_qgis_nor_qt(path):
    assert list(strangers(PLUGIN, Path(path).with_suffix("").parts)) == []


def test_crossings_are_found(tmp_path):
    for folder, file, code in (
        ("client", "http", "from ..i18n import tr\nfrom . import events"),
        ("client", "events", "from .http import Client"),
        ("layers", "results", "def f():\n    from ..gui.format import number"),
        ("gui", "format", "import json"),
        ("", "i18n", "from qgis.PyQt.QtCore import QCoreApplication"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{file}.py").write_text(code)
    assert list(climbs(tmp_path)) == ["layers/results imports gui/format"]
    assert cycles(tmp_path) == ["client/events", "client/http"]
    assert list(strangers(tmp_path, ("client", "events"))) == ["i18n imports qgis"]

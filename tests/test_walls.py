"""The walls between the rooms: what `qgis_plugin/` and `backend/` may import, checked without running them."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PLUGIN = REPO / "qgis_plugin"
BACKEND = REPO / "backend"
PLUGIN_MAY = {"qgis", "osgeo", "numpy", "pyplugin_installer", "processing"} | set(sys.stdlib_module_names)
BACKEND_MAY_NOT = {"qgis", "PyQt5", "PyQt6", "PySide2", "PySide6", "sip", "qgis_plugin", "osgeo"}
LINES = 400


def imports(path):
    """Top names of all absolute imports of a file, with their lines; `import_module("x")` counts too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0], node.lineno
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value.lstrip(".").split(".")[0], node.lineno


def climbs_out(path, root):
    """Lines of relative imports that leave the package's folder."""
    depth = len(path.relative_to(root).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level > depth:
            yield node.lineno


def plugin_crossings(root):
    """Imports of the plugin that QGIS's Python would not have."""
    for path in sorted(root.rglob("*.py")):
        for name, line in imports(path):
            if name not in PLUGIN_MAY:
                yield f"{path.relative_to(root)}:{line} imports {name}"
        for line in climbs_out(path, root):
            yield f"{path.relative_to(root)}:{line} imports from outside the plugin"


def backend_crossings(root):
    """Imports of the backend that belong to QGIS."""
    for path in sorted(root.rglob("*.py")):
        for name, line in imports(path):
            if name in BACKEND_MAY_NOT:
                yield f"{path.relative_to(root)}:{line} imports {name}"


def test_plugin_keeps_to_qgis_qt_gdal_numpy_and_the_standard_library():
    assert len(list(PLUGIN.rglob("*.py"))) > 5
    assert list(plugin_crossings(PLUGIN)) == []


def test_backend_knows_neither_qgis_nor_qt():
    assert len(list(BACKEND.rglob("*.py"))) > 5
    assert list(backend_crossings(BACKEND)) == []


def test_qt_is_imported_through_qgis_only():
    found = [f"{p.name}:{line}" for p in PLUGIN.rglob("*.py") for name, line in imports(p) if name.startswith("PyQt")]
    assert found == []


@pytest.mark.parametrize(
    "code",
    ["import torch", "from rasterio import open", "def f():\n    import requests.sessions", "from ... import backend"]
    + ["import importlib\nimportlib.import_module('rotacube.ops')", "__import__('PyQt5')", "import backend.rotacube"],
)
def test_a_crossing_of_the_plugin_is_found(tmp_path, code):
    (tmp_path / "gui").mkdir()
    (tmp_path / "fine.py").write_text("import json\nfrom qgis.core import Qgis\nfrom .gui import bad\n")
    (tmp_path / "gui" / "bad.py").write_text(code)
    found = list(plugin_crossings(tmp_path))
    assert len(found) == 1 and "bad.py" in found[0]


@pytest.mark.parametrize("code", ["from qgis.core import Qgis", "import PyQt5.QtCore", "from qgis_plugin import paths"])
def test_a_crossing_of_the_backend_is_found(tmp_path, code):
    (tmp_path / "bad.py").write_text("import torch\n" + code)
    assert len(list(backend_crossings(tmp_path))) == 1


def test_no_file_of_the_plugin_is_too_long():
    long = {p.name: n for p in PLUGIN.rglob("*.py") if (n := len(p.read_text(encoding="utf-8").splitlines())) > LINES}
    assert long == {}


def qt_names(path):
    """Every dotted use of something imported from qgis.PyQt: module, dotted name, line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    origin = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qgis.PyQt."):
            origin.update({alias.asname or alias.name: (node.module[10:], alias.name) for alias in node.names})
    for node in ast.walk(tree):
        names, inner = [], node
        while isinstance(inner, ast.Attribute):
            names.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner.id in origin:
            module, name = origin[inner.id]
            yield module, ".".join([name, *names]), inner.lineno


def test_every_qt_name_is_in_qt6_too():
    pytest.importorskip("PyQt6", exc_type=ImportError)
    moved = {"QtWidgets.QAction"}  # compat.py tries both places
    missing = []
    for path in sorted(PLUGIN.rglob("*.py")):
        for module, dotted, line in qt_names(path):
            found = importlib.import_module(f"PyQt6.{module}")
            for part in dotted.split("."):
                found = getattr(found, part, None)
            if found is None and f"{module}.{dotted}" not in moved:
                missing.append(f"{path.name}:{line} {module}.{dotted}")
    assert missing == []

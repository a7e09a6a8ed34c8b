"""The plugin's zip: what is in it, what must not be, and what the plugin repository's scans say of it."""

import ast
import configparser
import hashlib
import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
MANDATORY = (
    "name",
    "description",
    "version",
    "qgisMinimumVersion",
    "author",
    "email",
    "about",
    "tracker",
    "repository",
)
FORBIDDEN_ENDS = (
    ".so",
    ".dll",
    ".exe",
    ".sh",
    ".bat",
    ".pyc",
    ".pyd",
    ".dylib",
    ".safetensors",
    ".pt",
    ".pth",
    ".onnx",
)
FORBIDDEN_PARTS = ("__pycache__", ".git", "__MACOSX", ".DS_Store")
WEIGHTS = {
    f"rotacube/{path.relative_to(REPO).as_posix()}" for path in (REPO / "resources" / "models").glob("*/*.safetensors")
}
# Bandit may say these and no more: the backend is a process, started from a list of arguments and without a shell.
ACCEPTED = {
    "B314": "the XML is a VRT's, or a photo's XMP: expat fetches no external entity and bounds the others' growth",
    "B405": "see B314",
    "B404": "subprocess is imported: the backend is a process of its own",
    "B603": "subprocess runs a list of arguments that the plugin made itself",
}


@pytest.fixture(scope="module")
def make_plugin():
    """The builder as a module."""
    spec = importlib.util.spec_from_file_location("make_plugin", REPO / "tools" / "make_plugin.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def archive(make_plugin, tmp_path_factory):
    """The zip's path."""
    return make_plugin.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def unpacked(archive, tmp_path_factory):
    """The plugin's folder as QGIS unpacks it."""
    folder = tmp_path_factory.mktemp("plugins")
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder / "rotacube"


def names(archive):
    with zipfile.ZipFile(archive) as file:
        return file.namelist()


def test_everything_lies_in_one_folder(archive):
    assert {name.split("/")[0] for name in names(archive)} == {"rotacube"}
    assert len(names(archive)) == len(set(names(archive)))


def test_what_must_be_there(archive):
    inside = {name.removeprefix("rotacube/") for name in names(archive)}
    assert {"__init__.py", "plugin.py", "metadata.txt", "LICENSE", "help.html"} <= inside
    assert {"resources/icons/rotacube.svg", "backend/requirements.txt", "backend/rotacube/__init__.py"} <= inside
    assert "backend/launch.py" in inside
    assert "backend/rotacube/server/app.py" in inside


def test_what_must_not_be_there(archive):
    wrong = [
        n for n in names(archive) if n.lower().endswith(FORBIDDEN_ENDS) or set(n.split("/")) & set(FORBIDDEN_PARTS)
    ]
    assert [name for name in wrong if name not in WEIGHTS] == []
    assert archive.stat().st_size < 25_000_000


def test_the_models_that_ship_are_there_and_whole(unpacked):
    cards = sorted((REPO / "resources" / "models").glob("*/model.json"))
    assert cards
    for card in cards:
        folder = unpacked / "resources" / "models" / card.parent.name
        assert (folder / "model.json").read_bytes() == card.read_bytes()
        weights = json.loads(card.read_text())["weights"]
        assert hashlib.sha256((folder / weights["file"]).read_bytes()).hexdigest() == weights["sha256"]


@pytest.mark.parametrize("way", ["from the zip", "from the wheel"])
def test_the_backend_finds_them_with_nothing_else_on_its_paths(way, unpacked, tmp_path):
    """The source that travels with the plugin, and the package that a wheel installs."""
    home = unpacked
    if way == "from the wheel":
        home = tmp_path / "site"
        environment = {**os.environ, "ROTACUBE_SKIP_CUDA": "1", "CXX": "false"}  # nothing is compiled
        command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(tmp_path), "--build-lib", str(home)]
        subprocess.run(command, env=environment, cwd=REPO, check=True, capture_output=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ROTACUBE", "PYTHON", "XDG"))}
    environment.update(
        HOME=str(tmp_path), PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(home / "backend" if home == unpacked else home)
    )
    code = "import rotacube.models.store as s; print(s.__file__, *(folder for _, folder in s.list_models()), sep='\\n')"
    told = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    module, *folders = map(Path, told.stdout.splitlines())
    assert home in module.parents and folders and all(home in folder.parents for folder in folders)


def test_no_file_is_binary_but_weights(unpacked):
    for path in unpacked.rglob("*"):
        if path.is_file() and path.relative_to(unpacked.parent).as_posix() not in WEIGHTS:
            path.read_bytes().decode("utf-8")


def test_forbidden_files_stop_the_build(make_plugin, monkeypatch, tmp_path):
    (tmp_path / "qgis_plugin").mkdir()
    (tmp_path / "qgis_plugin" / "tool.exe").write_bytes(b"MZ")
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    monkeypatch.setattr(make_plugin, "REPO", tmp_path)
    with pytest.raises(ValueError, match=r"tool\.exe"):
        make_plugin.contents()


def test_same_sources_give_the_same_bytes(make_plugin, archive, tmp_path):
    again = make_plugin.build(tmp_path)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(archive.read_bytes()).digest()


def test_metadata(unpacked):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(unpacked / "metadata.txt", encoding="utf-8")
    general = parser["general"]
    assert [key for key in MANDATORY if not general.get(key, "").strip()] == []
    assert general["qgisMinimumVersion"] == "3.22" and general["qgisMaximumVersion"].startswith("4.")
    assert "External dependencies" in general["about"]
    assert (unpacked / general["icon"]).is_file()
    assert "supportsQt6" not in general


def test_requirements_are_those_of_the_package(unpacked):
    lines = (unpacked / "backend" / "requirements.txt").read_text().splitlines()
    text = (REPO / "pyproject.toml").read_text()
    assert any(line.startswith("torch") for line in lines) and any(line.startswith("fastapi") for line in lines)
    assert all(any(line.startswith(name) for line in lines) for name in ("lightning", "opencv-python-headless"))
    assert all(f'"{line}"' in text for line in lines)


def test_every_python_file_compiles(unpacked, tmp_path):
    for path in unpacked.rglob("*.py"):
        py_compile.compile(str(path), cfile=str(tmp_path / "x.pyc"), doraise=True)


def test_bandit(unpacked):
    pytest.importorskip("bandit")
    command = [sys.executable, "-m", "bandit", "-q", "-r", str(unpacked), "-f", "json", "--ignore-nosec"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert report["errors"] == []
    found = [
        f"{item['test_id']} {Path(item['filename']).name}:{item['line_number']} {item['issue_text']}"
        for item in report["results"]
        if item["test_id"] not in ACCEPTED
    ]
    assert found == []


def test_detect_secrets(unpacked):
    pytest.importorskip("detect_secrets")
    command = [sys.executable, "-m", "detect_secrets", "scan", "--all-files", "--no-verify", "."]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=unpacked)
    found = {item["hashed_secret"] for each in json.loads(answer.stdout)["results"].values() for item in each}
    cards = [json.loads(path.read_text()) for path in unpacked.glob("resources/models/*/model.json")]
    assert found <= {hashlib.sha1(card["weights"]["sha256"].encode()).hexdigest() for card in cards}


def test_nothing_unpickles(unpacked):
    for path in unpacked.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                modules = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not modules & {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve"}, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                safe = [ast.unparse(given.value) for given in node.keywords if given.arg == "weights_only"]
                assert safe == ["True"], path

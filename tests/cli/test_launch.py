"""The plugin's starter: it takes the installed package or the source beside it, and says what Python lacks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rotacube

LAUNCH = Path(rotacube.__file__).resolve().parents[1] / "launch.py"
if not LAUNCH.is_file():
    pytest.skip("launch.py lies in the checkout", allow_module_level=True)

SAY = "import sys; print('{where}', sys.argv[1:])"


@pytest.fixture
def plugin(tmp_path):
    """A plugin of version 2.0.0 whose package says where it is from, and a place for an installed one."""
    backend = tmp_path / "plugin" / "backend"
    package(backend, "the source beside")
    shutil.copy(LAUNCH, backend)
    (tmp_path / "plugin" / "metadata.txt").write_text("[general]\nname=Rotacube\nversion=2.0.0\nabout=100 % good\n")
    (tmp_path / "site").mkdir()
    return tmp_path


def package(folder, where):
    (folder / "rotacube").mkdir(parents=True)
    (folder / "rotacube" / "__init__.py").touch()
    (folder / "rotacube" / "__main__.py").write_text(SAY.format(where=where))


def install(plugin, version):
    package(plugin / "site", "the installed package")
    info = plugin / "site" / f"rotacube-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: rotacube\nVersion: {version}\n")


def launch(plugin, *arguments, path=None):
    """Run launch.py in a Python that has nothing but the folder `site`, or other folders."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, path or [plugin / "site"]))
    command = [sys.executable, "-S", plugin / "plugin" / "backend" / "launch.py", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_installed_package_runs_where_it_has_the_plugins_version(plugin):
    install(plugin, "2.0.0")
    done = launch(plugin, "serve", "--port", "0")
    assert done.stdout == "the installed package ['serve', '--port', '0']\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("version", [None, "1.9.0", "2.0.1"])
def test_the_source_beside_runs_where_the_package_is_absent_or_of_another_version(version, plugin):
    if version:
        install(plugin, version)
    assert launch(plugin, "doctor").stdout == "the source beside ['doctor']\n"


def test_the_source_beside_runs_where_it_is_what_is_installed(plugin):
    """`pip install -e` puts the folder of the source on the path, where it is as the script's own already."""
    install(plugin, "2.0.0")
    shutil.rmtree(plugin / "site" / "rotacube")
    done = launch(plugin, "doctor", path=(plugin / "site", plugin / "plugin" / "backend"))
    assert done.stdout == "the source beside ['doctor']\n", done.stderr


def test_the_source_beside_runs_where_the_package_is_gone_but_for_its_name(plugin):
    install(plugin, "2.0.0")
    shutil.rmtree(plugin / "site" / "rotacube")
    assert launch(plugin, "doctor").stdout == "the source beside ['doctor']\n"


def test_a_checkout_runs_in_its_own_environment():
    done = subprocess.run([sys.executable, LAUNCH, "--version"], capture_output=True, text=True, check=False)
    assert done.stdout == f"{rotacube.__version__}\n", done.stderr


def test_a_python_without_what_is_needed_is_told_as_json_and_exits_with_2(plugin):
    package = plugin / "plugin" / "backend" / "rotacube"
    shutil.rmtree(package)
    shutil.copytree(Path(rotacube.__file__).parent, package, ignore=shutil.ignore_patterns("_lib", "__pycache__"))
    done = launch(plugin, "serve", "--port", "0")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    error = json.loads(lines[0])["error"]
    assert len(lines) == 1 and error["code"] == "environment"
    assert "lacks 'typer'" in error["message"] and sys.executable in error["message"]


def test_an_exit_code_passes_through(plugin):
    (plugin / "plugin" / "backend" / "rotacube" / "__main__.py").write_text("raise SystemExit(2)")
    assert launch(plugin).returncode == 2

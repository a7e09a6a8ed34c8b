"""Which Python runs the backend, and in which environment."""

import sys

import pytest
from fixtures import FAKE
from qgis.core import QgsSettings
from qgis_plugin import paths
from qgis_plugin.client import environment


def test_python_is_found_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ROTACUBE_PYTHON", raising=False)
    with pytest.raises(environment.BackendMissing, match="not set up yet"):
        environment.find_python()
    managed = environment.python_in(environment.managed_folder())
    managed.parent.mkdir(parents=True)
    managed.write_text("")
    with pytest.raises(environment.BackendMissing):  # begun but not complete
        environment.find_python()
    environment.mark_complete("0.1.0")
    assert environment.find_python().path == str(managed)
    monkeypatch.setenv("ROTACUBE_PYTHON", sys.executable)
    assert environment.find_python() == environment.Python(sys.executable, "ROTACUBE_PYTHON")
    QgsSettings().setValue("rotacube/python", str(FAKE))
    assert environment.find_python().path == str(FAKE)
    QgsSettings().setValue("rotacube/python", "/not/there")
    with pytest.raises(environment.BackendMissing, match="/not/there"):
        environment.find_python()


def test_the_childs_environment_is_clean():
    env = environment.clean_environment(
        {
            "PYTHONHOME": "/qgis",
            "PYTHONPATH": "/qgis",
            "QT_PLUGIN_PATH": "/qgis",
            "GDAL_DATA": "/qgis",
            "PROJ_LIB": "/qgis",
            "VIRTUAL_ENV": "/x",
            "LD_LIBRARY_PATH": "/usr/lib/grass82/lib:/opt/cuda/lib:",
            "HTTPS_PROXY": "http://proxy",
            "HOME": "/home/me",
        }
    )
    assert env["LD_LIBRARY_PATH"] == "/opt/cuda/lib"
    assert {key for key in env if not key.startswith("PYTHON")} == {"LD_LIBRARY_PATH", "HTTPS_PROXY", "HOME"}
    assert "PYTHONHOME" not in env and "PYTHONPATH" not in env


def test_models_reach_the_backend(qgis_app, monkeypatch):
    monkeypatch.setenv("ROTACUBE_PYTHON", sys.executable)
    environment.set_setting("models", "/models/a")
    launch = environment.launch()
    assert launch.env["ROTACUBE_MODELS"] == "/models/a"
    assert launch.command == [sys.executable, str(paths.launch_script()), "serve", "--port", "0", "--parent-pipe"]
    assert "ROTACUBE_TOKEN" not in launch.command

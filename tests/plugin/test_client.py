"""The backend's process and the way to it: starting, dying, misbehaving, ending."""

import os
import sys
import time
from pathlib import Path

import pytest
from fixtures import FAKE, wait
from qgis.core import QgsSettings
from qgis.PyQt.QtTest import QSignalSpy
from qgis_plugin.client import environment, events
from qgis_plugin.client.http import Client
from qgis_plugin.client.schema import BackendError, JobInfo, JobRequest, TileEvent, parse
from qgis_plugin.client.supervisor import READY, STOPPED, Supervisor
from qgis_plugin.run import Mapping


def gone(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return True
    return False


def started(supervisor):
    supervisor.start()
    wait(lambda: supervisor.state == READY)
    return supervisor


def test_start_and_stop(supervisor):
    s = started(supervisor())
    pid = s.pid
    assert s.client.info().device == "cpu" and s.client.models()[0].name == "fake-rooftop"
    assert s.version == "0.1.0" and "stand-in starts" in s.log_tail()
    before = time.monotonic()
    s.stop()
    assert gone(pid) and time.monotonic() - before < 4 and s.client is None
    started(s)
    assert s.pid != pid


def test_start_never_blocks_the_gui(supervisor):
    s = supervisor("mute")
    before = time.monotonic()
    s.start()
    assert time.monotonic() - before < 2


def test_the_pipe_is_not_inherited_by_other_children(supervisor):
    s = started(supervisor())
    assert not os.get_inheritable(s._process.stdin.fileno())


def test_the_token_is_in_the_environment_only(supervisor):
    s = started(supervisor())
    assert s._token not in Path(f"/proc/{s.pid}/cmdline").read_text()
    with pytest.raises(BackendError) as caught:
        Client(s.client.port, "another token").info()
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("fail_start", "model's folder is damaged"),
        ("no_greeting", "did not greet but said: Hello from another program"),
        ("mute", "did not answer within 1 seconds"),
        ("crash_start", "did not start (exit code 3)"),
    ],
)
def test_bad_starts_are_told(supervisor, mode, words):
    s = supervisor(mode, timeout=1 if mode == "mute" else 120)
    failed = QSignalSpy(s.failed)
    s.start()
    pid = s.pid
    wait(lambda: len(failed) == 1)
    assert words in failed[0][0] and s.state == STOPPED
    if mode == "crash_start":
        assert "no torch here" in failed[0][1]
    wait(lambda: gone(pid))


def test_python_that_is_none(tmp_path):
    s = Supervisor(lambda: environment.Launch([str(tmp_path / "python"), "x"], {}))
    failed = QSignalSpy(s.failed)
    s.start()
    assert len(failed) == 1 and "could not be started" in failed[0][0]


def test_death_is_noticed(supervisor):
    s = started(supervisor())
    died = QSignalSpy(s.died)
    os.kill(s.pid, 9)
    wait(lambda: len(died) == 1, 5)
    assert "killed, perhaps" in died[0][0] and s.state == STOPPED


def test_silence_counts_as_broken(supervisor, raster, tmp_path):
    s = started(supervisor("silent"))
    job = s.client.submit(JobRequest(raster, "fake-rooftop", str(tmp_path / "m.tif")))
    reader = events.EventReader(s.client, job.id, silence_s=0.5)
    broken, tiles, states = QSignalSpy(reader.broken), QSignalSpy(reader.tile), QSignalSpy(reader.state)
    reader.start()
    wait(lambda: states and states[-1][0].state == "finished", 60)
    assert len(broken) >= 1
    numbers = [row[0].n for row in tiles]
    assert numbers == sorted(set(numbers)) and len(numbers) == 20  # taken up where it broke: none twice, none lost


def test_reader_stops_at_once_and_says_no_more(supervisor, raster, tmp_path):
    s = started(supervisor("slow"))
    job = s.client.submit(JobRequest(raster, "fake-rooftop", str(tmp_path / "m.tif")))
    reader = events.EventReader(s.client, job.id)
    tiles = QSignalSpy(reader.tile)
    reader.start()
    wait(lambda: len(tiles) >= 1)
    before, count = time.monotonic(), len(tiles)
    reader.stop()
    assert time.monotonic() - before < 1 and not reader._thread.is_alive()
    time.sleep(0.5)
    assert len(tiles) <= count + 1


def test_tile_pictures_come_with_the_events(supervisor, raster, tmp_path):
    s = started(supervisor())
    run = Mapping(s.client, JobRequest(raster, "fake-rooftop", str(tmp_path / "m.tif")), "r", None)
    tiles, finished = QSignalSpy(run.tile), QSignalSpy(run.finished)
    run.start()
    wait(lambda: len(finished) == 1)
    assert all(image.width() == 64 and image.height() == 64 for _, image in tiles)
    run.drop()


def test_parse_refuses_what_does_not_fit():
    for kind, data in ((TileEvent, {}), (TileEvent, []), (JobInfo, {"id": "x", "state": "queued", "request": 3})):
        with pytest.raises(BackendError) as caught:
            parse(kind, data)
        assert caught.value.code == "protocol"


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

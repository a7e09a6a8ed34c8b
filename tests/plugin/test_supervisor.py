"""The backend's process: starting, dying, misbehaving, ending."""

import os
import time
from pathlib import Path

import pytest
from fixtures import gone, started, wait
from qgis.PyQt.QtTest import QSignalSpy
from qgis_plugin.client import environment
from qgis_plugin.client.http import Client
from qgis_plugin.client.schema import BackendError
from qgis_plugin.client.supervisor import STOPPED, Supervisor


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
        Client(s.client.base_url, "another token").info()
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

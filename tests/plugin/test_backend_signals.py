"""The backend's news as they reach the GUI thread."""

import os

from fixtures import gone, until, wait
from qgis.PyQt.QtTest import QSignalSpy, QTest
from qgis_plugin.client import environment
from qgis_plugin.client.supervisor import READY, STOPPED, Supervisor
from qgis_plugin.signals.backend import BackendSignals


class Heard:
    """What a supervisor's signals said, in their order."""

    def __init__(self, supervisor):
        self.said = []
        self.signals = BackendSignals(supervisor)
        self.signals.changed.connect(lambda state: self.said.append(state))
        self.signals.ready.connect(lambda: self.said.append("is ready"))
        self.signals.failed.connect(lambda sentence, details: self.said.append(("failed", sentence)))
        self.signals.died.connect(lambda sentence, details: self.said.append(("died", sentence)))


def test_life_of_a_backend(qgis_app, supervisor):
    s = supervisor()
    heard = Heard(s)
    s.start()
    assert heard.said == []  # nothing is told from within a call
    wait(lambda: len(heard.said) == 3)
    s.stop()
    wait(lambda: len(heard.said) == 4)
    assert heard.said == ["starting", "ready", "is ready", "stopped"]


def test_backend_that_runs_already_is_told(qgis_app, supervisor):
    s = supervisor()
    s.wait_ready()
    heard = Heard(s)
    wait(lambda: len(heard.said) == 2)
    assert heard.said == ["ready", "is ready"]


def test_death_is_told_after_the_state(qgis_app, supervisor):
    s = supervisor()
    s.wait_ready()
    heard = Heard(s)
    os.kill(s.pid, 9)
    wait(lambda: len(heard.said) == 4, 5)
    assert heard.said[2] == "stopped" and heard.said[3][0] == "died" and "killed, perhaps" in heard.said[3][1]


def test_missing_backend_is_told_at_a_start(qgis_app, tmp_path):
    def launch():
        raise environment.BackendMissing("Set it up.")

    heard = Heard(supervisor := Supervisor(launch, tmp_path))
    supervisor.start()
    wait(lambda: heard.said)
    assert heard.said == [("failed", "Set it up.")]


def test_what_happened_before_a_stop_is_not_told_after_it(qgis_app, supervisor):
    s = supervisor()
    s.wait_ready()
    heard = Heard(s)
    pid = s.pid
    os.kill(pid, 9)
    until(lambda: s.state == STOPPED)  # the news wait for the event loop
    s.stop()
    QTest.qWait(100)
    assert gone(pid) and heard.said == []


def test_death_is_told_also_where_somebody_has_started_anew(qgis_app, supervisor):
    s = supervisor()
    s.wait_ready()
    heard = Heard(s)
    os.kill(s.pid, 9)
    until(lambda: s.state == STOPPED)
    s.wait_ready()
    wait(lambda: heard.said[-1:] == ["is ready"] and len(heard.said) > 3)
    assert [item if isinstance(item, str) else item[0] for item in heard.said] == [
        *("ready", "is ready", "stopped", "died", "starting", "ready", "is ready")
    ]


def test_closed_signals_are_silent(qgis_app, supervisor):
    s = supervisor()
    signals = BackendSignals(s)
    changed = QSignalSpy(signals.changed)
    signals.close()
    s.wait_ready()
    QTest.qWait(50)
    assert s.state == READY and len(changed) == 0

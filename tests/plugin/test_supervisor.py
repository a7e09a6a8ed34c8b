"""The backend's process: starting, dying, misbehaving, ending, with no event loop at work."""

import os
import threading
import time
from pathlib import Path

import pytest
from fixtures import gone, until
from qgis_plugin.client.http import Client
from qgis_plugin.client.schema import BackendError
from qgis_plugin.client.supervisor import DIED, NOT_STARTED, READY, STARTING, STOPPED, Launch, Supervisor


def test_start_and_stop(supervisor):
    s = supervisor()
    client = s.wait_ready()
    pid = s.pid
    assert client is s.client and s.state == READY
    assert client.info().device == "cpu" and client.models()[0].name == "fake-rooftop"
    assert s.version == "0.1.0" and "stand-in starts" in s.log_tail()
    before = time.monotonic()
    s.stop()
    assert gone(pid) and time.monotonic() - before < 4 and s.client is None
    s.wait_ready()
    assert s.pid != pid


def test_start_never_blocks(supervisor):
    s = supervisor("mute")
    before = time.monotonic()
    s.start()
    assert time.monotonic() - before < 2 and s.state == STARTING


def test_several_threads_get_one_backend(supervisor):
    s = supervisor()
    clients = []
    threads = [threading.Thread(target=lambda: clients.append(s.wait_ready())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(clients) == 4 and len(set(map(id, clients))) == 1


def test_the_pipe_is_not_inherited_by_other_children(supervisor):
    s = supervisor()
    s.wait_ready()
    assert not os.get_inheritable(s._process.stdin.fileno())


def test_the_token_is_in_the_environment_only(supervisor):
    s = supervisor()
    client = s.wait_ready()
    assert client._token not in Path(f"/proc/{s.pid}/cmdline").read_text()
    with pytest.raises(BackendError) as caught:
        Client(client.base_url, "another token").info()
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("fail_start", "model's folder is damaged"),
        ("no_greeting", "did not greet but said: Hello from another program"),
        ("mute", "did not answer within 1 seconds"),
        ("crash_start", r"did not start \(exit code 3\)"),
    ],
)
def test_bad_starts_are_told(supervisor, mode, words):
    s = supervisor(mode, timeout=1 if mode == "mute" else 120)
    news = []
    s.listen(news.append)
    s.start()
    pid = s.pid
    with pytest.raises(BackendError, match=words) as caught:
        s.wait_ready()
    assert caught.value.code == NOT_STARTED
    assert [item.state for item in news][:2] == [STARTING, STOPPED] and news[1].error.code == NOT_STARTED
    if mode == "crash_start":
        assert "no torch here" in news[1].details
    until(lambda: gone(pid))


def test_python_that_is_none(tmp_path):
    s = Supervisor(lambda: Launch([str(tmp_path / "python"), "x"], {}), tmp_path)
    with pytest.raises(BackendError, match="could not be started"):
        s.wait_ready()
    assert s.state == STOPPED


def test_sentences_are_translated(tmp_path):
    s = Supervisor(
        lambda: Launch([str(tmp_path / "python"), "x"], {}), tmp_path, translate=lambda text: "Denn: " + text
    )
    with pytest.raises(BackendError, match="Denn: The backend could not be started"):
        s.wait_ready()


def test_death_is_noticed(supervisor):
    s = supervisor()
    s.wait_ready()
    news = []
    s.listen(news.append)
    os.kill(s.pid, 9)
    until(lambda: s.state == STOPPED, 5)
    assert news[0].state == READY  # how things stood
    assert news[1].error.code == DIED and "killed, perhaps" in news[1].error.message


def test_waiting_ends_with_a_stop_and_with_a_timeout(supervisor):
    s = supervisor("mute")
    with pytest.raises(BackendError, match="not up after") as caught:
        s.wait_ready(0.2)
    assert caught.value.code == "starting" and s.state == STARTING
    threading.Timer(0.3, s.stop).start()
    with pytest.raises(BackendError, match="was stopped"):
        s.wait_ready()


def test_news_of_an_old_process_are_ignored(supervisor):
    s = supervisor()
    s.wait_ready()
    old = s._process
    s.stop(wait=False)
    s.wait_ready()
    news = []
    s.listen(news.append)
    s._ended(old, 1)
    s._too_late(old)
    s._greeted(old, "token", b'{"port": 1, "version": "old"}')
    until(lambda: gone(old.pid))
    assert s.state == READY and s.version == "0.1.0" and [item.state for item in news] == [READY]


def test_log_goes_on_and_the_backend_knows_its_path(supervisor, tmp_path):
    s = supervisor()
    for _ in range(2):
        s.wait_ready()
        variables = Path(f"/proc/{s.pid}/environ").read_bytes().split(b"\0")
        assert f"ROTACUBE_LOG={s.log_path}".encode() in variables
        s.stop()
    assert s.log_path.read_text().count("stand-in starts") == 2
    s.wait_ready()
    os.truncate(s.log_path, 0)  # what the backend does once it has copied the log
    with pytest.raises(BackendError):
        s.client.job("none")
    assert s.log_path.read_bytes()[:1] not in (b"", b"\0")


def test_old_logs_are_forgotten(supervisor, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("backend-1.log", "backend-1.log.1", "backend-2.log.3", "other.log"):
        (folder / name).write_text("old")
        os.utime(folder / name, (0, 0))
    (folder / "backend-3.log.1").write_text("new")
    s = supervisor()
    s.wait_ready()
    assert {path.name for path in folder.iterdir()} == {"other.log", "backend-3.log.1", s.log_path.name}

"""The log does not grow without end, and loses nothing that another writes into the same file."""

from __future__ import annotations

import logging
import os

import pytest

from rotacube.server import log as server_log


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Starts the log in a file; afterwards the loggers are as they were."""
    path = tmp_path / "backend-1.log"
    monkeypatch.setenv("ROTACUBE_LOG", str(path))
    monkeypatch.setattr(server_log, "LARGEST", 2000)
    loggers = [logging.getLogger(name) for name in ("rotacube", *server_log.LIBRARIES)]
    before = [(logger.level, logger.handlers, logger.propagate) for logger in loggers]
    handler = server_log.start_log()
    yield path, handler
    handler.close()
    logging.captureWarnings(False)
    for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
        logger.level, logger.handlers, logger.propagate = level, handlers, propagate


def test_a_full_log_is_put_aside_and_the_last_words_of_a_crash_stay(log):
    path, _ = log
    stderr = os.open(path, os.O_WRONLY | os.O_APPEND)  # as the plugin hands it over
    try:
        for number in range(100):
            logging.getLogger("rotacube.test").info("line %d %s", number, "x" * 40)
            os.write(stderr, b"a library: %d\n" % number)
    finally:
        os.close(stderr)
    files = sorted(path.parent.iterdir())
    assert [f.name for f in files] == ["backend-1.log", "backend-1.log.1", "backend-1.log.2", "backend-1.log.3"]
    texts = [f.read_text() for f in files]
    assert all(len(text) < 2200 and "\0" not in text for text in texts)
    assert texts[0].endswith("a library: 99\n")
    whole = "".join(reversed(texts))
    numbers = [int(line.split(" ")[-1]) for line in whole.splitlines() if line.startswith("a library")]
    assert numbers == list(range(numbers[0], 100)), "nothing is lost on the way"


def test_a_log_that_cannot_be_written_does_not_keep_the_server_from_starting(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ROTACUBE_LOG", str(tmp_path / "no" / "a.log"))
    loggers = [logging.getLogger(name) for name in ("rotacube", *server_log.LIBRARIES)]
    before = [(logger.level, logger.handlers, logger.propagate) for logger in loggers]
    assert type(server_log.start_log()) is logging.StreamHandler
    assert "cannot be written" in capsys.readouterr().err
    logging.captureWarnings(False)
    for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
        logger.level, logger.handlers, logger.propagate = level, handlers, propagate


def test_what_strangers_make_a_library_say_is_told_a_few_times_a_minute_and_counted(tmp_path, monkeypatch):
    path = tmp_path / "backend.log"
    monkeypatch.setenv("ROTACUBE_LOG", str(path))
    now = [0.0]
    monkeypatch.setattr(server_log.time, "monotonic", lambda: now[0])
    names = ("rotacube", *server_log.LIBRARIES)
    before = [(logger.level, logger.handlers, logger.propagate) for logger in map(logging.getLogger, names)]
    handler = server_log.start_log()
    try:
        for _ in range(1000):
            logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
            logging.getLogger("asyncio").error("socket.accept() out of system resource")
        for number in range(50):
            logging.getLogger("rotacube.server").warning("ours, %d", number)
        now[0] = 61.0
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    finally:
        handler.close()
        logging.captureWarnings(False)
        for name, (level, handlers, propagate) in zip(names, before, strict=True):
            logger = logging.getLogger(name)
            logger.level, logger.handlers, logger.propagate = level, handlers, propagate
    lines = path.read_text().splitlines()
    assert sum("socket.accept" in line for line in lines) == server_log.OFTEN
    assert sum("Invalid" in line for line in lines) == server_log.OFTEN + 1
    assert sum("ours" in line for line in lines) == 50
    assert lines[-1].endswith(f"received. ({1000 - server_log.OFTEN} more were left out before)")

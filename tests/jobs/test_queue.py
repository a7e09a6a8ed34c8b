"""What is kept of a job, and for how long; the rest of a job's life is tested through the server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rotacube.errors import PreviewMissing
from rotacube.inference.run import MapRequest, Product, Tile
from rotacube.jobs import queue
from rotacube.jobs.queue import Job
from rotacube.raster.grid import Box

REQUEST = MapRequest("a.tif", "tiny", (Product("mask", Path("mask.tif")),))


def a_tile(n, labels):
    corners = [(0.0, 0.0), (1.0, 0.0), (1.0, -1.0), (0.0, -1.0)]
    return Tile(n, n + 1, 10, None, Box(0, 0, 4, 4), corners, "EPSG:32645", labels, {})


def test_previews_are_kept_within_bounds(make_card, monkeypatch):
    monkeypatch.setattr(queue, "PREVIEWS", 2)
    job = Job(REQUEST)
    for n in range(3):
        job.add_tile(a_tile(n, np.ones((4, 4), np.uint8)), make_card().classes)
    job.add_tile(a_tile(3, None), make_card().classes)
    assert job.preview(1)[:4] == job.preview(2)[:4] == b"\x89PNG"
    for n in (0, 3, 9):
        with pytest.raises(PreviewMissing):
            job.preview(n)
    previews = [event.data.preview for event in job.events_after(1)[0]]
    assert previews == [True, True, True, False]


def test_a_late_listener_of_a_long_job_is_told_how_it_stood_before_the_latest_events(make_card, monkeypatch):
    monkeypatch.setattr(queue, "EVENTS", 5)
    job = Job(REQUEST)
    job.update(state="running")
    for n in range(20):
        job.add_tile(a_tile(n, None), make_card().classes)
    events, ended = job.events_after(0)
    assert [event.number for event in events] == [17, 18, 19, 20, 21, 22] and not ended
    assert (events[0].data.state, events[0].data.tiles_done) == ("running", 15)
    assert [event.data.tile.done for event in events[1:]] == [16, 17, 18, 19, 20]
    assert [event.number for event in job.events_after(17)[0]] == [18, 19, 20, 21, 22], "as if it had seen all"
    assert [event.number for event in job.events_after(20)[0]] == [21, 22]
    assert job.events_after(22) == ([], False)
    assert job.events_after(23) == job.events_after(0), "none of that number: it was another server's"


def test_who_comes_after_the_end_is_told_the_end_whatever_was_seen(make_card):
    job = Job(REQUEST)
    job.add_tile(a_tile(0, None), make_card().classes)
    job.update(state="failed", error=queue.Failure("x", "So it is."))
    job.add_tile(a_tile(1, None), make_card().classes)
    for known in (0, 1, 2, 3, 4, 10**18):
        events, ended = job.events_after(known)
        assert ended and events[-1].number == 3 and events[-1].data.error.message == "So it is."
    assert len(job.events_after(0)[0]) == len(job.events_after(10**18)[0]) == 3


def test_a_watcher_is_called_with_each_event_until_it_goes():
    job, told = Job(REQUEST), []
    with job.watched(lambda: told.append(job.now.state)):
        job.update(state="running")
        job.update(state="finished")
    job.cancel()
    assert told == ["running", "finished"]

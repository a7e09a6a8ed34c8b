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
    previews = [event.data.preview for event in job.events_after(1, 0)[0]]
    assert previews == [True, True, True, False]


def test_a_late_listener_of_a_long_job_gets_the_latest_events(make_card, monkeypatch):
    monkeypatch.setattr(queue, "EVENTS", 5)
    job = Job(REQUEST)
    for n in range(20):
        job.add_tile(a_tile(n, None), make_card().classes)
    numbers = [event.number for event in job.events_after(0, 0)[0]]
    assert numbers == [17, 18, 19, 20, 21]
    assert [event.number for event in job.events_after(19, 0)[0]] == [20, 21]

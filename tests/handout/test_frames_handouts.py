"""What is handed on of a map of drone frames, where that is cancelled: the map is there, and that is said."""

from __future__ import annotations

import numpy as np
import pytest

from rotacube.errors import JobCancelled
from rotacube.handout.frames import KMZ, REPORT, hand_out
from rotacube.inference.frames_request import FramesRequest


@pytest.fixture
def request_of(tmp_path, write_raster):
    """The request of a map that is there: its mask and its photo."""
    request = FramesRequest(tmp_path / "flight", tmp_path / "out", "tiny")
    request.output.mkdir()
    write_raster(request.path("mask"), np.eye(300, dtype=np.uint8)[None])
    write_raster(request.path("rgb"), np.full((3, 300, 300), 90, np.uint8))
    return request


def test_cancelled_at_once_nothing_is_made_of_the_map_which_stays(request_of):
    with pytest.raises(JobCancelled, match=r"the map is in '.*out', without map.kmz and report.pdf"):
        hand_out(request_of, [REPORT, KMZ], cancelled=lambda: True)
    assert {path.name for path in request_of.output.iterdir()} == {"mask.tif", "rgb.tif"}


def test_cancelled_in_the_report_the_overlay_is_there(request_of):
    said = []

    def step(what, share):
        said.append((what, share))

    with pytest.raises(JobCancelled, match=r"the map is in '.*out', without report.pdf"):
        hand_out(request_of, [KMZ, REPORT], on_step=step, cancelled=lambda: (request_of.output / KMZ).is_file())
    assert said and {path.name for path in request_of.output.iterdir()} == {"mask.tif", "rgb.tif", "map.kmz"}

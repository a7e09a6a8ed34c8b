"""One run, from its request to its last event."""

from fixtures import started, wait
from qgis.PyQt.QtTest import QSignalSpy
from qgis_plugin.client.schema import JobRequest
from qgis_plugin.run import Mapping


def test_tile_pictures_come_with_the_events(supervisor, raster, tmp_path):
    s = started(supervisor())
    run = Mapping(s.client, JobRequest(raster, "fake-rooftop", str(tmp_path / "m.tif")), "r", None)
    tiles, finished = QSignalSpy(run.tile), QSignalSpy(run.finished)
    run.start()
    wait(lambda: len(finished) == 1)
    assert all(image.width() == 64 and image.height() == 64 for _, image in tiles)
    run.drop()

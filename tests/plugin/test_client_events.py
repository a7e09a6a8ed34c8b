"""A job's events on their way from the backend to whoever follows the job."""

import time

from fixtures import started, wait
from qgis.PyQt.QtTest import QSignalSpy
from qgis_plugin.client import events
from qgis_plugin.client.schema import JobRequest


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

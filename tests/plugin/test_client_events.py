"""A job's events on their way from the backend to whoever follows the job."""

import io
import json
import time
from types import SimpleNamespace

from fixtures import started, wait
from qgis_plugin.client.events import EventReader
from qgis_plugin.client.schema import JobRequest, ProductRequest


class Heard:
    """A reader that keeps what it hears."""

    def __init__(self, client, job, **more):
        self.states, self.tiles, self.attempts, self.errors = [], [], [], []
        self.reader = EventReader(
            client,
            job,
            on_state=self.states.append,
            on_tile=lambda event, picture: self.tiles.append((event, picture)),
            on_broken=self.attempts.append,
            on_lost=self.errors.append,
            **more,
        )
        self.reader.start()

    def numbers(self):
        return [event.n for event, _ in self.tiles]


def submitted(supervisor, raster, tmp_path):
    return supervisor.client.submit(JobRequest(raster, "fake-rooftop", [ProductRequest(str(tmp_path / "m.tif"))])).id


def test_events_and_pictures_come_in_order(supervisor, raster, tmp_path):
    s = started(supervisor())
    heard = Heard(s.client, submitted(s, raster, tmp_path))
    wait(lambda: heard.states and heard.states[-1].state == "finished")
    assert heard.numbers() == list(range(20)) and not heard.attempts and not heard.errors
    assert all(picture.startswith(b"\x89PNG") for _, picture in heard.tiles)


def test_silence_counts_as_broken(supervisor, raster, tmp_path):
    s = started(supervisor("silent"))
    heard = Heard(s.client, submitted(s, raster, tmp_path), silence_s=0.5)
    wait(lambda: heard.states and heard.states[-1].state == "finished")
    assert len(heard.attempts) >= 1
    assert heard.numbers() == list(range(20))  # taken up where it broke: none twice, none lost


class CutOff:
    """A client whose first stream ends in the middle of the second event."""

    def __init__(self):
        self.asked = []
        request = JobRequest("a.tif", "m", [ProductRequest("m.tif")]).to_json()
        jobs = [{"id": "j", "request": request, "state": state} for state in ("queued", "running", "cancelled")]
        events = [f"id: {n}\nevent: state\ndata: {json.dumps(job)}\n\n" for n, job in enumerate(jobs, 1)]
        self._texts = [events[0] + events[1][:-2], events[1] + events[2]]

    def open_events(self, job, last_id, silence_s):
        self.asked.append(last_id)
        return SimpleNamespace(sock=None, close=lambda: None), io.BytesIO(self._texts.pop(0).encode())


def test_an_event_that_was_cut_off_is_asked_for_again():
    client = CutOff()
    heard = Heard(client, "j")
    wait(lambda: len(heard.states) == 3)
    assert client.asked == [None, "1"] and heard.states[-1].state == "cancelled" and not heard.errors


def test_reader_stops_at_once_and_says_no_more(supervisor, raster, tmp_path):
    s = started(supervisor("slow"))
    heard = Heard(s.client, submitted(s, raster, tmp_path))
    wait(lambda: len(heard.tiles) >= 1)
    before = time.monotonic()
    heard.reader.stop()
    count = len(heard.tiles)
    assert time.monotonic() - before < 1 and not heard.reader._thread.is_alive()
    time.sleep(0.5)
    assert len(heard.tiles) == count


def test_backend_that_ends_is_told(supervisor, raster, tmp_path, monkeypatch):
    monkeypatch.setattr("qgis_plugin.client.events.RETRIES", 1)
    s = started(supervisor("die"))
    heard = Heard(s.client, submitted(s, raster, tmp_path))
    wait(lambda: heard.errors)
    assert heard.errors[0].code in ("interrupted", "unreachable") and heard.attempts == [1]

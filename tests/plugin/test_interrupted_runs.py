"""Runs that ended with an earlier backend are offered, and gone on with or dropped."""

import dataclasses
import json
import os

from fixtures import make_raster, wait
from qgis.core import QgsProject
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QPushButton
from qgis_plugin.client.schema import JobRequest, ProductRequest


def left(raster, output, **more):
    return dataclasses.asdict(JobRequest(raster, "fake-rooftop", [ProductRequest(str(output))], **more))


def buttons(d):
    found = [d.iface.bar.findChildren(QPushButton, f"rotacubeMessage{name}") for name in ("Button", "Other")]
    return [button[-1] if button else None for button in found]


def offered(d):
    return [text for text in d.iface.messages() if "was interrupted at" in text]


def test_a_run_is_offered_and_resumed_as_any_other(desk, tmp_path, sent):
    raster = make_raster(tmp_path / "town.tif")
    d = desk("slow", FAKE_LEFT=json.dumps([left(raster, tmp_path / "of_town.tif")]))
    wait(lambda: offered(d))
    assert offered(d) == ["A run of town.tif was interrupted at 43.0 %."]
    resume, discard = buttons(d)
    assert (resume.text(), discard.text()) == ("Resume", "Discard")
    d.click(resume)
    wait(lambda: d.controller.live is not None and d.controller.live.count() >= 2)
    assert d.controller.busy and d.dock.run_button.text() == "Q&ueue" and not offered(d)
    d.until_idle(30)
    wait(lambda: len(d.added) == 1)
    (mask,) = d.masks()
    assert mask.source() == str(tmp_path / "of_town.tif") and "town" in mask.metadata().title()
    QTest.qWait(300)
    assert sent == [] and not offered(d), "it was not asked for anew"


def test_runs_are_offered_one_after_the_other_and_dropped(desk, tmp_path):
    raster = make_raster(tmp_path / "town.tif")
    requests = [left(raster, tmp_path / "1.tif"), left("/maps/field.tif", tmp_path / "2.tif")]
    d = desk(FAKE_LEFT=json.dumps(requests))
    wait(lambda: offered(d))
    assert len(offered(d)) == 1 and "town.tif" in offered(d)[0]
    d.click(buttons(d)[1])
    wait(lambda: offered(d) and "field.tif" in offered(d)[0])
    d.click(buttons(d)[1])
    wait(lambda: d.supervisor.client.interrupted() == [])
    QTest.qWait(300)
    assert not offered(d) and not d.controller.busy


def test_nothing_is_offered_in_mid_run_but_after_it(desk, tmp_path):
    raster = make_raster(tmp_path / "town.tif")
    d = desk("slow", FAKE_LEFT=json.dumps([left(raster, tmp_path / "1.tif")]))
    d.run()  # before the backend is up
    wait(lambda: d.controller.live is not None and d.controller.live.count() >= 2)
    assert not offered(d)
    d.click(d.dock.cancel_button)
    d.until_idle()
    wait(lambda: offered(d))
    d.run()
    wait(lambda: d.controller.live is not None and d.controller.live.count() >= 2)
    assert not offered(d)
    d.click(d.dock.cancel_button)
    d.until_idle()
    wait(lambda: offered(d))


def test_what_cannot_be_resumed_says_why(desk, tmp_path):
    requests = [left(str(tmp_path / "gone.tif"), tmp_path / "1.tif"), {**left("a.tif", "b.tif"), "model": "old"}]
    d = desk(FAKE_LEFT=json.dumps(requests))
    wait(lambda: offered(d))
    d.click(buttons(d)[0])
    wait(lambda: any("gone.tif" in text and "was interrupted" not in text for text in d.iface.messages()))
    assert not d.controller.busy and not d.masks()
    wait(lambda: offered(d))
    d.click(buttons(d)[0])
    wait(lambda: any("“old”" in text for text in d.iface.messages()))
    assert not d.controller.busy


def test_a_backend_that_dies_in_mid_run_is_started_from_the_message(desk):
    d = desk("slow")
    d.ready()
    d.run()
    wait(lambda: d.controller.live is not None and d.controller.live.count() >= 1)
    os.kill(d.supervisor.pid, 9)
    d.until_idle(10)
    wait(lambda: buttons(d)[0] is not None)
    assert buttons(d)[0].text() == "Start the backend"
    d.click(buttons(d)[0])
    wait(lambda: d.supervisor.state == "ready")
    QgsProject.instance().clear()

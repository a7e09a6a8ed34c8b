"""Finished runs are listed after a restart: opened, found in their folder, forgotten; whatever the file has become."""

import json

import pytest
from fixtures import MODEL, Desk, wait
from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QDate, QLocale, Qt
from qgis.PyQt.QtGui import QDesktopServices
from qgis.PyQt.QtTest import QTest
from qgis_plugin import history
from qgis_plugin.client.schema import ClassArea, JobRequest, JobResult, Product, ProductRequest
from qgis_plugin.gui.jobs_view import FOLDER, LEFT, MESSAGE, OPEN, PAST, REMOVE, JobsView, Row
from qgis_plugin.history import KEPT, History
from qgis_plugin.i18n import locale
from qgis_plugin.layers import further
from qgis_plugin.layers.results import Finished
from test_jobs import choose, do, listed, offered


def finished(path, name="ortho"):
    request = JobRequest("/r.tif", MODEL.name, [ProductRequest(str(path))])
    areas = [ClassArea(0, "background", "#000000", 9, 90.0, 0.9), ClassArea(1, "building", "#aa0000", 1, 10.0, 0.1)]
    product = Product("mask", "cog", str(path), "x")
    return Finished(name, request, JobResult([product], 5, 2, (0.3, 0.3), areas, 0, 1.5, "cpu", []), MODEL)


@pytest.fixture
def again(iface, supervisor, tmp_path):
    """Gives desks one after the other, as QGIS that is started again."""
    made = []

    def close():
        for d in made:
            d.controller.close()
            d.supervisor.stop()
            iface.window.removeDockWidget(d.dock)
            d.dock.deleteLater()
        made.clear()
        QgsProject.instance().clear()

    def make():
        close()
        made.append(Desk(iface, supervisor(), tmp_path))
        return made[-1]

    yield make
    close()


def test_what_is_kept_is_what_was_run(tmp_path):
    history = History(tmp_path / "new" / "folder")
    assert history.load() == []
    first = history.add(finished(tmp_path / "a.tif"))
    (tmp_path / "b.tif").touch()
    second = history.add(finished(tmp_path / "b.tif", "Äcker"))
    runs = History(tmp_path / "new" / "folder").load()
    assert [(run.id, run.finished.source_name, run.there) for run in runs] == [
        (second, "Äcker", True),
        (first, "ortho", False),
    ]
    assert runs[1].finished == finished(tmp_path / "a.tif")
    third = history.add(finished(tmp_path / "a.tif", "again"))
    assert [run.id for run in history.load()] == [third, second]  # one run a file
    history.remove(third)
    assert [run.id for run in history.load()] == [second]
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["history.json"]


def test_the_oldest_go(tmp_path):
    history = History(tmp_path)
    for n in range(KEPT + 3):
        history.add(finished(tmp_path / f"{n}.tif"))
    runs = history.load()
    assert len(runs) == KEPT and runs[0].finished.mask.path.endswith(f"{KEPT + 2}.tif")


def test_damage_is_passed_over(tmp_path):
    history, file = History(tmp_path), tmp_path / "history.json"
    for n in range(2):
        history.add(finished(tmp_path / f"{n}.tif"))
    entries = json.loads(file.read_text())
    for harm in (
        lambda e: e.pop("model"),
        lambda e: e.update(when="yesterday"),
        lambda e: e["result"].update(products=[]),
        lambda e: e["result"]["classes"][1].update(area_m2="much"),
        lambda e: e["model"].pop("title"),
        lambda e: e.update(request=7),
    ):
        broken = json.loads(json.dumps(entries))
        harm(broken[0])
        file.write_text(json.dumps([3, None, *broken]))
        assert [run.id for run in history.load()] == [entries[1]["id"]]
    for text in ("", '[{"id": ', '{"a": 1}', "null"):
        file.write_text(text)
        assert history.load() == []
    file.write_bytes(b"\xff\xfe\x00")
    assert history.load() == []
    history.add(finished(tmp_path / "2.tif"))
    assert len(history.load()) == 1


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path):
    (tmp_path / "file").touch()
    history = History(tmp_path / "file")
    history.add(finished(tmp_path / "a.tif"))
    history.remove("x")
    assert history.load() == []


def test_runs_are_there_after_a_restart(again, tmp_path, monkeypatch):
    d = again()
    d.ready()
    d.dock.further.boxes[further.POLYGONS].setChecked(True)
    for name in ("first", "second"):
        wait(d.dock.run_button.isEnabled)
        d.type_output(tmp_path / f"{name}.tif")
        d.run()
        d.until_idle()
    (tmp_path / "first.tif").unlink()
    d = again()
    wait(lambda: len(listed(d)) == 2)
    assert [name for name, _ in listed(d)] == ["ortho · 0.365 ha · Rooftops (stand-in)"] * 2
    assert listed(d)[0][1] == locale().toString(QDate.currentDate(), QLocale.FormatType.ShortFormat)
    assert listed(d)[1][1] == "files are gone"
    choose(d, 1)
    assert offered(d) == [MESSAGE, REMOVE]
    do(d, MESSAGE)
    assert d.iface.messages()[0].startswith("The files are gone.")
    choose(d, 0)
    assert offered(d) == [OPEN, FOLDER, MESSAGE, REMOVE] and not d.masks()
    asked = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: asked.append(url.toLocalFile()))
    do(d, FOLDER)
    assert asked == [str(tmp_path)]
    QTest.keyClick(d.dock.jobs.list, Qt.Key.Key_Return)
    wait(lambda: len(d.masks()) == 1)
    assert d.masks()[0].name() == "second" and d.dock.result.isVisible()
    group = QgsProject.instance().layerTreeRoot().findGroup("Rotacube")
    assert len(group.findLayers()) == 2 and isinstance(d.masks()[0], QgsRasterLayer)  # the polygons come with it
    choose(d, 1)
    do(d, REMOVE)
    assert len(listed(d)) == 1 and (tmp_path / "second.tif").exists()
    d = again()
    wait(lambda: len(listed(d)) == 1)
    d.ready()
    d.type_output(tmp_path / "second.tif")
    d.run()
    wait(lambda: d.iface.messages())
    assert "is there already" in d.iface.messages()[0]


def test_a_new_run_into_the_file_takes_the_place_of_the_old_one(again, tmp_path):
    History(history.in_profile()).add(finished(tmp_path / "mask.tif"))
    d = again()
    wait(lambda: len(listed(d)) == 1)
    d.ready()
    d.type_output(tmp_path / "mask.tif")
    d.run()
    d.until_idle()
    assert listed(d) == [("ortho → mask", "done in 00:13")]
    choose(d, 0)
    do(d, REMOVE)
    d = again()
    QTest.qWait(300)
    assert listed(d) == []


def test_ranks_order_the_list(qgis_app):
    view = JobsView()
    for key, rank in (("p1", PAST), ("n1", 0), ("p2", PAST), ("l1", LEFT), ("n2", 0), ("l2", LEFT)):
        view.show_row(key, Row(key, "", (), rank=rank))
    items = [view.list.topLevelItem(n).text(0) for n in range(6)]
    assert items == ["n2", "n1", "l1", "l2", "p1", "p2"] and view.current() == "n2"
    view.show_row("p1", Row("p1", "changed", (), rank=PAST))
    assert [view.list.topLevelItem(n).text(0) for n in range(6)] == items
    view.deleteLater()

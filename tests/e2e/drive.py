"""Runs inside QGIS (`qgis --code`): installs the plugin from its zip and uses it as a person would.

Long, since QGIS runs one file.

The environment variable ROTACUBE_PLAN names a JSON file:

    zip, raster, out        the plugin, the raster, the folder for mask, screenshots and result.json
    scenario                "map", "kill_backend", "unload", "refusals" (tries `cases`, each with name, raster, model
                            and output, one after the other), "close" (closes QGIS in mid-job and thinks better of it),
                            "hold" (stays in mid-job until it is killed), "roofs" (takes some by click),
                            "grid" (makes cells of the mask), or "teach" (from ten polygons, and maps with what came)
    model                   a model's name; the first one if absent
    area                    "layer" (default) or "canvas"
    set_up                  options for pip and the Python to build on: the backend is set up in the dock first
    during                  at which share of the tiles the screenshot is taken (default 0.6)
    patience                seconds that a step may take (default 600)

`out/result.json` is written at the end, `out/progress.json` in mid-job.
"""

import json
import os
import time
import traceback
from pathlib import Path

import processing
import pyplugin_installer
import qgis.utils
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSettings,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QPoint, Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QDockWidget, QMenu, QMessageBox, QPushButton
from qgis.utils import iface

try:  # Qt6 moved it
    from qgis.PyQt.QtGui import QAction
except ImportError:
    from qgis.PyQt.QtWidgets import QAction

PLAN = json.loads(Path(os.environ["ROTACUBE_PLAN"]).read_text())
OUT = Path(PLAN["out"])
NAME = "rotacube"


class Pulse:
    """How long the GUI's event loop ever stood still since the last look."""

    def __init__(self):
        self.longest = 0.0
        self._last = time.monotonic()
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(20)

    def _beat(self):
        now = time.monotonic()
        self.longest = max(self.longest, now - self._last)
        self._last = now

    def look(self):
        longest, self.longest = self.longest, 0.0
        return round(longest, 3)


class Driver:
    """The steps."""

    def __init__(self):
        self.pulse = Pulse()
        self.result = {"scenario": PLAN.get("scenario", "map"), "messages": [], "tiles": 0}
        self.patience = PLAN.get("patience", 600)

    def wait(self, condition, what, seconds=None):
        end = time.monotonic() + (seconds or self.patience)
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited in vain for {what}; messages: {self.messages()}")
            QTest.qWait(20)

    @property
    def plugin(self):
        return qgis.utils.plugins[NAME]

    def messages(self):
        return [item.toolTip() or item.text() for item in iface.messageBar().items()]

    def grab(self, name, settle_ms=250):
        if settle_ms:
            QTest.qWait(settle_ms)
        iface.mainWindow().grab().save(str(OUT / name))

    def prepare(self):
        window = iface.mainWindow()
        window.setGeometry(0, 0, 1400, 900)
        browser = window.findChild(QDockWidget, "Browser")
        if browser is not None:
            browser.hide()
        pyplugin_installer.instance().installFromZipFile(PLAN["zip"])
        assert NAME in qgis.utils.active_plugins, "the plugin was not installed"
        self.layer = QgsRasterLayer(PLAN["raster"], Path(PLAN["raster"]).stem)
        assert self.layer.isValid(), f"QGIS cannot open {PLAN['raster']}"
        QgsProject.instance().addMapLayer(self.layer)
        QTest.qWait(500)

    def open_dock(self):
        self.plugin.action.trigger()
        self.dock = self.plugin.dock
        iface.mainWindow().resizeDocks([self.dock], [370], Qt.Orientation.Horizontal)
        self.result["gap_while_starting_s"] = 0.0
        self.pulse.look()
        if PLAN.get("set_up"):
            self.set_up(**PLAN["set_up"])
        picker = self.dock.model_picker
        self.wait(lambda: picker.current() is not None or self.messages(), "the backend's models", 120)
        assert picker.current() is not None, self.messages()
        self.result["gap_while_starting_s"] = self.pulse.look()
        self.result["backend_pid"] = self.plugin.supervisor.pid
        if PLAN.get("model"):
            picker.choose(PLAN["model"])
        self.result["model"] = picker.current().name
        self.result["process"] = self.look_at_process(self.plugin.supervisor.pid)
        self.result["messages_when_ready"] = self.messages()
        self.result["keys"] = self.actions_of(self.plugin.roofs.action.shortcut())

    def actions_of(self, keys):
        """What these keys do in this window."""
        return [
            action.objectName() for action in iface.mainWindow().findChildren(QAction) if keys in action.shortcuts()
        ]

    def look_at_process(self, pid):
        """What the backend was started with, and which files it has mapped."""
        process = Path("/proc") / str(pid)
        return {
            "cwd": str((process / "cwd").readlink()),
            "command": (process / "cmdline").read_text().split("\0")[:-1],
            "environment": dict(each.split("=", 1) for each in (process / "environ").read_text().split("\0") if each),
            "files": sorted(
                {line.split(None, 5)[5] for line in (process / "maps").read_text().splitlines() if "/" in line}
            ),
            "model_folders": self.plugin.controller.info.model_folders,
        }

    def set_up(self, pip_options, base_python):
        """What a new user does, who has the zip and nothing else."""
        QgsSettings().setValue("rotacube/pip_options", pip_options)
        QgsSettings().setValue("rotacube/base_python", base_python)
        page = self.dock.setup_page
        self.wait(lambda: page.isVisible(), "the set-up's page", 30)
        self.result["messages_at_first"] = self.messages()
        self.grab("first.png")
        told, steps = [], []
        QTest.mouseClick(page.button, Qt.MouseButton.LeftButton)
        page.setup.progressed.connect(lambda progress: told.append([progress.step, page.amount.text()]))
        page.setup.progressed.connect(lambda progress: steps.append(progress.step))
        started = time.monotonic()
        self.wait(lambda: 4 in steps or not page.busy, "the installation")
        self.grab("installing.png", settle_ms=2500)
        self.wait(lambda: not page.busy, "the end of the set-up")
        self.grab("set_up.png", settle_ms=0)
        self.result.update(
            told=told,
            set_up_seconds=round(time.monotonic() - started, 1),
            set_up_error=page.error.text(),
            gap_while_setting_up_s=self.pulse.look(),
            messages_after_set_up=self.messages(),
        )
        iface.messageBar().clearWidgets()

    def fill_in(self):
        QTest.qWait(300)
        iface.setActiveLayer(self.layer)
        iface.zoomToActiveLayer()
        if self.result["scenario"] != "resume":
            iface.messageBar().clearWidgets()
        self.dock.layer_combo.setLayer(self.layer)
        if PLAN.get("area") == "canvas":
            iface.mapCanvas().zoomByFactor(0.5)
            QTest.mouseClick(self.dock.area.view, Qt.MouseButton.LeftButton, pos=self.dock.area.view.rect().center())
            self.dock.area.view.setChecked(True)
        QTest.keyClicks(self.dock.output.lineEdit(), str(OUT / "mask.tif"))
        self.wait(lambda: not iface.mapCanvas().isDrawing(), "the map", 60)
        QTest.qWait(700)

    def press_run(self):
        self.begin(self.dock.run_button)

    def begin(self, button):
        self.pulse.look()
        self.added = []
        self.plugin.controller.mask_added.connect(self.added.append)
        self.started = time.monotonic()
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def tiles_done(self):
        return self.dock.bar.value() if self.dock.bar.maximum() > 0 else 0

    def until_tiles(self, share):
        def far_enough():
            total = self.dock.bar.maximum()
            return (total > 0 and self.tiles_done() >= max(1, share * total)) or not self.plugin.controller.busy

        self.wait(far_enough, "tiles")
        self.result["tiles"] = self.dock.bar.maximum()
        self.result["progress_text"] = self.dock.progress_label.text()
        self.result["live_tiles"] = self.plugin.controller.live.count() if self.plugin.controller.live else 0

    def until_idle(self, seconds=None):
        self.wait(lambda: not self.plugin.controller.busy, "the end of the run", seconds)
        self.result["gap_while_running_s"] = self.pulse.look()
        self.result["seconds"] = round(time.monotonic() - self.started, 2)
        self.result["messages"] = self.messages()

    # the scenarios

    def map(self):
        self.grab("before.png")
        self.press_run()
        self.until_tiles(PLAN.get("during", 0.6))
        self.result["busy_during"] = self.plugin.controller.busy
        self.grab("during.png", settle_ms=0)
        self.until_idle()
        assert self.added, f"no mask was added: {self.messages()}"
        mask = self.added[0]
        self.wait(lambda: not iface.mapCanvas().isDrawing(), "the map", 60)
        QTest.qWait(1200)
        self.grab("after.png")
        extent = mask.extent()
        group = QgsProject.instance().layerTreeRoot().findGroup("Rotacube")
        self.result.update(
            mask=mask.source(),
            mask_valid=mask.isValid(),
            mask_name=mask.name(),
            mask_in_group=bool(group) and group.findLayer(mask.id()) is not None,
            mask_extent=[extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()],
            layer_extent=[getattr(self.layer.extent(), f)() for f in ("xMinimum", "yMinimum", "xMaximum", "yMaximum")],
            crs=mask.crs().authid(),
            classes=[[c.value, c.label, c.color.name(), c.color.alpha()] for c in mask.renderer().classes()],
            history=mask.metadata().history(),
            live_tiles_left=self.plugin.controller.live.count(),
            table=[
                [self.dock.result.table.item(row, column).text() for column in range(4)]
                for row in range(self.dock.result.table.rowCount())
            ],
            status=self.dock.status.text(),
        )

    def grid(self):
        """Make cells of the mask, and look at a part of them."""
        self.press_run()
        self.until_idle()
        cells = {"INPUT": self.added[0].id(), "CLASSES": PLAN.get("treated", "2"), "SIZE": 0.25, "SHARE": 5}
        made = processing.runAndLoadResults("rotacube:treatmentgrid", {**cells, "OUTPUT": str(OUT / "cells.gpkg")})
        iface.mapCanvas().zoomByFactor(0.35)
        self.wait(lambda: not iface.mapCanvas().isDrawing(), "the map", 60)
        QTest.qWait(1200)
        iface.messageBar().clearWidgets()
        self.grab("grid.png")
        self.result["cells"] = made["OUTPUT"]

    def kill_backend(self):
        self.press_run()
        self.until_tiles(0.1)
        before = time.monotonic()
        os.kill(self.plugin.supervisor.pid, 9)
        self.until_idle(20)
        self.result["seconds_to_message"] = round(time.monotonic() - before, 2)
        self.result["gap_after_kill_s"] = self.result["gap_while_running_s"]
        self.result["messages_after_kill"] = self.messages()
        self.grab("killed.png")
        self.result["run_enabled"] = self.dock.run_button.isEnabled()
        self.result["mask_written"] = (OUT / "mask.tif").exists()
        iface.messageBar().clearWidgets()
        self.press_run()
        self.until_idle()
        self.result["second_run_added"] = len(self.added) == 1

    def resume(self):
        def offers():
            return [text for text in self.messages() if "was interrupted at" in text]

        self.wait(offers, "the offer to resume", 60)
        self.result["offered"] = offers()
        self.grab("offered.png")
        self.begin(iface.messageBar().findChildren(QPushButton, "rotacubeMessageButton")[-1])
        self.until_tiles(0.9)
        self.until_idle()
        QTest.qWait(500)
        self.result.update(added=[layer.source() for layer in self.added], offered_after=offers())

    def roofs(self):
        """Take three roofs by click, undo one, take those in a box; at another zoom they are the same."""
        canvas, roofs = iface.mapCanvas(), self.plugin.roofs
        canvas.zoomToFeatureExtent(self.layer.extent())
        started = time.monotonic()
        roofs.action.trigger()

        def known():
            return [roof for roof in roofs._known if roof.on_map.within(inner)]

        def rested():
            session = roofs.session
            return session is not None and session.view is not None and not session.busy and len(roofs._known)

        def pixel(roof):
            place = roof.on_map.pointOnSurface().asPoint()
            spot = canvas.getCoordinateTransform().transform(place)
            return QPoint(round(spot.x()), round(spot.y()))

        self.wait(rested, "the roofs of the view", 120)
        self.result["seconds_to_roofs"] = round(time.monotonic() - started, 2)
        self.result["gap_while_looking_s"] = self.pulse.look()
        inner = QgsGeometry.fromRect(canvas.extent().buffered(-canvas.extent().width() / 6))
        before = {roof.info.id: roof.on_map.asWkt(3) for roof in roofs._known}
        chosen = sorted(known(), key=lambda roof: -roof.info.area)[:3]
        self.grab("roofs.png", 600)
        for roof in chosen:
            QTest.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, pixel(roof))
        self.result["clicked"] = roofs.gestures.taken.layer.featureCount()
        QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        self.result["after_undo"] = roofs.gestures.taken.layer.featureCount()
        self.result["areas"] = [feature["area_m2"] for feature in roofs.gestures.taken.layer.getFeatures()]
        self.result["want"] = [roof.info.area for roof in chosen]
        self.grab("taken.png", 300)
        canvas.zoomByFactor(0.5)
        QTest.qWait(1200)
        self.wait(rested, "the roofs of a part", 120)
        after = {roof.info.id: roof.on_map.asWkt(3) for roof in roofs._known}
        self.result["same"] = all(after[name] == before[name] for name in before if name in after)
        self.result["known"] = [len(before), len(after)]
        self.grab("near.png", 600)
        roofs.gestures.taken.layer.rollBack()

    def teach(self):
        """Teach the model from ten polygons of a memory layer, and map with the new one."""
        drawn = QgsVectorLayer("Polygon?field=kind:string", "drawn", "memory")
        drawn.setCrs(self.layer.crs())
        extent = self.layer.extent()
        for number in range(10):
            feature = QgsFeature(drawn.fields())
            x = extent.xMinimum() + extent.width() * (0.1 + 0.16 * (number % 5))
            y = extent.yMinimum() + extent.height() * (0.25 + 0.4 * (number // 5))
            feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(x, y, x + 12, y + 12)))
            feature.setAttribute("kind", ("roof", "background")[number % 2])
            drawn.dataProvider().addFeature(feature)
        QgsProject.instance().addMapLayer(drawn)
        teaching = self.plugin.teaching
        teaching.action.trigger()
        window = teaching.window
        window.raster.setLayer(self.layer)
        window.polygons.combo.setLayer(drawn)
        window.name.clear()
        QTest.keyClicks(window.name, "my-town")
        window.steps.setValue(PLAN["steps"])
        self.result["classes"] = window.classes.text()
        self.pulse.look()
        QTest.mouseClick(window.start, Qt.MouseButton.LeftButton)
        assert teaching.training is not None, window.said.text()
        self.wait(lambda: window.curve.points or teaching.training is None, "the first step", 120)
        window.grab().save(str(OUT / "teaching.png"))
        self.wait(lambda: teaching.training is None, "the end of the training")
        QTest.qWait(300)
        window.grab().save(str(OUT / "taught.png"))
        table = window.figures
        self.result.update(
            said=window.said.text(),
            figures=[[table.item(n, k).text() for k in range(3)] for n in range(table.rowCount())],
            gap_while_teaching_s=self.pulse.look(),
        )
        window.close()
        self.dock.model_picker.choose("my-town")
        self.result["model"] = self.dock.model_picker.current().name
        self.press_run()
        self.until_idle()
        self.result["added"] = [layer.source() for layer in self.added]

    def refusals(self):
        self.result["said"] = {}
        for case in PLAN["cases"]:
            layer = QgsRasterLayer(case.get("raster", PLAN["raster"]), case["name"])
            QgsProject.instance().addMapLayer(layer)
            self.dock.layer_combo.setLayer(layer)
            self.dock.model_picker.choose(case.get("model", PLAN["model"]))
            edit = self.dock.output.lineEdit()
            edit.clear()
            QTest.keyClicks(edit, case.get("output", str(OUT / (case["name"] + ".tif"))))
            iface.messageBar().clearWidgets()
            QTest.qWait(100)
            self.press_run()
            self.wait(lambda: not self.plugin.controller.busy and self.messages(), case["name"], 60)
            self.result["said"][case["name"]] = self.messages()[0]
            assert self.dock.run_button.isEnabled() and self.plugin.supervisor.state == "ready"
            QgsProject.instance().removeMapLayer(layer.id())

    def unload(self):
        self.press_run()
        self.until_tiles(0.1)
        pids, seconds = [self.plugin.supervisor.pid], []
        for _ in range(2):
            before = time.monotonic()
            qgis.utils.unloadPlugin(NAME)
            seconds.append(round(time.monotonic() - before, 2))
            QTest.qWait(300)
            assert iface.mainWindow().findChild(QDockWidget, "RotacubeDock") is None, "the dock is still there"
            assert not [a for a in iface.rasterMenu().actions() if "Rotacube" in a.text()], "the menu is still there"
            menus = [menu.title() for menu in iface.mainWindow().findChildren(QMenu)]
            assert not [title for title in menus if "Rotacube" in title], "a menu is still there, empty and hidden"
            qgis.utils.loadPlugin(NAME)
            qgis.utils.startPlugin(NAME)
            self.plugin.action.trigger()
            self.wait(lambda: self.plugin.dock.model_picker.current() is not None, "the backend after a reload", 120)
            pids.append(self.plugin.supervisor.pid)
        qgis.utils.unloadPlugin(NAME)
        self.result.update(pids=pids, unload_seconds=seconds)

    def close(self):
        self.press_run()
        self.until_tiles(0.1)
        self.dock.close()
        asked = []

        def answer():
            box = QApplication.activeModalWidget()
            if isinstance(box, QMessageBox):
                asked.append(box.text())
                box.reject()

        timer = QTimer()
        timer.timeout.connect(answer)
        timer.start(300)
        tasks = [task.description() for task in QgsApplication.taskManager().activeTasks()]
        for leave in (iface.actionExit().trigger, iface.mainWindow().close):
            leave()
        timer.stop()
        self.result.update(asked=asked, tasks=tasks, busy_after=self.plugin.controller.busy)
        self.until_idle()
        self.result["added"] = len(self.added)

    def hold(self):
        self.press_run()
        self.until_tiles(0.1)
        progress = {"qgis": os.getpid(), "backend": self.plugin.supervisor.pid, "tiles": self.tiles_done()}
        (OUT / "progress.part").write_text(json.dumps(progress))
        (OUT / "progress.part").rename(OUT / "progress.json")
        QTest.qWait(self.patience * 1000)

    def go(self):
        try:
            self.prepare()
            self.open_dock()
            self.fill_in()
            getattr(self, self.result["scenario"])()
            self.result["ok"] = True
        except Exception as error:
            self.result.update(ok=False, error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
            iface.mainWindow().grab().save(str(OUT / "error.png"))
        (OUT / "result.json").write_text(json.dumps(self.result, indent=2, ensure_ascii=False))
        tasks = QgsApplication.taskManager()
        end = time.monotonic() + 10
        while tasks.countActiveTasks() and time.monotonic() < end:  # QGIS would ask; a task ends a moment after its run
            QTest.qWait(50)
        QgsProject.instance().setDirty(False)  # last: while it waits, a new layer makes the project dirty again
        iface.actionExit().trigger()


driver = Driver()
QTimer.singleShot(800, driver.go)

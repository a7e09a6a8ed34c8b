"""Frames mapped from a folder: the action, the window, what is looked at and mapped, and the layers of the project."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, Callable, Dict, List, Optional

from qgis.core import QgsCoordinateTransform, QgsCsException, QgsProject, QgsVectorLayer
from qgis.PyQt.QtCore import QObject, QThread
from qgis.PyQt.QtGui import QIcon

from .. import paths
from ..client import cards
from ..client.schema import MASK, BackendError, JobResult, parse
from ..compat import Level, QAction, is_alive
from ..i18n import tr
from ..layers import flights
from ..layers.flights import Flight
from ..layers.results import Finished
from ..layers.source import SourceRefused
from ..notify import FRAMES, Notifier, log
from ..signals.background import Background
from ..signals.command import Command
from ..signals.task import RunTask
from . import order as orders
from .order import FramesOrder
from .window import FramesWindow

_DAMAGED = "job_damaged"  # what was kept cannot be gone on with
_NOTHING: List[str] = []


class MapFrames(QObject):
    """The action "Map Drone Frames" and all that it sets going: one look, and one run, at a time.

    Args:
        iface: QGIS.
        chosen: the name of the model that the dock has, empty where there is none.
    """

    def __init__(self, iface, chosen: Callable[[], str], parent=None):
        super().__init__(parent)
        self._iface, self._chosen = iface, chosen
        self._notify, self._background = Notifier(iface), Background(self)
        icon = QIcon(paths.resource("icons", "rotacube.svg"))
        self.action = QAction(icon, tr("Map Drone Frames…"), iface.mainWindow())
        self.action.setObjectName("rotacubeMapFrames")
        self.action.setToolTip(tr("Map a drone's photos as one, without an orthomosaic (Rotacube)"))
        self.action.triggered.connect(self.show)
        self.window: Optional[FramesWindow] = None
        self.look: Optional[Command] = None
        self.run: Optional[Command] = None
        self.shown: Optional[QgsVectorLayer] = None
        self._looked = _NOTHING  # the command whose answer the window shows, or is about to
        self._order: Optional[FramesOrder] = None  # that is carried out
        self._mapped = False  # the map of this order is there; files of it may yet be written
        self._begun: Optional[FramesOrder] = None  # that may be gone on with
        self._asked = ""  # the output that a question is about
        self._project_gone = False
        self._task: Optional[RunTask] = None
        QgsProject.instance().cleared.connect(self._project_cleared)

    def show(self) -> None:
        """Open the window, or bring it to the front."""
        if not is_alive(self.window):
            self.window = FramesWindow(self._iface.mainWindow())
            self.window.flight_chosen.connect(self._look)
            self.window.run_clicked.connect(self._start)
            self.window.cancel_clicked.connect(self.cancel)
            self.window.resume_clicked.connect(self._resume)
            self.window.anew_clicked.connect(self._begin_anew)
            self.window.closed.connect(self._closed)
        if self.run is None and not self.window.isVisible():
            self.window.offer_models(self._chosen())
            left = orders.begun()
            if left:
                self._ask_about(left[-1])
            self._look()
        self.window.show()
        self.window.raise_()

    def cancel(self) -> None:
        """End what is going on; what was mapped is kept."""
        for command in (self.look, self.run):
            if command is not None:
                command.cancel()
                self.window.set_cancelling()

    def close(self) -> None:
        """Let go of everything: the plugin is being unloaded."""
        self._background.close()
        if self.run is not None:
            self.run.cancel()
            self._let_go(False)
        self._look_no_more()
        self._notify.withdraw()
        if is_alive(self.window):
            self.window.close()
            self.window.deleteLater()
        self._hide_footprints()
        if is_alive(self.action):
            self.action.deleteLater()

    # the look

    def _look(self) -> None:
        """Look at the frames of the folder that is named, if that was not done."""
        folder = self.window.folder_path()
        try:
            command = orders.look(folder, self.window.placing.placing()) if folder else _NOTHING
        except SourceRefused as error:
            self.window.show_flight(None, str(error))
            return
        if self.run is not None or command == self._looked:
            return
        self._look_no_more()
        self._hide_footprints()
        self.window.show_flight(None)
        self._looked = command
        if not folder:
            return
        look = Command(command, self)
        look.stepped.connect(partial(self._stepped, look))
        look.finished.connect(partial(self._seen, look, folder))
        look.failed.connect(partial(self._not_seen, look))
        look.cancelled.connect(partial(self._not_seen, look, None))
        try:
            look.start()
        except BackendError as error:
            self._looked = _NOTHING
            self.window.show_flight(None, error.message)
            return
        self.look = look
        self.window.set_looking()

    def _seen(self, look: Command, folder: str, told: Dict[str, Any]) -> None:
        if look is not self.look:
            return
        looked = self._looked
        self._look_no_more()
        try:
            flight = flights.parse_flight(folder, told)
        except BackendError as error:
            self.window.show_flight(None, error.message)
            return
        self._looked = looked
        self.window.show_flight(flight)
        if self.window.isVisible():
            self._show_footprints(flight)

    def _not_seen(self, look: Command, error: Optional[BackendError]) -> None:
        if look is self.look:
            self._look_no_more()
            self.window.show_flight(None, tr("Cancelled.") if error is None else error.message)

    def _look_no_more(self) -> None:
        look, self.look = self.look, None
        if look is not None:
            look.cancel()
            look.deleteLater()
            self._looked = _NOTHING
            self.window.show_flight(None)
            self.window.set_idle()

    def _show_footprints(self, flight: Flight) -> None:
        project, canvas = QgsProject.instance(), self._iface.mapCanvas()
        self.shown = flights.preview(flight)
        project.addMapLayer(self.shown, False)
        project.layerTreeRoot().insertLayer(0, self.shown)
        try:
            onto = QgsCoordinateTransform(self.shown.crs(), canvas.mapSettings().destinationCrs(), project)
            extent = onto.transformBoundingBox(self.shown.extent())
        except QgsCsException:  # the canvas has a CRS that does not reach there
            return
        if not canvas.extent().contains(extent):
            canvas.setExtent(extent.buffered(0.05 * max(extent.width(), extent.height())))
            canvas.refresh()

    def _hide_footprints(self) -> None:
        shown, self.shown = self.shown, None
        if is_alive(shown):
            QgsProject.instance().removeMapLayer(shown.id())

    # the run

    def _start(self) -> None:
        order = self.window.order()
        if order is None:
            return
        begun = orders.begun_at(order.output)
        if begun is not None:
            self._ask_about(begun)
        elif order.there:
            text = tr("{folder} holds a map already: {files}.")
            text = text.format(folder=order.output, files=", ".join(order.there))
            self._asked = order.output
            self.window.ask(text, tr("Replace &it"), False)
        else:
            self._carry_out(order)

    def _ask_about(self, begun: FramesOrder) -> None:
        self._begun, self._asked = begun, begun.output
        text = tr("A map of “{name}” with {model} into {output} was begun and not finished.")
        text = text.format(name=begun.name, model=begun.model, output=begun.output)
        self.window.ask(text, tr("&Drop it and begin anew"), True)

    def _resume(self) -> None:
        if self._begun is not None:
            self._carry_out(self._begun, "--resume")

    def _begin_anew(self) -> None:
        """What is there, whole or begun, is dropped; where another output is named meanwhile, that is asked about."""
        order = self.window.order()
        if order is None:
            return
        begun = orders.begun_at(order.output)
        if begun is not None:
            orders.forget(begun)
        if order.output != self._asked or (begun is not None and not begun.replace):
            self._start()
        else:
            self._carry_out(dataclasses.replace(order, replace=True))

    def _carry_out(self, order: FramesOrder, *flags: str) -> None:
        self._look_no_more()
        run = Command(order.command("--keep", *flags), self)
        run.stepped.connect(partial(self._stepped, run))
        run.said.connect(log)
        run.made.connect(self._made)
        run.finished.connect(self._finished)
        run.failed.connect(self._failed)
        run.cancelled.connect(self._cancelled)
        try:
            run.start()
        except BackendError as error:
            self.window.say(error.message)
            return
        self.run, self._order, self._mapped = run, order, False
        self._project_gone = False
        orders.note_begun(order)
        self._notify.withdraw(FRAMES)
        self.window.remember()
        self.window.set_busy()
        self._task = RunTask(tr("Rotacube maps the frames of {}").format(order.name))
        self._task.cancel_clicked.connect(self.cancel)
        self._task.start()

    def _stepped(self, command: Command, what: str, done: float, total: float, seconds_left: Optional[float]) -> None:
        if command not in (self.look, self.run) or command.cancelling:
            return
        self.window.set_step(command is self.look, what, done, total, seconds_left)
        if command is self.run:
            self._task.tell(round(1000 * done / max(1e-9, total)), 1000)

    def _made(self, told: Dict[str, Any]) -> None:
        """The map is there: it is shown, while what is made of it may yet be written."""
        if self.run is None:  # the plugin was unloaded meanwhile
            return
        order, self._mapped = self._order, True
        orders.forget(order)
        try:
            files = flights.files_of(told)
            model = cards.find(order.model)
            if model is None:
                raise BackendError(
                    "died", tr("The model “{}” is gone; the map lies in {}.").format(order.model, order.output)
                )
            finished = Finished(order.name, order, parse(JobResult, told), model)
        except BackendError as error:
            self._complain(error)
            return
        self.window.show_result(flights.title(MASK, order.name), finished.title, finished.result)
        thread = QThread.currentThread()
        self._background.call(
            lambda: flights.opened(files, finished, thread), partial(self._opened, order), self._complain
        )

    def _finished(self, told: Dict[str, Any]) -> None:
        if self.run is None:
            return
        self._let_go(True)
        frames = tr("1 frame") if told.get("frames") == 1 else tr("{} frames").format(told.get("frames"))
        self.window.say(tr("Mapped into {folder}: {frames}.").format(frames=frames, folder=self._order.output))
        self.window.offer_report(self._order.report_file)

    def _opened(self, order: FramesOrder, made: Dict[str, Any]) -> None:
        self._hide_footprints()
        if self._project_gone:
            text = tr("The map of “{}” lies in {}; it is not added, for the project is another one now.")
            self._notify.info(text.format(order.name, order.output), FRAMES)
            return
        flights.add(made, order.name, QgsProject.instance())
        self._iface.setActiveLayer(made[MASK])  # the dock shows its shares, too
        if not self.window.isVisible():
            text = tr("The frames of “{}” are mapped.").format(order.name)
            self._notify.ask(text, tr("Show"), self.show, Level.Success, FRAMES)

    def _failed(self, error: BackendError) -> None:
        if self.run is None:
            return
        self._let_go(False)
        self._complain(error)
        if error.code == _DAMAGED:
            self._asked = self._order.output
            self.window.ask(error.message, tr("&Drop it and begin anew"), False)

    def _complain(self, error: BackendError) -> None:
        self.window.say(error.message)
        self._notify.error(error.message, kind=FRAMES)

    def _cancelled(self) -> None:
        if self.run is None:
            return
        self._let_go(False)
        text = tr("Cancelled.")
        if self._mapped:
            text = tr("Cancelled. The map is in {folder}, without what was to be written of it.")
        elif orders.begun_at(self._order.output) is not None:
            text = tr("Cancelled. Run goes on from where it was, or begins anew.")
        self.window.say(text.format(folder=self._order.output))

    def _let_go(self, done: bool) -> None:
        run, self.run = self.run, None
        run.deleteLater()
        task, self._task = self._task, None
        if is_alive(task):
            task.finish(done)
        if is_alive(self.window):
            self.window.set_idle()

    def _closed(self) -> None:
        """The window is: a run goes on behind it, a look and its footprints end."""
        self.window.remember()
        self._look_no_more()
        if self.run is None:
            self._hide_footprints()
            self._looked = _NOTHING

    def _project_cleared(self) -> None:
        self._project_gone, self.shown = True, None
        self._looked = _NOTHING

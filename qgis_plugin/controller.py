"""What happens when: the dock's wishes, the backend's news and the project's changes brought together."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Optional

from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from .backend_watch import BackendWatch
from .canvas.live import LiveTiles
from .client import environment
from .client.schema import BackendError, Info
from .client.supervisor import READY, Supervisor
from .compat import Level
from .estimates import Estimates, remember_pace
from .gui import advice
from .gui import format as fmt
from .gui.dock import RotacubeDock
from .gui.shown_result import ShownResult
from .i18n import tr
from .interrupted import InterruptedRuns
from .layers import output, results, source
from .layers.watch import MaskFiles
from .map_area import MapArea
from .notify import BACKEND, RUN, Notifier, log
from .opening import Opening
from .run import Order, Run, build_request
from .runs import Runs

CANCEL_PATIENCE_MS = 15_000
_NO_WORD = ("interrupted", "unreachable", "protocol")  # errors of the way to the backend, not of its work


class Controller(QObject):
    """One dock, one backend, which makes one run after the other."""

    idle = pyqtSignal()
    mask_added = pyqtSignal(object)

    def __init__(self, iface, dock: RotacubeDock, supervisor: Supervisor, parent=None):
        super().__init__(parent)
        self._iface = iface
        self._dock = dock
        self._supervisor = supervisor
        self._notify = Notifier(iface)
        self._project = QgsProject.instance()
        self._run_wanted = False
        self._order: Optional[Order] = None  # of the run that waits for the backend
        self._backend = BackendWatch(dock, supervisor, self._notify, self)
        self._shown = ShownResult(dock.result, self._project, self)
        self._files = MaskFiles(self._project, self)
        self._files.gone.connect(self._file_gone)
        self._interrupted = InterruptedRuns(self._notify, supervisor, dock.model_picker.named, self)
        self._estimates = Estimates(iface, dock, supervisor, lambda: self.info.device if self.info else "", self)
        self.idle.connect(self._interrupted.look)
        self.idle.connect(self._estimates.look)
        self._area = MapArea(iface.mapCanvas(), dock, self)
        self._runs = Runs(dock.jobs, iface.mapCanvas(), self)
        self._opening = Opening(self._project, self)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.timeout.connect(dock.offer_force)
        self._connect_runs()
        dock.first_shown.connect(self.start_backend)
        dock.run_clicked.connect(self.run)
        dock.cancel_clicked.connect(self.cancel)
        self._backend.up.connect(self._backend_up)
        self._backend.absent.connect(self._give_up)
        self._backend.died.connect(self._backend_died)
        dock.setup_page.started.connect(partial(supervisor.stop, wait=False))
        dock.setup_page.completed.connect(self._setup_completed)
        self._project.cleared.connect(self._project_cleared)
        dock.result.failed.connect(self._notify.error)
        iface.currentLayerChanged.connect(self._layer_activated)

    def _connect_runs(self) -> None:
        self._interrupted.resumed.connect(self._follow)
        self._interrupted.found.connect(self._runs.show_left)
        self._runs.moved.connect(self._show_current)
        self._runs.opened.connect(self._show_finished)
        self._runs.told.connect(self._notify.repeat)
        self._runs.cancel_clicked.connect(self._cancel)
        self._runs.resume_clicked.connect(self._interrupted.resume)
        self._runs.discard_clicked.connect(self._interrupted.discard)
        self._opening.added.connect(self._added)
        self._opening.unwanted.connect(self._unwanted)
        self._opening.failed.connect(self._not_opened)

    @property
    def busy(self) -> bool:
        """Whether a run goes on or waits for the backend."""
        return self._run_wanted or bool(self._runs.pending)

    @property
    def info(self) -> Optional[Info]:
        """What the backend runs on; None while it is not up."""
        return self._backend.info

    @property
    def live(self) -> Optional[LiveTiles]:
        """The tiles on the map, while there are any."""
        return self._runs.live

    @property
    def current(self) -> Optional[Run]:
        """The run that is being made."""
        return self._runs.current

    def start_backend(self) -> None:
        """Start the backend if it does not run."""
        self._supervisor.start()

    def restart_backend(self) -> None:
        """End and start the backend, after its settings have changed."""
        if self.busy:
            self._notify.info(tr("The new settings hold from the next start of the backend on."), BACKEND)
            return
        if self._dock.setup_page.busy:  # its end starts the backend
            return
        self._supervisor.stop(wait=False)
        self._supervisor.start()

    def set_up_backend(self) -> None:
        """Offer to set the backend up, unless a run needs it now."""
        if self.busy:
            self._notify.warning(tr("A run is going on: set the backend up when it is done."), kind=BACKEND)
            return
        self._dock.show_setup(may_leave=True)
        self._dock.setUserVisible(True)

    def models_changed(self, name: str) -> None:
        """A model was installed: offer it, and choose it, for the runs to come."""
        self._backend.offer(name)

    def run(self) -> None:
        """Map what the dock says, as soon as the backend is up."""
        self._start(None)

    def _start(self, order: Optional[Order]) -> None:
        """Begin a run, or have it wait for the backend; without an order the dock is asked for it."""
        if self._run_wanted or self._sending():
            return
        self._notify.withdraw(RUN)
        self._order = order
        if self._supervisor.state == READY:
            self._begin()
            return
        self._run_wanted = True
        self._dock.set_busy(tr("Starting the backend…"))
        self._dock.set_sending()
        self._supervisor.start()

    def cancel(self) -> None:
        """End the run; pressed again after a while without an answer, end the backend."""
        run = self._runs.current
        if run is None or self._run_wanted:
            self._give_up()
        elif run.cancelling:
            self._supervisor.stop(wait=False)
            text = tr("The backend did not react and was stopped; nothing was written. Run restarts it.")
            self._runs.end(run, tr("cancelled"), text)
            self._lose_all(text)
            self._give_up()
            self._notify.warning(text)
        else:
            self._cancel(run)

    def close(self) -> None:
        """Let go of everything: the plugin is being unloaded."""
        self._project.cleared.disconnect(self._project_cleared)
        self._iface.currentLayerChanged.disconnect(self._layer_activated)
        self._shown.close()
        self._files.close()
        self._notify.withdraw()
        self._dock.setup_page.close_down()
        for part in (self._backend, self._interrupted, self._estimates, self._area, self._opening, self._runs):
            part.close()
        self._patience.stop()
        self._run_wanted = False

    # the runs

    def _sending(self) -> bool:
        """Whether a run was asked for, and the backend has not said yet whether it takes it."""
        return any(not run.job_id and not run.over for run in self._runs.pending)

    def _begin(self) -> None:
        order = self._order or self._dock.order(source.shown(self._iface.mapCanvas().mapSettings()))
        if order is None:
            self._refuse(tr("There is no model to map with. Name a folder with models in Rotacube's settings."))
            return
        try:
            request = build_request(order, self._project.transformContext(), self._project.mapLayers().values())
        except (source.SourceRefused, output.OutputRefused) as error:
            self._refuse(str(error))
            return
        except output.OutputExists as error:
            self._give_up()
            replacing = dataclasses.replace(order, replace=True)
            self._notify.ask(*advice.replacing(error), partial(self._start, replacing))
            return
        if self._runs.in_use(request):
            self._refuse(tr("A run that has not ended yet writes into {}. Choose another name.").format(order.output))
            return
        client = self._supervisor.client
        if client is None:  # it has ended this very moment: that news is on its way, and ends this run
            self._run_wanted = True
            return
        self._dock.forget_confirmation()
        run = Run(client, request, order.layer.name(), order.model, parent=self)
        run.order = order
        self._follow(run)

    def _follow(self, run: Run) -> None:
        self._order = None
        self._interrupted.withdraw()
        if run.resumes:
            self._runs.take_up(run.resumes)
        run.accepted.connect(self._settle)
        run.progressed.connect(partial(self._tell, run, self._dock.set_progress))
        run.stepped.connect(partial(self._tell, run, self._dock.set_step))
        run.interrupted.connect(lambda n: log(f"event stream interrupted, attempt {n} to go on", Level.Warning))
        run.finished.connect(partial(self._finished, run))
        run.failed.connect(partial(self._failed, run))
        run.cancelled.connect(partial(self._cancelled, run))
        self._runs.add(run)
        self._dock.set_sending()
        log(f"POST /v1/jobs {run.request.to_json()}")
        run.start()

    def _show_current(self) -> None:
        """Another run is the one that the dock's bar shows."""
        self._patience.stop()
        run = self._runs.current
        if run is not None:
            self._dock.set_busy(tr("Reading the raster…"))
            if run.cancelling:
                self._await_cancel()

    def _tell(self, run: Run, show, *what) -> None:
        if run is self._runs.current:
            show(*what)

    def _cancel(self, run: Run) -> None:
        """Ask the backend to end a run, once."""
        if run.cancelling or run.over:
            return
        run.cancel()
        if run is self._runs.current:
            self._await_cancel()

    def _await_cancel(self) -> None:
        self._dock.set_cancelling()
        self._patience.start(CANCEL_PATIENCE_MS)

    def _finished(self, run: Run, finished: results.Finished) -> None:
        self._runs.opening(run)
        if run is self._runs.current:
            self._patience.stop()
            self._dock.set_opening()
        self._opening.open(finished, run)

    def _added(self, finished: results.Finished, run: Optional[Run], layer: QgsRasterLayer) -> None:
        text = advice.mapped(finished.source_name, finished.result)
        if run is not None:
            remember_pace(finished, run.tiles)
            done = tr("done in {}").format(fmt.duration(finished.result.seconds))
            self._runs.end(run, done, text, finished=finished)
            self._settle()
        self._shown.choose(layer)
        self._notify.success(text)
        self.mask_added.emit(layer)

    def _unwanted(self, finished: results.Finished, run: Run) -> None:
        text = tr("The mask of “{}”, from the project before, is ready: {}")
        text = text.format(finished.source_name, finished.mask.path)
        self._runs.end(run, tr("done"), text, finished=finished)
        self._settle()
        self._notify.ask(text, tr("Add it here"), partial(self._opening.open, finished), Level.Success)

    def _not_opened(self, finished: results.Finished, run: Optional[Run], error: BackendError) -> None:
        if run is not None:
            self._runs.end(run, tr("not opened"), error.message)
            self._settle()
        self._notify.error(error.message)

    def _show_finished(self, finished: results.Finished) -> None:
        """The result of a run in the list: its layer, which is added where the project has none."""
        shown = results.shown_at(finished.mask.path, self._project.mapLayers().values())
        if not shown or not shown[0].isValid():
            self._opening.open(finished)
            return
        self._iface.setActiveLayer(shown[0])
        canvas = self._iface.mapCanvas()
        self._shown.choose(shown[0])
        canvas.setExtent(canvas.mapSettings().layerExtentToOutputExtent(shown[0], shown[0].extent()))
        canvas.refresh()

    def _failed(self, run: Run, error: BackendError) -> None:
        order = run.order
        message = advice.sentence(error, run.model)
        agreement, button = advice.agreement(error)
        if agreement and order is not None and not getattr(order, agreement):
            self._runs.end(run, tr("not begun"), message)
            self._settle()
            agreed = dataclasses.replace(order, **{agreement: True})
            self._notify.ask(message, button, partial(self._start, agreed))
            return
        details = tr("Code: {}").format(error.code) + "\n" + self._supervisor.log_tail()
        stopped = error.code in _NO_WORD and self._supervisor.state == READY
        if stopped:
            # the job may still be running where nobody hears of it
            self._supervisor.stop(wait=False)
            message += " " + tr("The backend was stopped; Run starts it again.")
        self._runs.end(run, tr("failed"), message, details)
        if stopped:
            self._lose_all(message)
        self._settle()
        self._notify.error(message, details)

    def _cancelled(self, run: Run) -> None:
        text = tr("Cancelled; nothing was written.")
        self._runs.end(run, tr("cancelled"), text)
        self._settle()
        self._notify.info(text)

    def _refuse(self, text: str) -> None:
        self._give_up()
        self._notify.warning(text)

    def _lose_all(self, message: str) -> bool:
        """The backend has ended: what was being made and what waited is offered again at its next start."""
        lost = [run for run in self._runs.pending if not run.over]
        for run in lost:
            self._runs.lose(run, message)
        return bool(lost)

    def _give_up(self) -> None:
        """Nothing comes of the run that was wanted."""
        self._run_wanted = False
        self._order = None
        self._settle()

    def _settle(self) -> None:
        """Let the dock take the next run, if nothing is being sent."""
        if self._run_wanted or self._sending():
            return
        if self._runs.pending:
            self._dock.set_queueing()
            return
        self._patience.stop()
        self._dock.set_idle()
        self.idle.emit()

    # the project

    def _layer_activated(self, layer) -> None:
        self._shown.choose(layer)
        if not self._run_wanted:
            self._dock.layer_picker.follow(layer)

    def _file_gone(self, layer: QgsRasterLayer) -> None:
        results.reopen(layer)  # else the map keeps stripes of it
        text = tr("The file of “{}” was deleted. Run again into the same file, or remove the layer.")
        self._notify.warning(text.format(layer.name()))

    def _project_cleared(self) -> None:
        if self._runs.pending:
            self._runs.leave_project()
            self._notify.info(tr("The run of the project before goes on; Cancel ends it."))

    # the backend

    def _backend_up(self) -> None:
        if self._run_wanted:
            self._run_wanted = False
            self._begin()
        else:
            self._interrupted.look()

    def _setup_completed(self) -> None:
        named = environment.named_python()
        (self._notify.success if named is None else self._notify.warning)(advice.set_up(named and named.origin))
        self._dock.show_main()
        self.restart_backend()

    def _backend_died(self, message: str, details: str) -> None:
        lost = self._lose_all(message) or self._run_wanted
        self._give_up()
        if lost:
            log(details, Level.Critical)
            text = tr("The run was interrupted; what it found is kept.") + " " + message
            self._notify.ask(text, tr("Start the backend"), self.start_backend, Level.Critical, BACKEND)
        else:
            self._notify.warning(message, details, BACKEND)

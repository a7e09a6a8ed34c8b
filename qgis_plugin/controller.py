"""What happens when: the dock's wishes, the backend's news and the project's changes brought together."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Optional

from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QObject, QThread, QTimer, pyqtSignal

from . import paths
from .canvas.live import LiveTiles
from .client import environment
from .client.schema import BackendError, Info
from .client.supervisor import READY, STARTING, Supervisor
from .compat import Level, is_alive
from .gui import advice
from .gui import format as fmt
from .gui.dock import RotacubeDock
from .gui.shown_result import ShownResult
from .i18n import tr
from .interrupted import InterruptedRuns
from .layers import further, output, results, source
from .layers.watch import MaskFiles
from .notify import BACKEND, RUN, Notifier, log
from .run import Order, Run, build_request
from .signals.backend import BackendSignals
from .signals.background import Background
from .signals.task import RunTask

CANCEL_PATIENCE_MS = 15_000
_NO_WORD = ("interrupted", "unreachable", "protocol")  # errors of the way to the backend, not of its work


class Controller(QObject):
    """One dock, one backend, at most one run."""

    idle = pyqtSignal()
    mask_added = pyqtSignal(object)

    def __init__(self, iface, dock: RotacubeDock, supervisor: Supervisor, parent=None):
        super().__init__(parent)
        self._iface = iface
        self._dock = dock
        self._supervisor = supervisor
        self._notify = Notifier(iface)
        self._project = QgsProject.instance()
        self._background = Background(self)
        self._run: Optional[Run] = None
        self._run_wanted = False
        self._order: Optional[Order] = None  # of the run, or of the one that waits for the backend
        self._task: Optional[RunTask] = None
        self._live: Optional[LiveTiles] = None
        self._shown = ShownResult(dock.result, self._project, self)
        self._files = MaskFiles(self._project, self)
        self._files.gone.connect(self._file_gone)
        self.info: Optional[Info] = None
        self._new_model = ""
        self._interrupted = InterruptedRuns(self._notify, supervisor, dock.model_picker.named, self)
        self._interrupted.resumed.connect(self._follow)
        self.idle.connect(self._interrupted.look)
        self.idle.connect(self._look_for_new_model)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.timeout.connect(dock.offer_force)
        dock.first_shown.connect(self.start_backend)
        dock.run_clicked.connect(self.run)
        dock.cancel_clicked.connect(self.cancel)
        self._backend = BackendSignals(supervisor, self)
        self._backend.changed.connect(self._backend_changed)
        self._backend.ready.connect(self._backend_ready)
        self._backend.failed.connect(self._backend_failed)
        self._backend.died.connect(self._backend_died)
        self._backend.missing.connect(self._backend_missing)
        dock.setup_page.started.connect(partial(supervisor.stop, wait=False))
        dock.setup_page.completed.connect(self._setup_completed)
        self._project.cleared.connect(self._project_cleared)
        dock.result.failed.connect(self._notify.error)
        iface.currentLayerChanged.connect(self._layer_activated)
        iface.mapCanvas().rotationChanged.connect(dock.area.set_map_turned)
        dock.area.set_map_turned(iface.mapCanvas().rotation())

    @property
    def busy(self) -> bool:
        """Whether a run goes on or waits for the backend."""
        return self._run is not None or self._run_wanted

    @property
    def live(self) -> Optional[LiveTiles]:
        """The tiles on the map, while there are any."""
        return self._live

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
        """A model was installed: offer it, and choose it, as soon as no run goes on."""
        self._new_model = name
        self._look_for_new_model()

    def run(self) -> None:
        """Map what the dock says, as soon as the backend is up."""
        self._start(None)

    def _start(self, order: Optional[Order]) -> None:
        """Begin a run, or have it wait for the backend; without an order the dock is asked for it."""
        if self.busy:
            return
        self._notify.withdraw(RUN)
        self._order = order
        if self._supervisor.state == READY:
            self._begin()
            return
        self._run_wanted = True
        self._dock.set_busy(tr("Starting the backend…"))
        self._supervisor.start()

    def cancel(self) -> None:
        """End the run; pressed again after a while without an answer, end the backend."""
        if self._run is None:
            self._run_wanted = False
            self._end_run()
        elif self._run.cancelling:
            self._supervisor.stop(wait=False)
            self._end_run()
            self._notify.warning(tr("The backend did not react and was stopped; nothing was written. Run restarts it."))
        else:
            self._run.cancel()
            self._dock.set_cancelling()
            self._patience.start(CANCEL_PATIENCE_MS)

    def close(self) -> None:
        """Let go of everything: the plugin is being unloaded."""
        self._project.cleared.disconnect(self._project_cleared)
        self._iface.currentLayerChanged.disconnect(self._layer_activated)
        self._iface.mapCanvas().rotationChanged.disconnect(self._dock.area.set_map_turned)
        self._shown.close()
        self._files.close()
        self._end_task(False)
        self._notify.withdraw()
        self._dock.setup_page.close_down()
        self._backend.close()
        self._interrupted.close()
        self._background.close()
        self._patience.stop()
        self._run_wanted = False
        if self._run is not None:
            self._run.drop()
            self._run = None
        self._remove_live()

    # the run

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
            self._end_run()
            replacing = dataclasses.replace(order, replace=True)
            self._notify.ask(*advice.replacing(error), partial(self._start, replacing))
            return
        client = self._supervisor.client
        if client is None:  # it has ended this very moment: that news is on its way, and ends this run
            self._run_wanted = True
            return
        self._order = order
        self._dock.forget_confirmation()
        self._follow(Run(client, request, order.layer.name(), order.model, parent=self))

    def _follow(self, run: Run) -> None:
        self._run = run
        self._interrupted.withdraw()
        self._remove_live()
        self._live = LiveTiles(self._iface.mapCanvas())
        self._dock.set_busy(tr("Reading the raster…"))
        self._task = RunTask(tr("Rotacube maps {}").format(run.source_name))
        self._task.cancel_clicked.connect(self._task_cancelled)
        self._task.start()
        run.progressed.connect(self._dock.set_progress)
        run.progressed.connect(self._task.tell)
        run.stepped.connect(self._dock.set_step)
        run.tile.connect(self._live.add)
        run.interrupted.connect(self._stream_interrupted)
        run.finished.connect(self._finished)
        run.failed.connect(self._failed)
        run.cancelled.connect(self._cancelled)
        log(f"POST /v1/jobs {run.request.to_json()}")
        run.start()

    def _finished(self, finished: results.Finished) -> None:
        self._patience.stop()
        self._dock.set_opening()
        self._open(finished, self._run)

    def _open(self, finished: results.Finished, run: Optional[Run] = None) -> None:
        """Open what was made in a thread: that reads the files, and takes its time."""
        opened = partial(self._opened, finished, run)
        thread = QThread.currentThread()
        self._background.call(
            lambda: further.opened(finished, thread), opened, lambda error: self._not_opened(error, run)
        )

    def _opened(self, finished: results.Finished, run: Optional[Run], made: further.Opened) -> None:
        if run is not None and run.project_gone:
            self._end_run()
            text = tr("The mask of “{}”, from the project before, is ready: {}")
            text = text.format(finished.source_name, finished.mask.path)
            self._notify.ask(text, tr("Add it here"), partial(self._open, finished), Level.Success)
            return
        shown = results.shown_at(finished.mask.path, self._project.mapLayers().values())
        try:
            for old in shown:
                results.renew(old, finished, self._project)
        except results.ResultUnreadable as error:
            self._not_opened(error, run)
            return
        layer = shown[0] if shown else made.mask
        if not shown:
            results.add(layer, self._project)
        further.add(made.beside, self._project)
        if run is not None:
            self._end_run(done=True)
            self._live.remove_after_refresh()
        self._shown.choose(layer)
        self._notify.success(advice.mapped(finished.source_name, finished.result))
        self.mask_added.emit(layer)

    def _not_opened(self, error: BackendError, run: Optional[Run]) -> None:
        if run is not None:
            self._end_run()
        self._notify.error(error.message)

    def _failed(self, error: BackendError) -> None:
        order = self._order
        message = advice.sentence(error, order.model if order is not None else None)
        agreement, button = advice.agreement(error)
        if agreement and order is not None and not getattr(order, agreement):
            self._end_run()
            agreed = dataclasses.replace(order, **{agreement: True})
            self._notify.ask(message, button, partial(self._start, agreed))
            return
        details = tr("Code: {}").format(error.code) + "\n" + self._supervisor.log_tail()
        if error.code in _NO_WORD and self._supervisor.state == READY:
            # the job may still be running where nobody hears of it
            self._supervisor.stop(wait=False)
            message += " " + tr("The backend was stopped; Run starts it again.")
        self._end_run()
        self._notify.error(message, details)

    def _cancelled(self) -> None:
        self._end_run()
        self._notify.info(tr("Cancelled; nothing was written."))

    def _stream_interrupted(self, attempt: int) -> None:
        log(f"event stream interrupted, attempt {attempt} to take it up again", Level.Warning)

    def _refuse(self, text: str) -> None:
        self._end_run()
        self._notify.warning(text)

    def _end_run(self, done: bool = False) -> None:
        self._patience.stop()
        self._run_wanted = False
        self._order = None
        self._end_task(done)
        if self._run is not None:
            self._run.drop()
            self._run.deleteLater()
            self._run = None
        if not done:  # else the tiles stay until the mask is drawn
            self._remove_live()
        self._dock.set_idle()
        self.idle.emit()

    def _end_task(self, done: bool) -> None:
        task, self._task = self._task, None
        if is_alive(task):
            task.finish(done)

    def _task_cancelled(self) -> None:
        if self._run is not None and not self._run.cancelling and not self._run.over:
            self.cancel()

    def _layer_activated(self, layer) -> None:
        self._shown.choose(layer)
        if not self.busy:
            self._dock.layer_picker.follow(layer)

    def _file_gone(self, layer: QgsRasterLayer) -> None:
        results.reopen(layer)  # else the map keeps stripes of it
        text = tr("The file of “{}” was deleted. Run again into the same file, or remove the layer.")
        self._notify.warning(text.format(layer.name()))

    def _remove_live(self) -> None:
        if self._live is not None:
            self._live.remove()
            self._live = None

    def _project_cleared(self) -> None:
        if self._run is not None:
            self._run.project_gone = True
            self._remove_live()
            self._notify.info(tr("The run of the project before goes on; Cancel ends it."))

    # the backend

    def _backend_changed(self, state: str) -> None:
        if state == STARTING:
            self._notify.withdraw(BACKEND)
            if not self._dock.setup_page.asked_for:
                self._dock.show_main()
            self._dock.show_status(tr("Starting the backend…"))
            if self._dock.model_picker.current() is None:
                self._dock.model_picker.set_waiting(tr("appears when the backend is up"))
        elif state != READY:
            self.info = None
            self._dock.show_status(tr("The backend is not running; Run starts it."))

    def _backend_ready(self) -> None:
        client = self._supervisor.client
        if client is None:  # it has ended since
            return
        self._dock.show_status(tr("Backend is up, reading its models…"))
        if self._supervisor.version != paths.version():
            text = tr("The backend is version {}, the plugin {}. Set the backend up again if something does not work.")
            self._notify.warning(text.format(self._supervisor.version, paths.version()), kind=BACKEND)
        self._background.call(lambda: (client.info(), client.models()), self._introduced, self._not_introduced)

    def _introduced(self, answer) -> None:
        if self._supervisor.state != READY:
            return
        self.info, models = answer
        chosen = self._dock.model_picker.current()
        self._dock.model_picker.set_models(models)
        if chosen is not None:
            self._dock.model_picker.choose(chosen.name)
        text = tr("Backend ready on {device}").format(device=fmt.device(self.info.device))
        self._dock.show_status(text, self.info.device_why)
        if self._run_wanted:
            self._run_wanted = False
            self._begin()
        else:
            self._interrupted.look()

    def _look_for_new_model(self) -> None:
        client = self._supervisor.client
        if self._new_model and not self.busy and client is not None and self._supervisor.state == READY:
            self._background.call(client.models, self._offer_new_model, lambda error: log(error.message))

    def _offer_new_model(self, models) -> None:
        if self._new_model and not self.busy:
            self._dock.model_picker.set_models(models)
            self._dock.model_picker.choose(self._new_model)
            self._new_model = ""

    def _not_introduced(self, error: BackendError) -> None:
        if self._supervisor.state == READY:
            self._backend_failed(error.message, self._supervisor.log_tail())

    def _backend_failed(self, message: str, details: str) -> None:
        self._end_run()
        self._dock.show_status(tr("The backend is not running."))
        if self._dock.model_picker.current() is None:
            self._dock.model_picker.set_waiting(tr("The backend is not running."))
        self._notify.error(message, details, BACKEND)

    def _backend_missing(self, message: str) -> None:
        self._end_run()
        log(message)
        self._notify.withdraw(BACKEND)
        self._dock.model_picker.set_waiting(tr("The backend is not set up yet."))
        self._dock.show_setup()

    def _setup_completed(self) -> None:
        named = environment.named_python()
        (self._notify.success if named is None else self._notify.warning)(advice.set_up(named and named.origin))
        self._dock.show_main()
        self.restart_backend()

    def _backend_died(self, message: str, details: str) -> None:
        written = self._run is not None and self._run.over  # the mask is about to be shown
        lost = not written and (self._run is not None or self._run_wanted)
        if not written:
            self._end_run()
        self._dock.show_status(tr("The backend has ended; Run starts it again."))
        if lost:
            log(details, Level.Critical)
            text = tr("The run was interrupted; what it found is kept.") + " " + message
            self._notify.ask(text, tr("Start the backend"), self.start_backend, Level.Critical, BACKEND)
        else:
            self._notify.warning(message, details, BACKEND)

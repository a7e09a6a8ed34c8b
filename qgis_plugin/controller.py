"""What happens when: the dock's wishes, the backend's news and the project's changes brought together."""

from __future__ import annotations

import dataclasses
from typing import List, Optional

from qgis.core import QgsProject
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from . import paths
from .canvas.live import LiveTiles
from .client import environment
from .client.schema import BackendError, Info, ModelInfo
from .client.supervisor import READY, STARTING, Supervisor
from .compat import Level
from .gui import format as fmt
from .gui.dock import RotacubeDock
from .i18n import tr
from .layers import output, results, source
from .layers.classes import BACKGROUND
from .notify import BACKEND, RUN, Notifier, log
from .run import Run, build_request
from .signals.backend import BackendSignals
from .signals.background import Background

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
        self._live: Optional[LiveTiles] = None
        self.info: Optional[Info] = None
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
        dock.setup_page.started.connect(self._setup_started)
        dock.setup_page.completed.connect(self._setup_completed)
        self._project.cleared.connect(self._project_cleared)

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

    def run(self) -> None:
        """Map what the dock says, as soon as the backend is up."""
        if self.busy:
            return
        self._notify.withdraw(RUN)
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
            self._notify.warning(
                tr("The backend did not react and was stopped; nothing was written. Run starts it again.")
            )
        else:
            self._run.cancel()
            self._dock.set_cancelling()
            self._patience.start(CANCEL_PATIENCE_MS)

    def close(self) -> None:
        """Let go of everything: the plugin is being unloaded."""
        self._project.cleared.disconnect(self._project_cleared)
        self._notify.withdraw()
        self._dock.setup_page.close_down()
        self._backend.close()
        self._background.close()
        self._patience.stop()
        self._run_wanted = False
        if self._run is not None:
            self._run.drop()
            self._run = None
        self._remove_live()

    # the run

    def _begin(self, replace: bool = False) -> None:
        order = self._dock.order(source.shown(self._iface.mapCanvas().mapSettings()))
        if order is None:
            self._refuse(tr("There is no model to map with. Name a folder with models in Rotacube's settings."))
            return
        if replace:
            order = dataclasses.replace(order, replace=True)
        try:
            request = build_request(order, self._project.transformContext(), self._project.mapLayers().values())
        except (source.SourceRefused, output.OutputRefused) as error:
            self._refuse(str(error))
            return
        except output.OutputExists as error:
            self._end_run()
            text = tr("{} is there already.").format(error.path)
            self._notify.ask(text, tr("Replace it"), self._run_replacing)
            return
        client = self._supervisor.client
        if client is None:  # it has ended this very moment: that news is on its way, and ends this run
            self._run_wanted = True
            return
        self._dock.forget_confirmation()
        self._follow(Run(client, request, order.layer.name(), order.model, self))

    def _run_replacing(self) -> None:
        if not self.busy and self._supervisor.state == READY:
            self._begin(replace=True)

    def _follow(self, run: Run) -> None:
        self._run = run
        self._remove_live()
        self._live = LiveTiles(self._iface.mapCanvas())
        self._dock.set_busy(tr("Reading the raster…"))
        run.progressed.connect(self._dock.set_progress)
        run.tile.connect(self._live.add)
        run.interrupted.connect(self._interrupted)
        run.finished.connect(self._finished)
        run.failed.connect(self._failed)
        run.cancelled.connect(self._cancelled)
        log(f"POST /v1/jobs {run.request.to_json()}")
        run.start()

    def _finished(self, finished: results.Finished) -> None:
        self._dock.show_result(finished.result)
        if self._run.project_gone:
            self._end_run()
            text = tr("The mask of “{}”, from the project before, is ready: {}")
            text = text.format(finished.source_name, finished.mask.path)
            self._notify.ask(text, tr("Add it here"), lambda: self._add(finished), Level.Success)
            return
        self._end_run(keep_tiles=True)
        if self._add(finished):
            self._live.remove_after_refresh()
        else:
            self._remove_live()

    def _add(self, finished: results.Finished) -> bool:
        try:
            layer = results.mask_layer(finished)
        except results.ResultUnreadable as error:
            self._notify.error(str(error))
            return False
        results.add(layer, self._project)
        found = ", ".join(
            f"{item.name} {fmt.number(item.area_m2)} m² ({fmt.share(item.share)})"
            for item in finished.result.classes
            if item.id != BACKGROUND
        )
        self._notify.success(tr("“{}” is mapped: {}.").format(finished.source_name, found))
        self.mask_added.emit(layer)
        return True

    def _failed(self, error: BackendError) -> None:
        details = tr("Code: {}").format(error.code) + "\n" + self._supervisor.log_tail()
        message = error.message
        if error.code in _NO_WORD and self._supervisor.state == READY:
            # the job may still be running where nobody hears of it
            self._supervisor.stop(wait=False)
            message += " " + tr("The backend was stopped; Run starts it again.")
        self._end_run()
        self._notify.error(message, details)

    def _cancelled(self) -> None:
        self._end_run()
        self._notify.info(tr("Cancelled; nothing was written."))

    def _interrupted(self, attempt: int) -> None:
        log(f"event stream interrupted, attempt {attempt} to take it up again", Level.Warning)

    def _refuse(self, text: str) -> None:
        self._end_run()
        self._notify.warning(text)

    def _end_run(self, keep_tiles: bool = False) -> None:
        self._patience.stop()
        self._run_wanted = False
        if self._run is not None:
            self._run.drop()
            self._run.deleteLater()
            self._run = None
        if not keep_tiles:
            self._remove_live()
        self._dock.set_idle()
        self.idle.emit()

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
        models: List[ModelInfo]
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

    def _setup_started(self) -> None:
        self._supervisor.stop(wait=False)

    def _setup_completed(self) -> None:
        if environment.named_python() is None:
            self._notify.success(tr("The backend is set up."))
        else:
            text = tr("The backend is set up, but {origin} names another Python, which is used.")
            self._notify.warning(text.format(origin=environment.named_python().origin))
        self._dock.show_main()
        self.restart_backend()

    def _backend_died(self, message: str, details: str) -> None:
        lost = self._run is not None or self._run_wanted
        self._end_run()
        self._dock.show_status(tr("The backend has ended; Run starts it again."))
        if lost:
            self._notify.error(tr("The run was lost.") + " " + message, details, BACKEND)
        else:
            self._notify.warning(message, details, BACKEND)

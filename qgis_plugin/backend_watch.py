"""How the backend is, shown in the dock: it starts, it is up with its models, it has ended, or there is none yet."""

from __future__ import annotations

from typing import List, Optional

from qgis.PyQt.QtCore import QObject, pyqtSignal

from . import paths
from .client.schema import BackendError, Info, ModelInfo
from .client.supervisor import READY, STARTING, Supervisor
from .gui import format as fmt
from .gui.dock import RotacubeDock
from .i18n import tr
from .notify import BACKEND, Notifier, log
from .signals.backend import BackendSignals
from .signals.background import Background


class BackendWatch(QObject):
    """Keeps the dock in step with the backend.

    Signals:
        up: its models are known.
        absent: it did not start, or there is none to be started.
        died: it has ended by itself: a sentence, details.

    Attributes:
        info: what it runs on; None while it is not up.
    """

    up = pyqtSignal()
    absent = pyqtSignal()
    died = pyqtSignal(str, str)

    def __init__(self, dock: RotacubeDock, supervisor: Supervisor, notify: Notifier, parent=None):
        super().__init__(parent)
        self._dock, self._supervisor, self._notify = dock, supervisor, notify
        self._background = Background(self)
        self.info: Optional[Info] = None
        self._new_model = ""
        self._signals = BackendSignals(supervisor, self)
        self._signals.changed.connect(self._changed)
        self._signals.ready.connect(self._ready)
        self._signals.failed.connect(self._failed)
        self._signals.died.connect(self._died)
        self._signals.missing.connect(self._missing)

    def close(self) -> None:
        """Hear no more."""
        self._signals.close()
        self._background.close()

    def offer(self, model: str) -> None:
        """Offer a model that was installed, and choose it: now, or when the backend is up."""
        self._new_model = model
        client = self._supervisor.client
        if client is not None and self._supervisor.state == READY:
            self._background.call(client.models, self._choose_new_model, lambda error: log(error.message))

    def _choose_new_model(self, models: List[ModelInfo]) -> None:
        if self._new_model:
            self._dock.model_picker.set_models(models)
            self._dock.model_picker.choose(self._new_model)
            self._new_model = ""

    def _changed(self, state: str) -> None:
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

    def _ready(self) -> None:
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
        self.up.emit()  # a run that waits for it has its model from before
        self._choose_new_model(models)

    def _not_introduced(self, error: BackendError) -> None:
        if self._supervisor.state == READY:
            self._failed(error.message, self._supervisor.log_tail())

    def _failed(self, message: str, details: str) -> None:
        self.absent.emit()
        self._dock.show_status(tr("The backend is not running."))
        if self._dock.model_picker.current() is None:
            self._dock.model_picker.set_waiting(tr("The backend is not running."))
        self._notify.error(message, details, BACKEND)

    def _missing(self, message: str) -> None:
        self.absent.emit()
        log(message)
        self._notify.withdraw(BACKEND)
        self._dock.model_picker.set_waiting(tr("The backend is not set up yet."))
        self._dock.show_setup()

    def _died(self, message: str, details: str) -> None:
        self.died.emit(message, details)
        self._dock.show_status(tr("The backend has ended; Run starts it again."))

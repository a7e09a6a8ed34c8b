"""Runs that ended with an earlier backend, offered one after the other: to be gone on with, or dropped."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Callable, List, Optional, Set

from qgis.PyQt.QtCore import QObject, pyqtSignal

from .client.schema import BackendError, InterruptedJob, ModelInfo
from .client.supervisor import READY, Supervisor
from .gui import format as fmt
from .i18n import tr
from .notify import INTERRUPTED, Notifier, log
from .run import Run
from .signals.background import Background


class InterruptedRuns(QObject):
    """Asks in the message bar, about each run once; `found` tells of all that there are.

    Args:
        notify: the message bar.
        supervisor: of the backend that knows of them.
        model_named: the model of a name, None if it is not installed.
    """

    resumed = pyqtSignal(object)
    found = pyqtSignal(object)

    def __init__(
        self,
        notify: Notifier,
        supervisor: Supervisor,
        model_named: Callable[[str], Optional[ModelInfo]],
        parent=None,
    ):
        super().__init__(parent)
        self._notify, self._supervisor, self._model_named = notify, supervisor, model_named
        self._background = Background(self)
        self._asked: Set[str] = set()
        self._shown = ""
        self._quiet = False

    def look(self) -> None:
        """Ask the backend what there is, if it is up, and offer it."""
        self._quiet = False
        self._ask_backend()

    def withdraw(self) -> None:
        """Ask nothing while a run goes on; what was not answered is asked again."""
        self._quiet = True
        self._asked.discard(self._shown)
        self._shown = ""
        self._notify.withdraw(INTERRUPTED)

    def resume(self, job: InterruptedJob) -> None:
        """Go on with a run, if it can be."""
        self._asked.discard(job.id)
        client, model = self._supervisor.client, self._model_named(job.request.model)
        if client is None:
            self._notify.warning(tr("The backend is not running; Run starts it."))
        elif model is None:
            text = tr("The model “{}” of that run is not there any more. Install it, or discard the run.")
            self._notify.warning(text.format(job.request.model))
        else:
            self.resumed.emit(Run(client, job.request, Path(job.request.raster).stem, model, job.id, self.parent()))

    def discard(self, job: InterruptedJob) -> None:
        """Remove what a run has left."""
        if job.id == self._shown:
            self._notify.withdraw(INTERRUPTED)
        client = self._supervisor.client
        if client is not None:
            self._background.call(lambda: client.discard(job.id), lambda _: self._ask_backend(), self._not_discarded)

    def close(self) -> None:
        """Hear no more."""
        self._background.close()

    def _ask_backend(self) -> None:
        client = self._supervisor.client
        if client is not None and self._supervisor.state == READY:
            self._background.call(client.interrupted, self._offer, lambda error: log(error.message))

    def _offer(self, jobs: List[InterruptedJob]) -> None:
        self.found.emit(jobs)
        waiting = [job for job in jobs if job.id not in self._asked]
        if self._quiet or not waiting:
            return
        job = waiting[0]
        self._asked.add(job.id)
        self._shown = job.id
        text = tr("A run of {} was interrupted at {}.").format(Path(job.request.raster).name, fmt.share(job.share))
        discard = tr("Discard"), partial(self.discard, job)
        self._notify.ask(text, tr("Resume"), partial(self.resume, job), kind=INTERRUPTED, other=discard)

    def _not_discarded(self, error: BackendError) -> None:
        self._notify.error(error.message)

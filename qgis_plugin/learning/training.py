"""One training: the backend's commands one after the other in a thread, told as Qt signals."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Dict

from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..client import cards, environment
from ..client.command import FLAGS, Cancelled, carry_out
from ..client.schema import BackendError, ModelInfo
from ..client.supervisor import Launch
from ..i18n import tr
from .lesson import Lesson


@dataclass(frozen=True)
class Learned:
    """A model that was taught, and the page that shows how."""

    model: ModelInfo
    report: str


class Training(QObject):
    """Carries out a lesson.

    Signals:
        stepped: what is being done, its share, and the seconds left of it, None where nobody knows.
        learned: so many steps are done, and the loss of the last.
        said: a line of the backend's.
        finished: a `Learned`; the model is installed.
        failed: a `BackendError`.
        cancelled: it was; the folder of the lesson knows how far it was.
    """

    stepped = pyqtSignal(str, float, object)
    learned = pyqtSignal(int, float)
    said = pyqtSignal(str)
    finished = pyqtSignal(object)
    failed = pyqtSignal(object)
    cancelled = pyqtSignal()

    def __init__(self, lesson: Lesson, parent=None):
        super().__init__(parent)
        self.lesson = lesson
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin, or go on with what the lesson's folder holds.

        Raises:
            BackendError: there is no backend that could be started.
        """
        launch = environment.command(*FLAGS)
        threading.Thread(target=self._work, args=(launch,), name="rotacube-training", daemon=True).start()

    def cancel(self) -> None:
        """End within seconds; `cancelled` follows."""
        self._stop.set()

    @property
    def cancelling(self) -> bool:
        """Whether it is to end."""
        return self._stop.is_set()

    def _work(self, launch: Launch) -> None:
        try:
            ended, about = self._ended(launch)
            ended.emit(*about)
        except RuntimeError:  # the plugin was unloaded meanwhile
            return

    def _ended(self, launch: Launch):
        """The signal of how it ended, with what it carries."""
        result: Dict[str, Any] = {}
        try:
            for arguments in self.lesson.commands():
                told = carry_out(Launch([*launch.command, *arguments], launch.env), self._hear, self._stop.is_set)
                result.update(told)
            model = cards.find(self.lesson.name)
            if model is None:
                text = tr("The model “{}” was taught, but is not where models are looked for: {}")
                raise BackendError("died", text.format(self.lesson.name, result.get("folder", "")))
            self.lesson.done()
        except Cancelled:
            return self.cancelled, ()
        except BackendError as error:
            return self.failed, (error,)
        except OSError as error:
            return self.failed, (BackendError("died", f"{error.filename}: {error.strerror}"),)
        return self.finished, (Learned(model, str(result.get("report", ""))),)

    def _hear(self, message: Dict[str, Any]) -> None:
        if "what" in message:
            share = message["done"] / max(1e-9, message["total"])
            self.stepped.emit(str(message["what"]), float(share), message.get("seconds_left"))
        elif "loss" in message:
            self.learned.emit(int(message["step"]), float(message["loss"]))
        elif "said" in message:
            self.said.emit(str(message["said"]))

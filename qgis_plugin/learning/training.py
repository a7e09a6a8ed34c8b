"""One training: the backend's commands one after the other in a thread, told as Qt signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict

from qgis.PyQt.QtCore import pyqtSignal

from ..client import cards
from ..client.schema import BackendError, ModelInfo
from ..i18n import tr
from ..signals.command import Command, Run
from .lesson import Lesson


@dataclass(frozen=True)
class Learned:
    """A model that was taught, and the page that shows how."""

    model: ModelInfo
    report: str


class Training(Command):
    """Carries out a lesson, or goes on with what the lesson's folder holds: that knows how far it was.

    Signals:
        learned: so many steps are done, and the loss of the last.
        finished: a `Learned`; the model is installed.
    """

    learned = pyqtSignal(int, float)

    def __init__(self, lesson: Lesson, parent=None):
        super().__init__(parent=parent)
        self.lesson = lesson

    def work(self, run: Run) -> Learned:
        """Cut tiles, train, install."""
        result: Dict[str, Any] = {}
        for arguments in self.lesson.commands():
            result.update(run(arguments))
        model = cards.find(self.lesson.name)
        if model is None:
            text = tr("The model “{}” was taught, but is not where models are looked for: {}")
            raise BackendError("died", text.format(self.lesson.name, result.get("folder", "")))
        self.lesson.done()
        return Learned(model, str(result.get("report", "")))

    def hear(self, message: Dict[str, Any]) -> None:
        """In the thread: a line of the backend's."""
        if "loss" in message:
            self.learned.emit(int(message["step"]), float(message["loss"]))
        else:
            super().hear(message)

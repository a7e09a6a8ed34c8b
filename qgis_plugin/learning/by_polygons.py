"""Teaching from the map: the action, the window, the training and the list of models brought together."""

from __future__ import annotations

from typing import Callable, Optional

from qgis.core import QgsProject
from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtGui import QIcon

from .. import paths
from ..client.schema import BackendError
from ..compat import Level, QAction, is_alive
from ..i18n import tr
from ..layers.source import SourceRefused
from ..notify import LEARNING, Notifier, log
from ..signals.task import RunTask
from . import lesson as lessons
from .lesson import Lesson
from .training import Learned, Training
from .window import LearnWindow


class TeachByPolygons(QObject):
    """The action "Teach a Model" and all that it sets going; one training at a time.

    Args:
        iface: QGIS.
        chosen: the name of the model that the dock has, empty where there is none.

    Signals:
        learned: the name of a model that was installed.
    """

    learned = pyqtSignal(str)

    def __init__(self, iface, chosen: Callable[[], str], parent=None):
        super().__init__(parent)
        self._iface, self._chosen = iface, chosen
        self._notify = Notifier(iface)
        icon = QIcon(paths.resource("icons", "rotacube.svg"))
        self.action = QAction(icon, tr("Teach a Model…"), iface.mainWindow())
        self.action.setObjectName("rotacubeTeach")
        self.action.setToolTip(tr("Teach a model of Rotacube from polygons that are drawn over a raster"))
        self.action.triggered.connect(self.show)
        self.window: Optional[LearnWindow] = None
        self.training: Optional[Training] = None
        self._task: Optional[RunTask] = None

    def show(self) -> None:
        """Open the window, or bring it to the front."""
        if not is_alive(self.window):
            self.window = LearnWindow(self._iface.mainWindow())
            self.window.start_clicked.connect(self._start)
            self.window.cancel_clicked.connect(self.cancel)
            self.window.resume_clicked.connect(self._resume)
            self.window.anew_clicked.connect(self._begin_anew)
        if self.training is None:
            self.window.offer_models(self._chosen())
        self.window.show()
        self.window.raise_()

    def cancel(self) -> None:
        """End the training; what it has learned so far is kept."""
        if self.training is not None:
            self.training.cancel()
            self.window.cancel.setEnabled(False)
            self.window.set_measuring(tr("Cancelling…"))

    def close(self) -> None:
        """Let go of everything: the plugin is being unloaded."""
        if self.training is not None:
            self.training.cancel()
            self._let_go(False)
        self._notify.withdraw()
        if is_alive(self.window):
            self.window.close()
            self.window.deleteLater()
        if is_alive(self.action):
            self.action.deleteLater()

    def _start(self) -> None:
        lesson = self._asked()
        if lesson is None:
            return
        begun = lessons.unfinished(lesson.name)
        if begun is not None:
            text = tr("A training of “{}”, from {} and {} steps long, was begun and not finished.")
            self.window.ask(text.format(begun.name, begun.model, begun.steps))
            return
        self._begin(lesson)

    def _resume(self) -> None:
        begun = lessons.unfinished(self.window.name.text().strip())
        if begun is not None:
            self._carry_out(begun)

    def _begin_anew(self) -> None:
        lesson = self._asked()
        if lesson is not None:
            self._begin(lesson)

    def _asked(self) -> Optional[Lesson]:
        complaint = lessons.complaint(self.window.name.text().strip())
        if complaint:
            self.window.say(complaint)
            return None
        try:
            return self.window.lesson(QgsProject.instance().transformContext())
        except SourceRefused as error:
            self.window.say(str(error))
            return None

    def _begin(self, lesson: Lesson) -> None:
        try:
            lesson.begin()
        except OSError as error:
            text = tr("The folder {} cannot be written ({}). Set ROTACUBE_HOME to a folder that can be.")
            self.window.say(text.format(lesson.folder, error.strerror))
            return
        self._carry_out(lesson)

    def _carry_out(self, lesson: Lesson) -> None:
        training = Training(lesson, self)
        training.stepped.connect(self._stepped)
        training.learned.connect(self.window.curve.add)
        training.said.connect(self._said)
        training.finished.connect(self._finished)
        training.failed.connect(self._failed)
        training.cancelled.connect(self._cancelled)
        try:
            training.start()
        except BackendError as error:
            self.window.say(error.message)
            return
        self.training = training
        self._notify.withdraw(LEARNING)
        self.window.set_busy(lesson.steps)
        self._task = RunTask(tr("Rotacube teaches {}").format(lesson.name))
        self._task.cancel_clicked.connect(self.cancel)
        self._task.start()

    def _stepped(self, what: str, done: float, total: float, seconds_left: Optional[float]) -> None:
        if self.training is not None and not self.training.cancelling:
            share = done / max(1e-9, total)
            self.window.set_step(what, share, seconds_left)
            self._task.tell(round(1000 * share), 1000)

    def _said(self, text: str) -> None:
        log(text)
        if self.training is not None and not self.training.cancelling:
            self.window.set_measuring(text)

    def _finished(self, learned: Learned) -> None:
        if self.training is None:  # the plugin was unloaded meanwhile
            return
        self._let_go(True)
        self.window.show_learned(learned)
        self.window.offer_models(learned.model.name)
        if not self.window.isVisible():
            text = tr("“{}” has been taught, and is offered in the list of models.").format(learned.model.title)
            self._notify.ask(text, tr("Show"), self.show, Level.Success, LEARNING)
        self.learned.emit(learned.model.name)

    def _failed(self, error: BackendError) -> None:
        if self.training is None:
            return
        self._let_go(False)
        self.window.say(error.message)
        if not self.window.isVisible():
            self._notify.error(error.message, kind=LEARNING)

    def _cancelled(self) -> None:
        if self.training is None:
            return
        self._let_go(False)
        self.window.say(tr("Cancelled. Teach goes on from where it was, or begins anew."))

    def _let_go(self, done: bool) -> None:
        training, self.training = self.training, None
        training.deleteLater()
        task, self._task = self._task, None
        if is_alive(task):
            task.finish(done)
        if is_alive(self.window):
            self.window.set_idle()

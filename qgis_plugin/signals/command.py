"""Commands of the backend's, one after the other in a thread, told as Qt signals."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Sequence

from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..client import environment
from ..client.command import FLAGS, Cancelled, carry_out
from ..client.schema import BackendError
from ..client.supervisor import Launch

Run = Callable[[List[str]], Dict[str, Any]]


class Command(QObject):
    """Carries out a command; what consists of several has a `work` of its own.

    Signals:
        stepped: what is being done, how much of how much (a share of 1), and the seconds left of it, None where nobody
            knows.
        said: a line of the backend's.
        made: the result of a command of the backend's, which may yet have more to do: to write files of it.
        finished: what `work` gave.
        failed: a `BackendError`.
        cancelled: it was.
    """

    stepped = pyqtSignal(str, float, float, object)
    said = pyqtSignal(str)
    made = pyqtSignal(object)
    finished = pyqtSignal(object)
    failed = pyqtSignal(object)
    cancelled = pyqtSignal()

    def __init__(self, arguments: Sequence[str] = (), parent=None):
        super().__init__(parent)
        self._arguments = list(arguments)
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin.

        Raises:
            BackendError: there is no backend that could be started.
        """
        launch = environment.command(*FLAGS)
        threading.Thread(target=self._follow, args=(launch,), name="rotacube-command", daemon=True).start()

    def cancel(self) -> None:
        """End within seconds; `cancelled` follows."""
        self._stop.set()

    @property
    def cancelling(self) -> bool:
        """Whether it is to end."""
        return self._stop.is_set()

    def work(self, run: Run) -> Any:
        """What is to be done, in the thread, and what it gives.

        Args:
            run: carries out a command, and gives its result.

        Raises:
            BackendError, OSError: something is wrong.
        """
        return run(self._arguments)

    def hear(self, message: Dict[str, Any]) -> None:
        """In the thread: a line of the backend's."""
        if "what" in message:
            done, total = float(message["done"]), float(message["total"])
            self.stepped.emit(str(message["what"]), done, total, message.get("seconds_left"))
        elif "said" in message:
            self.said.emit(str(message["said"]))
        elif "result" in message:
            self.made.emit(message["result"])

    def _follow(self, launch: Launch) -> None:
        def run(arguments: List[str]) -> Dict[str, Any]:
            return carry_out(Launch([*launch.command, *arguments], launch.env), self.hear, self._stop.is_set)

        try:
            ended, about = self._ended(run)
            ended.emit(*about)
        except RuntimeError:  # the plugin was unloaded meanwhile
            return

    def _ended(self, run: Run):
        """The signal of how it ended, with what it carries."""
        try:
            return self.finished, (self.work(run),)
        except Cancelled:
            return self.cancelled, ()
        except BackendError as error:
            return self.failed, (error,)
        except OSError as error:
            return self.failed, (BackendError("died", f"{error.filename}: {error.strerror}"),)

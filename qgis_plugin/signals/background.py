"""Calls that take time, made off the GUI thread, answered on it."""

from __future__ import annotations

import threading
from typing import Any, Callable

from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..client.schema import BackendError


class Background(QObject):
    """Runs functions in threads and hands their results to callbacks on the thread that made this object."""

    _answered = pyqtSignal(object, object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._open = True
        self._answered.connect(self._deliver)

    def call(self, function: Callable[[], Any], on_result: Callable[[Any], None], on_error=None) -> None:
        """Run `function` in a thread; `on_error` gets a `BackendError`."""
        threading.Thread(
            target=self._run, args=(function, on_result, on_error), name="rotacube-call", daemon=True
        ).start()

    def close(self) -> None:
        """Drop every answer that is still to come."""
        self._open = False

    def _run(self, function, on_result, on_error) -> None:
        try:
            callback, value = on_result, function()
        except BackendError as error:
            callback, value = on_error, error
        except Exception as error:  # whatever it is, the GUI must hear of it
            callback, value = on_error, BackendError("internal", f"{type(error).__name__}: {error}")
        if callback is None or not self._open:
            return
        try:
            self._answered.emit(callback, value)
        except RuntimeError:  # the plugin was unloaded meanwhile
            return

    def _deliver(self, callback, value) -> None:
        if self._open:
            callback(value)

"""What the run that the dock describes would come to: tiles and room, from the backend; time, from earlier runs."""

from __future__ import annotations

import dataclasses
import os
from functools import partial
from typing import Callable, Optional

from qgis.core import QgsProcessingUtils, QgsProject, QgsReferencedRectangle, QgsSettings
from qgis.PyQt.QtCore import QObject, QTimer

from .client.schema import Estimate, JobRequest
from .client.supervisor import READY, Supervisor
from .gui.dock import RotacubeDock
from .layers import output, source
from .layers.results import Finished
from .run import Order, build_request
from .signals.background import Background

REST_MS = 400
"""After the last change in the dock."""
ENOUGH = 10
"""Tiles of a run that tells how long one takes: the first ones wait for the model to be loaded."""
_PACE = "rotacube/pace"
_STAND_IN = "rotacube_estimate.tif"  # stands for the temporary file of a run


class Estimates(QObject):
    """Asks the backend when the dock has been left alone for a moment, and shows the answer there.

    Args:
        iface: whose map is shown.
        dock: what says what is wanted.
        supervisor: of the backend.
        device: gives what it runs on, empty while nobody knows.
    """

    def __init__(self, iface, dock: RotacubeDock, supervisor: Supervisor, device: Callable[[], str], parent=None):
        super().__init__(parent)
        self._device = device
        self._canvas, self._dock, self._supervisor = iface.mapCanvas(), dock, supervisor
        self._project = QgsProject.instance()
        self._background = Background(self)
        self._asking = self._stale = False
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._ask)
        dock.order_changed.connect(self.look)
        self._canvas.extentsChanged.connect(self._map_moved)

    def close(self) -> None:
        """Ask no more."""
        self._canvas.extentsChanged.disconnect(self._map_moved)
        self._rest.stop()
        self._background.close()

    def look(self) -> None:
        """Something has changed: what was said holds no longer."""
        self._stale = True
        self._dock.show_estimate(None)
        self._rest.start()

    def _map_moved(self) -> None:
        if self._dock.area.view.isChecked():
            self.look()

    def _ask(self) -> None:
        client = self._supervisor.client
        if self._asking or client is None or self._supervisor.state != READY or not self._dock.isVisible():
            return
        order = self._dock.order(source.shown(self._canvas.mapSettings()))
        request = self._request(order)
        if request is None:
            return
        self._asking, self._stale = True, False
        self._background.call(
            lambda: client.estimate(request), partial(self._answered, order), lambda error: self._answered(order, None)
        )

    def _request(self, order: Optional[Order]) -> Optional[JobRequest]:
        """What the run would ask for, with nothing copied or made; None where it would be refused."""
        if order is None:
            return None
        stand_in = os.path.join(QgsProcessingUtils.tempFolder(), _STAND_IN)
        plain = dataclasses.replace(order, output=order.output.strip() or stand_in, replace=True, within=None)
        if order.within is not None:  # the backend looks at no more than the box around them
            layer = order.within
            box = layer.boundingBoxOfSelected() if order.selected_only else layer.extent()
            plain = dataclasses.replace(plain, area=QgsReferencedRectangle(box, layer.crs()))
        if order.drawn is not None and not order.drawn.shape.isEmpty():
            plain = dataclasses.replace(plain, area=order.drawn.box, drawn=None)
        try:
            return build_request(plain, self._project.transformContext(), ())
        except (source.SourceRefused, output.OutputRefused):
            return None

    def _answered(self, order: Order, found: Optional[Estimate]) -> None:
        self._asking = False
        if self._stale:  # something else is wanted by now
            self._rest.start()
        elif found is not None:
            seconds = pace(order.model.name, self._device(), order.turns)
            self._dock.show_estimate(found, None if seconds is None else seconds * found.tiles)


def remember_pace(finished: Finished, tiles: int) -> None:
    """Keep how long a tile of a run has taken, all that it made included."""
    if tiles >= ENOUGH and finished.result.seconds > 0:
        value = f"{finished.result.seconds / tiles:.6g} {_kind(finished.result.device)}"
        QgsSettings().setValue(_key(finished.model.name, finished.request.to_json().get("turns", 1)), value)


def pace(model: str, device: str, turns: int = 1) -> Optional[float]:
    """Seconds a tile, looked at so often, of the last run with a model on such a device; None where there was none."""
    seconds, _, kind = str(QgsSettings().value(_key(model, turns), "") or "").partition(" ")
    try:
        return float(seconds) if kind and kind == _kind(device) else None
    except ValueError:
        return None


def _key(model: str, turns: int) -> str:
    return f"{_PACE}/{model}" + (f"/{turns}" if turns > 1 else "")


def _kind(device: str) -> str:
    """`cpu` or `cuda`, whatever the precision, and whichever of several."""
    return device.replace(":", ",").split(",")[0].strip()

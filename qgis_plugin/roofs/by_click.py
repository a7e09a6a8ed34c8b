"""Roofs by click: the action, the tool, the backend and the layer brought together."""

from __future__ import annotations

import contextlib
import hashlib
from functools import partial
from typing import Optional

from qgis.core import QgsMapLayer, QgsPointXY, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QObject, QTimer
from qgis.PyQt.QtGui import QCursor, QIcon

from .. import paths
from ..client.schema import BackendError, ModelInfo, ViewInfo
from ..client.supervisor import READY, Supervisor
from ..compat import QAction, is_alive
from ..gui import advice
from ..gui import format as fmt
from ..i18n import tr
from ..layers import results
from ..layers.source import SourceRefused
from ..notify import ROOFS, Notifier
from ..signals.backend import BackendSignals
from . import looked
from .gestures import Gestures
from .known import Known
from .session import Place, Session
from .shown import Outlines
from .strip import Strip
from .taken import Origin, Taken
from .tool import RoofTool

REST_MS = 250  # after the map has moved
SHORTCUT = "Ctrl+Alt+K"  # nothing in QGIS has it; a person may choose another, and QGIS adds it to the tool tip


class RoofsByClick(QObject):
    """The action "Take roofs" and all that it sets going."""

    def __init__(self, iface, dock, supervisor: Supervisor, parent=None):
        super().__init__(parent)
        self._iface, self._dock, self._supervisor = iface, dock, supervisor
        self._canvas = iface.mapCanvas()
        self._project = QgsProject.instance()
        self._notify = Notifier(iface)
        self.action = QAction(QIcon(paths.resource("icons", "take_roofs.svg")), tr("Take Roofs"), iface.mainWindow())
        self.action.setObjectName("rotacubeTakeRoofs")
        self.action.setToolTip(tr("Take roofs of the current raster layer by clicking on them"))
        self.action.setWhatsThis(tr("Shows the roof under the cursor, and takes it into a polygon layer with a click."))
        self.action.setCheckable(True)
        self.action.triggered.connect(self._triggered)
        self.tool = RoofTool(self._canvas)
        self.tool.setAction(self.action)
        self.tool.activated.connect(self._begin)
        self.tool.deactivated.connect(self._end)
        self.layer: Optional[QgsRasterLayer] = None
        self.model: Optional[ModelInfo] = None
        self.session: Optional[Session] = None
        self.strip: Optional[Strip] = None
        self._agreed = looked.Agreed()
        self._threshold: Optional[float] = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._look)
        self._backend = BackendSignals(supervisor, self)
        self._backend.ready.connect(self._rest.start)
        self._backend.failed.connect(self._backend_ended)
        self._backend.died.connect(self._backend_ended)
        self._backend.missing.connect(self._backend_missing)
        dock.model_picker.combo.currentIndexChanged.connect(self._model_chosen)
        iface.currentLayerChanged.connect(self._layer_activated)
        self._backend.changed.connect(self._backend_changed)
        self._running = False
        self._refused = False  # whether the backend will not open this layer
        self._gap_told = False
        self._known = Known()
        self._outlines: Optional[Outlines] = None
        self.gestures: Optional[Gestures] = None

    def close(self) -> None:
        """Let go of everything: the plugin is being unloaded. What was taken stays in its layer."""
        self._iface.currentLayerChanged.disconnect(self._layer_activated)
        if is_alive(self._dock):
            self._dock.model_picker.combo.currentIndexChanged.disconnect(self._model_chosen)
        self._backend.close()
        self._end()
        if is_alive(self._canvas):
            self._canvas.unsetMapTool(self.tool)
        self._notify.withdraw()
        self.tool.deleteLater()
        if is_alive(self.action):
            self.action.deleteLater()

    # begin and end

    def _triggered(self, checked: bool) -> None:
        if not checked:
            self.action.setChecked(self._canvas.mapTool() is self.tool)  # as QGIS's own tools: it stays chosen
            return
        layer = self._chosen()
        if layer is None:
            self.action.setChecked(False)
            self._notify.warning(tr("Choose a raster layer to take roofs of, in the layer panel."), kind=ROOFS)
            return
        self.layer = layer
        self._canvas.setMapTool(self.tool)

    def _chosen(self) -> Optional[QgsRasterLayer]:
        for layer in (self._iface.activeLayer(), self._dock.layer_picker.current()):
            if _is_picture(layer):
                return layer
        return None

    def _begin(self) -> None:
        if self._running:
            return
        self._running = True
        self.strip = Strip(self._canvas)
        self.strip.threshold_changed.connect(self._cut)
        self.strip.closed.connect(lambda: self._canvas.unsetMapTool(self.tool))
        self._outlines = Outlines(self._canvas)
        self._canvas.extentsChanged.connect(self._moved)
        self._canvas.destinationCrsChanged.connect(self._moved)
        self.strip.show_up()
        self._use(self.layer)
        self._canvas.setFocus()

    def _end(self) -> None:
        if not self._running:
            return
        self._running = False
        self._rest.stop()
        self._let_go()
        if is_alive(self._canvas):
            self._canvas.extentsChanged.disconnect(self._moved)
            self._canvas.destinationCrsChanged.disconnect(self._moved)
        self._outlines.remove()
        self._outlines = None
        if is_alive(self.strip):
            self.strip.remove()
        self.strip = None

    def _use(self, layer: QgsRasterLayer) -> None:
        """Take roofs of a layer from now on."""
        self._let_go()
        self._refused = False
        self.layer = layer
        black = self._dock.layer_picker.current() is layer and self._dock.layer_picker.black_is_nodata()
        self._agreed = looked.Agreed(black_is_nodata=black)
        self._threshold = None
        layer.willBeDeleted.connect(self._layer_gone)
        self._look()

    def _let_go(self) -> None:
        self._drop_session()
        self._drop_gestures()
        self._known = Known()
        if self._running:
            self._outlines.draw(self._known)
        if is_alive(self.layer):
            with contextlib.suppress(TypeError):
                self.layer.willBeDeleted.disconnect(self._layer_gone)

    def _drop_session(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.close()
            session.deleteLater()
        if self.gestures is not None:
            self.gestures.session = None

    def _drop_gestures(self) -> None:
        gestures, self.gestures = self.gestures, None
        if gestures is not None:
            gestures.close()
            gestures.deleteLater()

    # looking

    def _moved(self) -> None:
        """The map moves: what was asked for is no longer wanted, and what comes is asked for when it rests."""
        if self.session is not None:
            self.session.cancel()
        self._rest.start()

    def _look(self) -> None:
        if not self._running or self._refused or not is_alive(self.layer):
            return
        if self._supervisor.state != READY:
            self.strip.tell(tr("Starting the backend…"), busy=True)
            self._supervisor.start()
            return
        model = self._dock.model_picker.current()
        if model is None:  # they are on their way
            self.strip.tell(tr("Reading the models…"), busy=True)
            return
        settings = self._canvas.mapSettings()
        if self.session is None and not self._open(model):
            return
        self.session.look(Place(settings.visibleExtent(), settings.destinationCrs()), self._under_cursor())
        self._outlines.draw(self._known)

    def _under_cursor(self) -> Optional[QgsPointXY]:
        """The place under the cursor, in the map's CRS; None if that is not over the map."""
        place = self._canvas.viewport().mapFromGlobal(QCursor.pos())
        return self.tool.toMapCoordinates(place) if self._canvas.viewport().rect().contains(place) else None

    def _open(self, model: ModelInfo) -> bool:
        client, settings = self._supervisor.client, self._canvas.mapSettings()
        if client is None:  # it has ended this very moment: that news is on its way
            return False
        context, crs = self._project.transformContext(), settings.destinationCrs()
        try:
            view, rendered = looked.request(self.layer, model, self._agreed, settings.extent().center(), crs, context)
        except SourceRefused as error:
            self._refuse(str(error))
            return False
        if self.model is None or self.model.name != model.name:
            self._drop_gestures()
            self._known = Known()
        self.model = model
        picture = self.layer if rendered else None
        session = Session(client, view, self._known, self.layer.extent(), picture, context, self)
        session.threshold = self._threshold
        session.opened.connect(self._opened)
        session.changed.connect(self._known_changed)
        session.working.connect(partial(self.strip.tell, busy=True))
        session.rested.connect(self._rested)
        session.gaps.connect(self._gaps)
        session.too_far.connect(lambda: self.strip.tell(tr("Zoom in to find roofs.")))
        session.failed.connect(self._failed)
        self.session = session
        return True

    def _opened(self, view: ViewInfo) -> None:
        self._notify.withdraw(ROOFS)
        if self._threshold is None:
            self.strip.set_threshold(view.threshold)
        crs = self.session.crs
        if self.gestures is not None and self.gestures.taken.origin.crs != crs:
            self._drop_gestures()
            self._known.clear()
        if self.gestures is None:
            key = hashlib.sha256(self.layer.source().encode()).hexdigest()[:16]
            taken = Taken(self._project, Origin(self.layer.name(), key, crs, self.model.classes), self)
            self.gestures = Gestures(self._canvas, self.tool, self.strip, self._known, taken, self)
        self.gestures.follow(self.session)

    def _known_changed(self) -> None:
        self._outlines.draw(self._known)

    def _rested(self) -> None:
        count = self._known.count(self._canvas.mapSettings().visibleExtent())
        self.strip.tell(tr("1 roof") if count == 1 else tr("{} roofs").format(fmt.number(count)))

    def _gaps(self, share: float) -> None:
        if share < 0.005:
            if self._gap_told:
                self._notify.withdraw(ROOFS)
            self._gap_told = False
            return
        text = tr("{share} of this view of “{name}” has no picture: tiles are missing or late. Move the map to retry.")
        self._notify.warning(text.format(share=fmt.share(share), name=self.layer.name()), kind=ROOFS)
        self._gap_told = True

    def _cut(self, threshold: float) -> None:
        self._threshold = threshold
        if self.session is not None:
            self.session.cut(threshold)

    # what goes wrong

    def _failed(self, error: BackendError) -> None:
        if self._supervisor.state != READY:  # the news of its end say more
            return
        message = advice.sentence(error, self.model)
        if self.session.view is None:
            self._refused = True
        agreement, button = advice.agreement(error)
        if agreement and not getattr(self._agreed, agreement):
            self.strip.tell(tr("The layer was not opened."))
            self._notify.ask(message, button, partial(self._agree, agreement), kind=ROOFS)
            return
        self.strip.tell(tr("Roofs cannot be found here."))
        self._notify.error(message, tr("Code: {}").format(error.code), ROOFS)

    def _agree(self, agreement: str) -> None:
        self._agreed = self._agreed._replace(**{agreement: True})
        self._refused = False
        self._drop_session()
        self._look()

    def _refuse(self, text: str) -> None:
        self._refused = True
        self.strip.tell(tr("Roofs cannot be found here."))
        self._notify.warning(text, kind=ROOFS)

    # what else happens

    def _backend_changed(self, state: str) -> None:
        if state != READY:
            self._drop_session()
            if self._running and not self._refused:
                self.strip.tell(tr("The backend is not running; move the map to start it."))

    def _backend_ended(self, _message: str, _details: str) -> None:
        self._drop_session()  # the panel's controller says why

    def _backend_missing(self, _message: str) -> None:
        if self._running:
            self.strip.tell(tr("The backend is not set up yet: see the Rotacube panel."))
            self._dock.setUserVisible(True)

    def _model_chosen(self) -> None:
        model = self._dock.model_picker.current()
        if not self._running or model is None or (self.session is not None and model.name == self.model.name):
            return
        self._refused = False
        self._threshold = None
        self._drop_session()
        self._rest.start()

    def _layer_activated(self, layer: Optional[QgsMapLayer]) -> None:
        if self._running and _is_picture(layer) and layer is not self.layer:
            self._use(layer)

    def _layer_gone(self) -> None:
        self._canvas.unsetMapTool(self.tool)
        self.layer = None


def _is_picture(layer: Optional[QgsMapLayer]) -> bool:
    return isinstance(layer, QgsRasterLayer) and is_alive(layer) and not results.is_mask(layer)

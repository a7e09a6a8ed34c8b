"""The window in which a model is taught: what is learned from what, how it goes, and what came of it."""

from __future__ import annotations

from collections import Counter
from typing import Optional

from qgis.core import QgsCoordinateTransformContext, QgsFeatureRequest, QgsFieldProxyModel, QgsVectorLayer
from qgis.gui import QgsFieldComboBox, QgsMapLayerComboBox
from qgis.PyQt.QtCore import Qt, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ..client import cards
from ..client.schema import ModelInfo
from ..compat import POLYGON_LAYERS, RASTER_LAYERS
from ..gui import format as fmt
from ..gui.curve import LossCurve
from ..gui.labels import in_row, note, push_button
from ..gui.polygon_picker import PolygonPicker
from ..i18n import tr
from ..layers import polygons, source
from .figures import BeforeAfter
from .lesson import STEPS, Lesson
from .training import Learned

_COUNTED = 20_000  # polygons whose classes are counted to be shown
_LISTED = 6
_LONG_EDGE = 24  # letters


class LearnWindow(QDialog):
    """Asks, and shows; it decides nothing.

    Signals:
        start_clicked, cancel_clicked: the buttons.
        resume_clicked: go on with what was begun under the name in the field.
        anew_clicked: drop that.
    """

    start_clicked = pyqtSignal()
    cancel_clicked = pyqtSignal()
    resume_clicked = pyqtSignal()
    anew_clicked = pyqtSignal()

    def __init__(self, parent: Optional[QWidget] = None):
        super().__init__(parent)
        self.setObjectName("rotacubeLearn")
        self.setWindowTitle(tr("Teach a model from polygons"))
        self._report = ""
        self._build_inputs()
        self._build_progress()
        column = QVBoxLayout(self)
        column.addWidget(
            note(
                tr(
                    "Draw polygons over the raster, a few dozen, with a field that names the class of each: also of "
                    "what is not wanted. Where nothing is drawn the new model keeps to what the first one says, if the "
                    "classes are its own, and learns nothing otherwise; but within the area below it is the model's "
                    "first class. A fifth is held out, to measure the model before and after."
                )
            )
        )
        column.addWidget(self.inputs)
        column.addWidget(self.said)
        column.addLayout(self._build_answers())
        column.addWidget(self.bar)
        column.addWidget(self.curve, 1)
        column.addWidget(self.figures)
        column.addLayout(self._build_buttons())
        self.polygons.layers_changed.connect(self._polygons_changed)
        self.field.fieldChanged.connect(self._count)
        self.model.currentIndexChanged.connect(self._describe)
        self._polygons_changed()
        self.set_idle()
        self.resize(34 * self.fontMetrics().height(), 46 * self.fontMetrics().height())

    def lesson(self, context: QgsCoordinateTransformContext) -> Lesson:
        """What the fields say.

        Raises:
            SourceRefused: a layer cannot be used, or one is missing.
        """
        drawn = self.polygons.layer()
        if drawn is None or not self.field.currentField():
            raise source.SourceRefused(tr("Choose a layer of polygons, and its field that names the class of each."))
        if self.model.currentData() is None:
            text = tr("There is no model to begin with. Name a folder with models in Rotacube's settings.")
            raise source.SourceRefused(text)
        around = self.area.currentLayer()
        return Lesson(
            source.from_layer(self.raster.currentLayer()).path,
            polygons.path_of(drawn, self.polygons.selected_only(), context),
            self.field.currentField(),
            polygons.path_of(around, False, context) if around is not None else "",
            self.model.currentData().name,
            self.name.text().strip(),
            self.title.text().strip(),
            self.steps.value(),
            self.anyway.isChecked(),
        )

    def offer_models(self, chosen: str = "") -> None:
        """List the models that are installed; one of them is chosen, or stays so."""
        chosen = chosen or (self.model.currentData().name if self.model.currentData() else "")
        self.model.clear()
        for model in cards.installed():
            self.model.addItem(model.title, model)
        names = [self.model.itemData(n).name for n in range(self.model.count())]
        self.model.setCurrentIndex(names.index(chosen) if chosen in names else 0)

    def set_idle(self) -> None:
        """Nothing is being taught."""
        self.inputs.setEnabled(True)
        self.start.setEnabled(True)
        self.cancel.setEnabled(False)
        self.bar.hide()

    def set_busy(self, steps: int) -> None:
        """Something is."""
        self._report = ""
        self.report.hide()
        self.figures.hide()
        self.curve.begin(steps)
        self.inputs.setEnabled(False)
        self.start.setEnabled(False)
        self.cancel.setEnabled(True)
        self.cancel.setFocus()
        self.bar.setRange(0, 0)
        self.bar.show()
        self.say(tr("Starting…"))

    def set_step(self, what: str, share: float, seconds_left: Optional[float]) -> None:
        """How far it is."""
        self.bar.setRange(0, 1000)
        self.bar.setValue(round(1000 * share))
        known = {"Tiles": tr("cutting tiles"), "Training": tr("training")}
        text = f"{known.get(what, what)}, {fmt.per_cent(share, 1)}"
        self.say(text if seconds_left is None else text + ", " + tr("{} left").format(fmt.duration(seconds_left)))

    def set_measuring(self, text: str) -> None:
        """The steps are done, and the backend says what it does then."""
        self.bar.setRange(0, 0)
        self.say(text)

    def say(self, text: str) -> None:
        """A line about how it goes, or what is wrong."""
        self.said.setText(text)
        self.said.setVisible(bool(text))
        self.resume.hide()
        self.anew.hide()

    def ask(self, text: str) -> None:
        """Something of that name was begun: to be gone on with, or dropped?"""
        self.say(text)
        self.resume.show()
        self.anew.show()
        self.resume.setFocus()

    def show_learned(self, learned: Learned) -> None:
        """It is done: what was measured, and where more of it stands."""
        self._report = learned.report
        self.report.setVisible(bool(learned.report))
        self.figures.show_model(learned.model)
        self.figures.show()
        self.say(tr("“{}” is installed, and offered in all lists of models.").format(learned.model.title))

    def _build_inputs(self) -> None:
        self.raster, self.area = QgsMapLayerComboBox(), QgsMapLayerComboBox()
        self.raster.setFilters(RASTER_LAYERS)
        self.area.setFilters(POLYGON_LAYERS)
        self.area.setAllowEmptyLayer(True)
        self.area.setCurrentIndex(0)
        self.polygons = PolygonPicker()
        self.field = QgsFieldComboBox()
        kinds = QgsFieldProxyModel.Filter
        self.field.setFilters(kinds.String | kinds.Int | kinds.LongLong)
        self.classes = note()
        self.classes.setObjectName("rotacubeLearnClasses")
        self.classes.setTextFormat(Qt.TextFormat.PlainText)
        self.model, self.model_note = QComboBox(), note()
        self.name, self.title = QLineEdit("my-model"), QLineEdit()
        self.title.setPlaceholderText(tr("[that of the first, tuned]"))
        self.steps = QSpinBox()
        self.steps.setRange(1, 1_000_000)
        self.steps.setValue(STEPS)
        self.steps.setToolTip(tr("500 steps take ten minutes of two recent CPU cores, longer on others"))
        self.anyway = QCheckBox(tr("Take a raster far from the model's &resolution anyway"))
        for combo in (self.raster, self.area, self.field, self.model):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(_LONG_EDGE)
        self.inputs = QWidget()
        form = QFormLayout(self.inputs)
        form.setContentsMargins(0, 0, 0, 0)
        for label, widget, name in (
            (tr("R&aster"), self.raster, "rotacubeLearnRaster"),
            (tr("&Polygons"), self.polygons, "rotacubeLearnPolygons"),
            (tr("&Field with the class"), self.field, "rotacubeLearnField"),
            ("", self.classes, ""),
            (tr("All else is &known within"), self.area, "rotacubeLearnArea"),
            (tr("&Model to begin with"), self.model, "rotacubeLearnModel"),
            ("", self.model_note, ""),
            (tr("&Name of the new one"), self.name, "rotacubeLearnName"),
            (tr("Its &title"), self.title, "rotacubeLearnTitle"),
            (tr("&Steps"), self.steps, "rotacubeLearnSteps"),
            ("", self.anyway, "rotacubeLearnAnyway"),
        ):
            form.addRow(label, widget)
            if name:
                widget.setObjectName(name)
                widget.setAccessibleName(label.replace("&", "") or widget.accessibleName())
        form.labelForField(self.polygons).setBuddy(self.polygons.combo)

    def _build_progress(self) -> None:
        self.said = QLabel()
        self.said.setObjectName("rotacubeLearnSaid")
        self.said.setWordWrap(True)
        self.said.setTextFormat(Qt.TextFormat.PlainText)
        self.said.hide()
        self.bar = QProgressBar()
        self.bar.setObjectName("rotacubeLearnBar")
        self.curve = LossCurve()
        self.figures = BeforeAfter()
        self.figures.hide()

    def _build_answers(self) -> QHBoxLayout:
        self.resume = push_button(tr("&Go on with it"), "rotacubeLearnResume", self.resume_clicked)
        self.anew = push_button(tr("&Drop it and begin anew"), "rotacubeLearnAnew", self.anew_clicked)
        for button in (self.resume, self.anew):
            button.hide()
        return in_row(self.resume, self.anew)

    def _build_buttons(self) -> QHBoxLayout:
        self.start = push_button(tr("&Teach"), "rotacubeLearnStart", self.start_clicked)
        self.cancel = push_button(tr("&Cancel"), "rotacubeLearnCancel", self.cancel_clicked)
        self.report = push_button(tr("&Report…"), "rotacubeLearnReport", self._open_report)
        self.report.hide()
        close = push_button(tr("C&lose"), "rotacubeLearnClose", self.close)
        return in_row(self.report, self.start, self.cancel, close, at_end=True)

    def _open_report(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(self._report))

    def _polygons_changed(self) -> None:
        layer = self.polygons.layer()
        if self.field.layer() is not layer:
            self.field.setLayer(layer)
        self._count()

    def _count(self, *_about) -> None:
        """How many polygons there are of each class, as far as they are counted."""
        layer, name = self.polygons.layer(), self.field.currentField()
        if layer is None or not name:
            self.classes.setText(tr("A layer of polygons with a field of texts or whole numbers is needed."))
            return
        counts = _classes(layer, name, self.polygons.selected_only())
        shown = [f"{value} {fmt.number(count)}" for value, count in counts.most_common(_LISTED)]
        if len(counts) > _LISTED:
            shown.append(tr("{} more").format(len(counts) - _LISTED))
        self.classes.setText(", ".join(shown) or tr("No polygon has a class."))

    def _describe(self, *_about) -> None:
        model: Optional[ModelInfo] = self.model.currentData()
        if model is not None:
            names = ", ".join(item.name for item in model.classes)
            text = tr("knows {classes} · {resolution} per pixel")
            self.model_note.setText(text.format(classes=names, resolution=fmt.resolution(model.gsd)))


def _classes(layer: QgsVectorLayer, field: str, selected_only: bool) -> Counter:
    request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry).setLimit(_COUNTED)
    request.setSubsetOfAttributes([field], layer.fields())
    if selected_only:
        request.setFilterFids(layer.selectedFeatureIds())
    values = (feature.attribute(field) for feature in layer.getFeatures(request))
    return Counter(str(value) for value in values if value not in (None, "") and str(value) != "NULL")

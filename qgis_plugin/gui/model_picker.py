"""The choice of a model: its title, what it looks for at which resolution, how good it is, and under which licence."""

from __future__ import annotations

from html import escape
from typing import List, Optional

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QComboBox, QMessageBox, QVBoxLayout, QWidget

from ..client.schema import ModelInfo
from ..i18n import tr
from ..layers.classes import BACKGROUND
from . import format as fmt
from .labels import note

LAST = "rotacube/model"


class ModelPicker(QWidget):
    """A combo box of models, filled once the backend is up."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.combo = QComboBox()
        self.combo.setObjectName("rotacubeModel")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(18)
        self.note = note()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.combo)
        layout.addWidget(self.note)
        self.facts = note()
        self.facts.setObjectName("rotacubeModelFacts")
        self.facts.setTextFormat(Qt.TextFormat.RichText)
        self.facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.facts.linkActivated.connect(self.show_details)
        layout.addWidget(self.facts)
        self.combo.currentIndexChanged.connect(self._describe)
        self.combo.activated.connect(self._remember)
        self.set_waiting(tr("appears when the backend is up"))

    def current(self) -> Optional[ModelInfo]:
        """The chosen model."""
        return self.combo.currentData()

    def set_waiting(self, why: str) -> None:
        """Show that there is nothing to choose yet, and why."""
        self.combo.clear()
        self.combo.setEnabled(False)
        self.note.setText(why)
        self.facts.hide()

    def set_models(self, models: List[ModelInfo]) -> None:
        """Offer these models; the one used last is chosen."""
        last = QgsSettings().value(LAST, "")
        self.combo.clear()
        for model in models:
            self.combo.addItem(model.title, model)
            self.combo.setItemData(self.combo.count() - 1, _details(model), Qt.ItemDataRole.ToolTipRole)
        if not models:
            self.set_waiting(tr("No model is installed. Name a folder with models in the settings."))
            return
        names = [model.name for model in models]
        self.combo.setCurrentIndex(names.index(last) if last in names else 0)
        self.combo.setEnabled(True)
        self._describe()

    def choose(self, name: str) -> None:
        """Choose a model by its name, if it is there."""
        for index in range(self.combo.count()):
            if self.combo.itemData(index).name == name:
                self.combo.setCurrentIndex(index)

    def _remember(self) -> None:
        if self.current():
            QgsSettings().setValue(LAST, self.current().name)

    def _describe(self) -> None:
        model = self.current()
        if model is None:
            return
        sought = ", ".join(item.name for item in model.classes if item.id != BACKGROUND)
        text = tr("finds {classes} · {resolution} per pixel").format(
            classes=sought, resolution=fmt.resolution(model.gsd)
        )
        self.note.setText(text)
        self.combo.setToolTip(_details(model))
        self.note.setToolTip(_details(model))
        facts = [escape(part) for part in (_quality(model), model.licence) if part]
        self.facts.setText(" · ".join([*facts, f'<a href="#details">{escape(tr("Details…"))}</a>']))
        self.facts.show()

    def show_details(self) -> None:
        """All that the model's card says, in a window from which it can be copied."""
        model = self.current()
        if model is None:
            return
        box = QMessageBox(QMessageBox.Icon.NoIcon, model.title, _details(model), parent=self)
        box.setObjectName("rotacubeModelDetails")
        box.setTextFormat(Qt.TextFormat.RichText)
        box.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()


def _quality(model: ModelInfo) -> str:
    """The overlap with the truth at each place where it was measured; else whatever was measured."""
    measured = {name[: -len("iou")].strip(): value for name, value in model.accuracy.items() if name.endswith("iou")}
    if measured:
        texts = [
            f"{fmt.number(value, 2)} ({place})" if place else fmt.number(value, 2) for place, value in measured.items()
        ]
        return "IoU " + ", ".join(texts)
    return ", ".join(f"{name} {fmt.number(value, 2)}" for name, value in list(model.accuracy.items())[:2])


def _details(model: ModelInfo) -> str:
    accuracy = ", ".join(f"{name} {fmt.number(value, 2)}" for name, value in model.accuracy.items())
    rows = [
        (tr("Network"), f"{model.architecture}, {fmt.number(model.parameters / 1e6, 1)} M"),
        (tr("Bands"), ", ".join(model.bands)),
        (tr("Trained on"), model.training_data),
        (tr("Accuracy"), accuracy),
        (tr("Licence"), model.licence),
        (tr("Attribution"), model.attribution),
    ]
    lines = "".join(f"<br>{escape(name)}: {escape(value)}" for name, value in rows if value)
    return f"<b>{escape(model.title)}</b> ({escape(model.name)}){lines}"

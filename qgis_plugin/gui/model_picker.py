"""The choice of a model: its title, what it looks for at which resolution, how good it is, and under which licence."""

from __future__ import annotations

from html import escape
from typing import Dict, List, Optional

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import QEvent, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QMessageBox, QVBoxLayout, QWidget

from ..client.schema import ModelInfo
from ..i18n import tr
from ..layers.classes import BACKGROUND
from . import format as fmt
from .labels import link, note

LAST = "rotacube/model"
_DETAILS, _TEACH = "#details", "#teach"


class ModelPicker(QWidget):
    """A combo box of models, filled once the backend is up."""

    teach_clicked = pyqtSignal()

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
        self.notice = note()
        self.notice.setObjectName("rotacubeModelNotice")
        layout.addWidget(self.notice)
        self.facts = note()
        self.facts.setObjectName("rotacubeModelFacts")
        self.facts.setTextFormat(Qt.TextFormat.RichText)
        self.facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.facts.linkActivated.connect(self._link_clicked)
        layout.addWidget(self.facts)
        self.combo.currentIndexChanged.connect(self._describe)
        self.combo.activated.connect(self._remember)
        self.set_waiting(tr("appears when the backend is up"))

    def current(self) -> Optional[ModelInfo]:
        """The chosen model."""
        return self.combo.currentData()

    def current_name(self) -> str:
        """The name of the chosen model; empty where there is none."""
        model = self.current()
        return "" if model is None else model.name

    def set_waiting(self, why: str) -> None:
        """Show that there is nothing to choose yet, and why."""
        self.combo.clear()
        self.combo.setEnabled(False)
        self.note.setText(why)
        self.notice.hide()
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

    def named(self, name: str) -> Optional[ModelInfo]:
        """The model of a name, None if it is not there."""
        models = [self.combo.itemData(index) for index in range(self.combo.count())]
        return next((model for model in models if model is not None and model.name == name), None)

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
        self.notice.setText(model.notice)
        self.notice.setVisible(bool(model.notice))
        facts = [escape(part) for part in (_quality(model), model.licence) if part]
        links = ((_DETAILS, tr("Details…")), (_TEACH, tr("Teach it…")))
        facts += [link(address, text, self) for address, text in links]
        self.facts.setText(" · ".join(facts))
        self.facts.show()

    def changeEvent(self, event) -> None:
        """Another theme has other colours for links."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._describe()

    def _link_clicked(self, address: str) -> None:
        if address == _TEACH:
            self.teach_clicked.emit()
        else:
            self.show_details()

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


def _by_metric(model: ModelInfo) -> Dict[str, Dict[str, float]]:
    """What was measured: metric, then place; the card names both, "banepa roofs f1"."""
    found: Dict[str, Dict[str, float]] = {}
    for name, value in model.accuracy.items():
        place, _, metric = name.rpartition(" ") if " " not in name else name.partition(" ")
        found.setdefault(metric, {})[place] = value
    return found


def _quality(model: ModelInfo) -> str:
    """From the worst to the best place: single roofs, then the overlap with the truth; else what was measured."""
    measured = _by_metric(model)
    shown = {name: measured[name] for name in ("roofs f1", "mean iou", "iou") if name in measured}
    texts = {"roofs f1": tr("single roofs F1 {range}"), "mean iou": tr("mean IoU {range}"), "iou": "IoU {range}"}
    return ", ".join(
        texts.get(name, name + " {range}").format(range=_range(list(values.values())))
        for name, values in (shown or dict(list(measured.items())[:2])).items()
    )


def _range(values: List[float]) -> str:
    low, high = fmt.number(min(values), 2), fmt.number(max(values), 2)
    return low if low == high else f"{low}–{high}"


def _accuracy_table(model: ModelInfo) -> str:
    """A row a metric, a column a place."""
    measured = _by_metric(model)
    places = list(dict.fromkeys(place for values in measured.values() for place in values))
    head = "".join(f"<th>&nbsp;{escape(place)}</th>" for place in places)

    def cell(place: str, metric: str) -> str:
        name = f"{place} {metric}".strip()
        lines = fmt.measured(model.accuracy, name).split(" ") if name in model.accuracy else []
        text = "<br>".join(lines).replace("–", "\u2060–\u2060")  # a line may end at a dash, but for word joiners
        return f'<td align="right">{text}</td>'

    rows = "".join(
        f"<tr><td><nobr>{escape(metric)}</nobr></td>{''.join(cell(place, metric) for place in places)}</tr>"
        for metric in measured
        if not metric.endswith((" low", " high"))  # they stand beside what they are of
    )
    title = escape(tr("Accuracy on land that it was not trained on"))
    return f"<p>{title}</p><table><tr><th></th>{head}</tr>{rows}</table>" if measured else ""


def _details(model: ModelInfo) -> str:
    rows = [
        (tr("Network"), f"{model.architecture}, {fmt.number(model.parameters / 1e6, 1)} M"),
        (tr("Bands"), ", ".join(model.bands)),
        (tr("Trained on"), model.training_data),
        (tr("Licence"), model.licence),
        (tr("Attribution"), model.attribution),
    ]
    lines = "".join(f"<br>{escape(name)}: {escape(value)}" for name, value in rows if value)
    notice = f"<br><b>{escape(model.notice)}</b>" if model.notice else ""
    return f"<b>{escape(model.title)}</b> ({escape(model.name)}){notice}{lines}{_accuracy_table(model)}"

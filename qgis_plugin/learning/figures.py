"""What the model that was taught finds on what was held out, and what the first one found there."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple

from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QHeaderView

from ..client.schema import ModelInfo
from ..gui import format as fmt
from ..gui.table import CopyTable
from ..i18n import tr

_BEFORE = " before: "  # between place and metric, in the card of a model that was taught
_SHOWN = (" iou", " roofs f1", " calibration error")


class Figure(NamedTuple):
    """A metric on a place, and both figures in words; before is None where the first model has other classes."""

    metric: str
    before: Optional[float]
    after: float
    words: Tuple[str, str]


def figures(accuracy: Dict[str, float]) -> List[Figure]:
    """Those of a card that tell whether a training helped."""
    before = {name.replace(_BEFORE, " "): value for name, value in accuracy.items() if _BEFORE in name}
    found = []
    for name, value in accuracy.items():
        if _BEFORE not in name and name.endswith(_SHOWN):
            words = fmt.measured(before, name) if name in before else "–", fmt.measured(accuracy, name)
            found.append(Figure(name, before.get(name), value, words))
    return found


class BeforeAfter(CopyTable):
    """A row a metric."""

    def __init__(self):
        super().__init__([tr("On what was held out"), tr("before"), tr("after")])
        self.setObjectName("rotacubeLearnFigures")
        self.setAccessibleName(tr("Figures before and after"))

    def show_model(self, model: ModelInfo) -> None:
        """Show what the card of a model that was taught says."""
        rows = figures(model.accuracy)
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            self.set_row(number, [row.metric, *row.words], QColor(*_verdict(row)))
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.resizeRowsToContents()


def _verdict(row: Figure):
    """Green where it helped, red where it harmed, grey where nobody knows or nothing changed."""
    gain = 0.0 if row.before is None else row.after - row.before
    gain = -gain if row.metric.endswith("error") else gain
    return (60, 150, 70) if gain > 0.005 else (200, 60, 50) if gain < -0.005 else (128, 128, 128)

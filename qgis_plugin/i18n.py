"""Translation of the plugin's texts."""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication


def tr(text: str) -> str:
    """Translate a text of the plugin; placeholders are filled afterwards with `str.format`."""
    return QCoreApplication.translate("Rotacube", text)

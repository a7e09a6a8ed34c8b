"""Translation of the plugin's texts, and the locale of its numbers: texts and numbers are in one language."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QCoreApplication, QLocale, QTranslator

SOURCE = "en"  # the language of the texts in the code

_translator: Optional[QTranslator] = None
_language = SOURCE


def tr(text: str) -> str:
    """Translate a text of the plugin; placeholders are filled afterwards with `str.format`."""
    return QCoreApplication.translate("Rotacube", text)


def locale() -> QLocale:
    """How numbers are written: as QGIS does where it speaks the language of the texts, else as that language does."""
    current = QLocale()
    wanted = QLocale(_language)
    return current if current.language() == wanted.language() else wanted


def install(folder: str) -> None:
    """Take the translation into QGIS's language from a folder of `rotacube_XX.qm`; without one texts are English."""
    global _translator, _language
    remove()
    name = QgsApplication.locale().replace("-", "_")
    for candidate in dict.fromkeys((name, name.partition("_")[0])):
        path = Path(folder) / f"rotacube_{candidate}.qm"
        translator = QTranslator()
        if path.is_file() and translator.load(str(path)):
            QCoreApplication.installTranslator(translator)
            _translator, _language = translator, candidate
            return


def remove() -> None:
    """Give the translation back."""
    global _translator, _language
    if _translator is not None:
        QCoreApplication.removeTranslator(_translator)
    _translator, _language = None, SOURCE

"""The provider "Rotacube" of Processing."""

from __future__ import annotations

from typing import List

from osgeo import ogr
from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .. import paths
from .frames import FrameFootprints, MapFrames
from .grid import TreatmentGrid
from .mapping import ExtractRooftops, MapRaster, MapSpecies
from .masks import ClassStatistics, Polygonise
from .scenes import ClassifyScenes
from .training import FineTune, ImportModel, MakeTiles

ALGORITHMS = (
    *(MapRaster, ExtractRooftops, MapSpecies, ClassifyScenes),
    *(Polygonise, ClassStatistics, TreatmentGrid),
    *(MapFrames, FrameFootprints),
    *(MakeTiles, FineTune, ImportModel),
)


class RotacubeProvider(QgsProcessingProvider):
    """Lists the algorithms."""

    def id(self) -> str:
        """What comes before the colon (QGIS calls this)."""
        return "rotacube"

    def name(self) -> str:
        """What the toolbox shows."""
        return "Rotacube"

    def icon(self) -> QIcon:
        """Beside the name."""
        return QIcon(paths.resource("icons", "rotacube.svg"))

    def versionInfo(self) -> str:
        """The plugin's version."""
        return paths.version()

    def loadAlgorithms(self) -> None:
        """Add all algorithms (QGIS calls this)."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

    def supportedOutputRasterLayerExtensions(self) -> List[str]:
        """Of masks and probabilities."""
        return ["tif"]

    def supportedOutputVectorLayerExtensions(self) -> List[str]:
        """Of polygons; those that QGIS opens afterwards."""
        return ["gpkg", "fgb", *(["parquet"] if ogr.GetDriverByName("Parquet") else [])]

    def supportedOutputTableExtensions(self) -> List[str]:
        """Of statistics."""
        return ["csv", "json"]

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:
        """Of what is temporary."""
        return "gpkg" if hasGeometry else "csv"

    def supportsNonFileBasedOutput(self) -> bool:
        """The backend writes files."""
        return False

"""The part of a layer that a map shows, where corners of boxes lead astray."""

import time

import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
    QgsReferencedRectangle,
)
from qgis_plugin.layers.area import common_part

PACIFIC, DEGREES, MERCATOR, ARCTIC = "EPSG:3832", "EPSG:4326", "EPSG:3857", "EPSG:3995"


def part(crs, extent, area_crs, area):
    origin, target = QgsCoordinateReferenceSystem(crs), QgsCoordinateReferenceSystem(area_crs)
    shown = QgsReferencedRectangle(QgsRectangle(*area), target)
    found = common_part(QgsRectangle(*extent), origin, shown, QgsProject.instance().transformContext())
    return None if found is None else (found.xMinimum(), found.yMinimum(), found.xMaximum(), found.yMaximum())


def moved(crs, to, *point):
    transform = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem(crs), QgsCoordinateReferenceSystem(to), QgsProject.instance()
    )
    there = transform.transform(QgsPointXY(*point))
    return there.x(), there.y()


def test_map_in_degrees_over_the_longitude_of_180(qgis_app):
    west, south = moved(DEGREES, PACIFIC, 178, -20)
    east, north = moved(DEGREES, PACIFIC, -178, -16)
    assert west < east
    shown = part(PACIFIC, (west, south, east, north), DEGREES, (179, -19, 181, -17))
    wanted = (*moved(DEGREES, PACIFIC, 179, -19), *moved(DEGREES, PACIFIC, -179, -17))
    assert shown == pytest.approx(wanted, abs=(east - west) / 1000)


def test_map_that_ends_at_the_longitude_of_180(qgis_app):
    west, south = moved(DEGREES, PACIFIC, 178, -20)
    east, north = moved(DEGREES, PACIFIC, -178, -16)
    shown = part(PACIFIC, (west, south, east, north), DEGREES, (170, -30, 179.999, 0))
    wanted = (west, south, moved(DEGREES, PACIFIC, 179.999, 0)[0], north)
    assert shown == pytest.approx(wanted, abs=(east - west) / 1000)


def test_map_around_a_pole(qgis_app):
    shown = part(DEGREES, (-180, 60, 180, 90), ARCTIC, (-1e6, -1e6, 1e6, 1e6))
    corner = moved(ARCTIC, DEGREES, 1e6, 1e6)[1]
    assert shown == pytest.approx((-180, corner, 180, 90), abs=0.05)


def test_layer_around_a_pole_on_a_map_in_degrees(qgis_app):
    shown = part(ARCTIC, (-1e6, -1e6, 1e6, 1e6), DEGREES, (-180, 85, 180, 90))
    reach = -moved(DEGREES, ARCTIC, 0, 85)[1]
    assert shown == pytest.approx((-reach, -reach, reach, reach), rel=2e-3)


@pytest.mark.parametrize("area", [(0, 0, 1, 1), (-179.9, -5, -179.8, 5), (90.0, 27.6, 90.1, 27.7)])
def test_map_beside_the_layer(qgis_app, area):
    assert part("EPSG:32645", (335000, 3058000, 335100, 3058100), DEGREES, area) is None


def test_map_of_a_corner_is_as_sharp_as_the_eye_and_quick(qgis_app):
    extent = (335000, 3058000, 336000, 3059000)
    x, y = moved("EPSG:32645", MERCATOR, 335900, 3058900)
    started = time.monotonic()
    shown = part("EPSG:32645", extent, MERCATOR, (x, y, x + 5000, y + 5000))
    assert time.monotonic() - started < 1
    assert shown[2:] == (336000, 3059000)
    assert 335880 < shown[0] <= 335900.1 and 3058880 < shown[1] <= 3058900.1  # the two grids are turned a little

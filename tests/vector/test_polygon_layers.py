"""Layers of polygons: in the raster's CRS, mended where that can be, every fault a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from rotacube.errors import LayerRefused
from rotacube.vector.layers import read_polygons

UTM = "EPSG:32645"
SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]


def layer(path, *features, crs=UTM, kind="Polygon"):
    """A GeoJSON of features (value, coordinates), each with the fields "kind" and "number"."""
    rows = [
        {
            "type": "Feature",
            "properties": {"kind": value, "number": None if value is None else float(number)},
            "geometry": None if points is None else {"type": kind, "coordinates": points},
        }
        for number, (value, points) in enumerate(features)
    ]
    named = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": named, "features": rows}))
    return str(path)


def test_polygons_come_in_the_wanted_crs_with_the_values_of_their_field(tmp_path):
    at = np.array(SQUARE, float) + [353000, 3060000]
    degrees = np.stack(Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(*at.T), 1)
    path = layer(tmp_path / "a.geojson", (" roof", [degrees.tolist()]), crs="EPSG:4326")
    found = read_polygons(path, UTM, "kind")
    assert found.values == ["roof"] and not found.notes
    np.testing.assert_allclose(shapely.get_coordinates(found.shapes[0]), at, atol=1e-3)
    assert read_polygons(path, UTM, "number").values == ["0"] and read_polygons(path, UTM).values == [""]


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path):
    bow = [[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]
    path = layer(tmp_path / "a.geojson", ("a", [SQUARE]), ("b", [bow]), (None, [SQUARE]), ("c", None), ("d", []))
    found = read_polygons(path, UTM, "kind")
    assert found.values == ["a", "b"] and all(shape.is_valid for shape in found.shapes)
    assert found.shapes[1].area == 8
    said = " ".join(found.notes)
    assert (
        "2 of 5 features" in said and "are empty" in said and "1 of 5 features" in said and "no value in 'kind'" in said
    )
    assert "1 of 5 polygons" in said and "cross themselves" in said


@pytest.mark.parametrize(
    ("features", "kind", "sentence"),
    [
        ([("a", [1, 2])], "Point", "holds no polygon"),
        ([("a", None)], "Polygon", "holds no polygon"),
        ([(None, [SQUARE])], "Polygon", "Nothing of .* can be used. 1 of 1 features .* have no value in 'kind'"),
    ],
)
def test_a_layer_without_polygons_is_refused(tmp_path, features, kind, sentence):
    with pytest.raises(LayerRefused, match=sentence):
        read_polygons(layer(tmp_path / "a.geojson", *features, kind=kind), UTM, "kind")


def test_what_is_no_layer_is_refused(tmp_path):
    path = layer(tmp_path / "a.geojson", ("a", [SQUARE]))
    with pytest.raises(LayerRefused, match=r"no field 'species'\. It has: kind, number"):
        read_polygons(path, UTM, "species")
    with pytest.raises(LayerRefused, match=r"no layer 'b'\. It has: a"):
        read_polygons(path + "|layername=b", UTM)
    assert len(read_polygons(path + "|layername=a", UTM).shapes) == 1
    with pytest.raises(LayerRefused, match="holds no polygon"):
        read_polygons(layer(tmp_path / "empty.geojson"), UTM)
    with pytest.raises(LayerRefused, match="no file"):
        read_polygons(str(tmp_path / "none.gpkg"), UTM)
    (tmp_path / "torn.gpkg").write_bytes(b"SQLite format 3\0" + b"\1" * 300)
    with pytest.raises(LayerRefused, match="cannot be read as a layer"):
        read_polygons(str(tmp_path / "torn.gpkg"), UTM)


def test_a_layer_without_crs_is_refused_and_one_of_several_has_to_be_named(tmp_path):
    import pyogrio

    shapes = np.array([shapely.to_wkb(shapely.box(0, 0, 5, 5))], object)
    path = str(tmp_path / "a.gpkg")
    for number, name in enumerate(("towns", "fields")):
        pyogrio.raw.write(
            path, shapes, [], [], layer=name, geometry_type="Polygon", crs=None if number else UTM, append=bool(number)
        )
    with pytest.raises(LayerRefused, match=r"has 2 layers: name one, as in '.*\|layername=towns'"):
        read_polygons(path, UTM)
    assert len(read_polygons(path + "|layername=towns", UTM).shapes) == 1
    with pytest.raises(LayerRefused, match="no coordinate reference system"):
        read_polygons(path + "|layername=fields", UTM)

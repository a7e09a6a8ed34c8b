"""Which bands are the model's, and what becomes of other colours."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from virtual import write_vrt

from rotacube.errors import RasterBands
from rotacube.raster.bands import BandFacts, choose_bands
from rotacube.raster.file_source import FileSource
from rotacube.raster.reading import Reading


def facts(descriptions=(), interpretations=None, dtypes=None):
    count = len(descriptions or interpretations)
    return BandFacts(
        tuple(dtypes or ("uint8",) * count),
        tuple(interpretations or ("undefined",) * count),
        tuple(descriptions or ("",) * count),
        {},
    )


@pytest.mark.parametrize(
    ("descriptions", "want"),
    [
        (("blue", "green", "red", "nir"), (3, 2, 1)),
        (("B2 (Blue)", "B3 (Green)", "B4 (Red)", "B5 (Red edge)"), (3, 2, 1)),
        (("Red edge", "NIR", "Green", "Blue", "Red"), (5, 3, 4)),
        (("n", "r", "g", "b"), (2, 3, 4)),
        (("red_1", "red_2", "green", "blue"), (1, 2, 3)),
        (("Layer 1", "Layer 2", "Layer 3"), (1, 2, 3)),
        (("infrared", "whatever", "third"), (1, 2, 3)),
    ],
)
def test_descriptions_say_which_band_is_which(descriptions, want, make_card):
    assert choose_bands(facts(descriptions), make_card(), None, "a").bands == want


def test_descriptions_that_differ_from_the_colours_are_told(make_card):
    colours = ("red", "green", "blue")
    choice = choose_bands(facts(("Blue", "Green", "Red"), colours), make_card(), None, "a")
    assert choice.bands == (3, 2, 1) and "3 (Red), 2 (Green), 1 (Blue)" in choice.note
    assert choose_bands(facts(("Red", "Green", "Blue"), colours), make_card(), None, "a").note is None


@pytest.mark.parametrize("given", [[1, 2], [0, 1, 2], [1, 2, 6]])
def test_given_bands_are_checked(given, make_card):
    with pytest.raises(RasterBands, match="out of 1 to 5"):
        choose_bands(facts(("",) * 5), make_card(), given, "a")


def test_printing_colours_become_red_green_and_blue(tmp_path, write_raster, make_card):
    ink = np.random.default_rng(0).integers(0, 256, (4, 30, 40), np.uint8)
    path = write_raster(tmp_path / "a.tif", ink, colours=["cyan", "magenta", "yellow", "black"])
    want = (255 - ink[:3].astype(int)) * (255 - ink[3].astype(int)) / 255
    card = make_card(normalisation={"scale": 255.0, "mean": [0.0] * 3, "std": [1.0] * 3})
    with rasterio.open(path) as file:
        assert [c.name for c in file.colorinterp][:3] == ["cyan", "magenta", "yellow"]
    with FileSource(path, card) as source:
        values, valid = source.read(source.grid.extent)
        assert "became RGB" in source.notes[0]
    assert valid.all()
    np.testing.assert_allclose(values * 255, want, atol=0.51)


@pytest.mark.parametrize("colours", [("hue", "saturation", "lightness"), ("Y", "Cb", "Cr")])
def test_other_colour_spaces_are_told(colours, make_card):
    with pytest.raises(RasterBands, match="Convert it to RGB"):
        choose_bands(facts(interpretations=colours), make_card(), None, "a")
    assert choose_bands(facts(interpretations=colours), make_card(), [1, 2, 3], "a").bands == (1, 2, 3)


def test_bands_of_several_types_are_each_read_by_their_kind(tmp_path, write_raster, make_card):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (40, 50))
    for name, kind, factor in (("a.tif", np.uint8, 1), ("b.tif", np.uint16, 9), ("c.tif", np.float32, 0.5)):
        write_raster(tmp_path / name, (image * factor).astype(kind)[None])
    bands = [("a.tif", 1, "uint8", None), ("b.tif", 1, "uint16", None), ("c.tif", 1, "float32", None)]
    path = write_vrt(tmp_path / "m.vrt", bands, image.shape)
    card = make_card(normalisation={"scale": 255.0, "mean": [0.0] * 3, "std": [1.0] * 3})
    low, high = np.percentile(image, (2, 98))
    with FileSource(path, card) as source:
        values, _ = source.read(source.grid.extent)
    np.testing.assert_allclose(values[0], image / 255, atol=1e-6)
    np.testing.assert_allclose(values[1], np.clip((image - low) / (high - low), 0, 1), atol=1e-5)
    np.testing.assert_allclose(values[2], values[1], atol=1e-5)


def test_opacity_and_nodata_of_a_band_that_is_not_there_are_told(tmp_path, write_raster, make_card):
    path = write_raster(tmp_path / "a.tif", np.ones((3, 30, 30), np.uint8))
    with pytest.raises(RasterBands, match="bands 1 to 3"):
        FileSource(path, make_card(), Reading(alpha_band=4))

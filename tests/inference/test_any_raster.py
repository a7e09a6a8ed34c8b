"""Whatever the raster is like: a map of it, or a sentence; where it lies, what has no data, and its parts hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from rotacube.errors import RotacubeError
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.models.store import LoadedModel
from rotacube.raster.reading import Reading

NODATA = 255
CORNERS = {"EPSG:32645": (353000, 3060000), "EPSG:3857": (9500000, 3200000), "EPSG:4326": (85.5, 27.6)}


class Brightness(torch.nn.Module):
    """A logit of a pixel and its neighbours."""

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x.mean(1, keepdim=True), 3, 1, 1) * 8


@pytest.fixture(scope="module")
def model(make_card):
    return LoadedModel(make_card(), Brightness().eval(), Path())


@st.composite
def rasters(draw):
    """Pixels (3, H, W), CRS, transform, and the nodata that is declared; a block, a row and a few pixels have none."""
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    dtype = draw(st.sampled_from(["uint8", "uint16", "int16", "float32", "float64"]))
    nodata = draw(st.sampled_from([None, 0, 7, 200]))
    crs = draw(st.sampled_from(sorted(CORNERS)))
    metres = draw(st.floats(0.06, 0.4)), draw(st.floats(0.8, 1.25))
    turn = draw(st.sampled_from([0.0, 0.0, 30.0]))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    pixels = random.integers(8, 190, (3, height, width)).astype(dtype)
    if nodata is not None:
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        pixels[:, top : top + draw(st.integers(1, 60)), left : left + draw(st.integers(1, 60))] = nodata
        pixels[:, random.random((height, width)) < 0.003] = nodata
    unit = 1 / 111_320 if crs == "EPSG:4326" else 1.0
    size = metres[0] * unit, metres[0] * metres[1] * unit
    place = Affine(size[0], 0, CORNERS[crs][0], 0, -size[1], CORNERS[crs][1]) * Affine.rotation(turn)
    return pixels, crs, place, nodata


def written(path, pixels, crs, place, nodata):
    shape = {"count": 3, "height": pixels.shape[1], "width": pixels.shape[2], "dtype": pixels.dtype}
    with rasterio.open(path, "w", "GTiff", crs=crs, transform=place, nodata=nodata, **shape) as file:
        file.write(pixels)
    return str(path)


def mapped(raster, output, model, cpu, **more):
    """The mask, its transform and CRS; None where a sentence says why there is none."""
    reading = Reading(any_resolution=True)
    request = MapRequest(raster, "none", (Product("mask", output),), reading=reading, **more)
    try:
        run_map(request, model, place=cpu)
    except RotacubeError as error:
        assert error.message.endswith(".") and list(output.parent.glob("*mask*")) == []
        return None
    with rasterio.open(output) as file:
        return file.read(1), file.transform, file.crs


@given(st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_map_or_a_sentence(model, cpu, data):
    pixels, crs, place, nodata = data.draw(rasters())
    grid = data.draw(st.sampled_from(["model", "source"]))
    valid = np.ones(pixels.shape[1:], bool) if nodata is None else (pixels != nodata).all(0)
    with tempfile.TemporaryDirectory() as folder:
        raster = written(Path(folder, "raster.tif"), pixels, crs, place, nodata)
        made = mapped(raster, Path(folder, "mask.tif"), model, cpu, grid=grid)
        if made is None:
            assert min(valid.shape) < 2 or not valid.any() or valid.sum() < 4
            return
        mask, transform, found_crs = made
        assert found_crs == rasterio.CRS.from_user_input(crs)
        assert set(np.unique(mask)) <= {0, 1, NODATA}
        extents_are_right(mask, transform, valid.shape, place, crs, grid, model.card.gsd)
        nodata_is_nodata(mask, transform, valid, place)
        assert grid == "model" or (mask[~valid] == NODATA).all()
        a_part_is_the_crop(raster, made, Path(folder), model, cpu, grid, data)


def extents_are_right(mask, transform, shape, place, crs, grid, gsd):
    """The map begins where the raster does, and ends within half a pixel of it; a pixel has the size that was asked."""
    if grid == "source" or mask.shape == shape:
        assert transform.almost_equals(place, 1e-9)
        assert grid == "model" or mask.shape == shape
    else:
        end = ~place * (transform * (mask.shape[1], mask.shape[0]))
        one = ~place * (transform * (1, 1))
        assert ~place * (transform * (0, 0)) == pytest.approx((0, 0), abs=1e-3)
        assert max(abs(end[0] - shape[1]) / one[0], abs(end[1] - shape[0]) / one[1]) <= 1.001 or 1 in mask.shape
        lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        middle = mask.shape[1] / 2, mask.shape[0] / 2
        ends = [lonlat.transform(*(transform * (middle[0] + step, middle[1]))) for step in (-0.5, 0.5)]
        assert Geod(ellps="WGS84").inv(*ends[0], *ends[1])[2] == pytest.approx(gsd, rel=0.021)


def nodata_is_nodata(mask, transform, valid, place):
    """A pixel of the map whose middle lies amid nodata has none; one amid data has a class."""
    rows, columns = np.indices(mask.shape) + 0.5
    across, down = ~place * (transform * (columns.ravel(), rows.ravel()))
    step = ~place * (transform * (1, 1))
    reach = [int(np.ceil(max(1.0, abs(s - o)))) for s, o in zip(step, ~place * (transform * (0, 0)), strict=True)]
    around = np.pad(valid, [(reach[1] + 1,) * 2, (reach[0] + 1,) * 2], mode="edge").astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(around, (2 * reach[1] + 3, 2 * reach[0] + 3))
    row = np.clip(np.floor(down).astype(int), 0, valid.shape[0] - 1)
    column = np.clip(np.floor(across).astype(int), 0, valid.shape[1] - 1)
    near = windows[row, column]
    found = mask.ravel() != NODATA
    assert not found[(near == 0).all((1, 2))].any()
    assert found[(near == 1).all((1, 2))].all()


def a_part_is_the_crop(raster, whole, folder, model, cpu, grid, data):
    mask, transform, _ = whole
    if transform.b or min(mask.shape) < 3:
        return
    top, left = data.draw(st.integers(0, mask.shape[0] - 2)), data.draw(st.integers(0, mask.shape[1] - 2))
    bottom, right = data.draw(st.integers(top + 1, mask.shape[0])), data.draw(st.integers(left + 1, mask.shape[1]))
    west, north = transform * (left + 0.3, top + 0.3)
    east, south = transform * (right - 0.3, bottom - 0.3)
    (folder / "part").mkdir()
    part = mapped(raster, folder / "part" / "mask.tif", model, cpu, grid=grid, bounds=(west, south, east, north))
    crop = mask[top:bottom, left:right]
    if part is None:
        assert (crop == NODATA).all()
        return
    np.testing.assert_array_equal(part[0], crop)
    assert part[1].almost_equals(transform * Affine.translation(left, top), 1e-9)

"""Empty land is not read, and nothing that holds data is taken for empty."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window
from virtual import write_vrt

from rotacube.raster.coverage import Coverage
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import Box
from rotacube.raster.pixels import Pixels

SIZE = (700, 900)
DATA = Box(300, 410, 390, 520)


@pytest.fixture
def reads(monkeypatch):
    """Boxes that are read."""
    found, read = [], Pixels.read

    def note(self, box):
        found.append(box)
        return read(self, box)

    monkeypatch.setattr(Pixels, "read", note)
    return found


def sparse(path, dtype="uint8", interleave="pixel", bands=3, **profile):
    image = np.random.default_rng(0).integers(1, 255, (bands, DATA.height, DATA.width)).astype(dtype)
    shape = {"count": bands, "height": SIZE[0], "width": SIZE[1], "dtype": dtype}
    where = {"crs": "EPSG:32645", "transform": rasterio.Affine(0.15, 0, 353000, 0, -0.15, 3060000)}
    blocks = {"tiled": True, "blockxsize": 64, "blockysize": 64, "SPARSE_OK": True, "interleave": interleave}
    with rasterio.open(path, "w", "GTiff", **shape, **where, **blocks, **profile) as file:
        file.write(image, window=Window(DATA.left, DATA.top, DATA.width, DATA.height))
    return str(path), image


def windows(source):
    for top in range(0, source.height, 100):
        for left in range(0, source.width, 100):
            yield Box(top, left, top + 100, left + 100)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_blocks_that_were_never_written_are_not_read(interleave, tmp_path, make_card, reads):
    path, image = sparse(tmp_path / "a.tif", nodata=0, interleave=interleave)
    card = make_card(normalisation={"scale": 255.0, "mean": [0.0] * 3, "std": [1.0] * 3})
    with FileSource(path, card) as source:
        parts = {box: source.read(box) for box in windows(source)}
        assert 0 < len(reads) <= 9
        _, valid = source.read(source.grid.extent)
    assert valid.sum() == image[0].size
    for box, (values, seen) in parts.items():
        inside = box & DATA
        assert seen.sum() == (0 if inside.empty else inside.height * inside.width)
        if not inside.empty:
            want = image[(slice(None), *inside.within(DATA))] / 255
            np.testing.assert_allclose(values[(slice(None), *inside.within(box))], want, atol=1e-6)


def test_without_nodata_what_was_never_written_is_black_and_valid(tmp_path, make_card):
    path, _ = sparse(tmp_path / "a.tif")
    with FileSource(path, make_card()) as source:
        assert source.read(source.grid.extent)[1].all()


def test_one_band_that_was_written_is_enough_to_be_read(tmp_path):
    path, image = sparse(tmp_path / "a.tif", nodata=0, interleave="band")
    with rasterio.open(path, "r+") as file:
        file.write(image[:1, :64, :64], [1], window=Window(0, 0, 64, 64))
    with rasterio.open(path) as file:
        assert Coverage(file, [1]).may_hold(Box(0, 0, 10, 10))
        assert not Coverage(file, [1, 2]).may_hold(Box(0, 0, 10, 10)), "valid is where every band is"
        assert not Coverage(file, [2]).may_hold(Box(0, 0, 10, 10))


def test_opacity_that_was_never_written_hides(tmp_path, make_card, reads):
    path, _ = sparse(tmp_path / "a.tif", bands=4)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [rasterio.enums.ColorInterp[c] for c in ("red", "green", "blue", "alpha")]
    with FileSource(path, make_card()) as source:
        for box in windows(source):
            source.read(box)
    assert len(reads) <= 9


@pytest.mark.parametrize("nodata", [0, None])
def test_gaps_of_a_mosaic_are_not_read_where_they_mean_nodata(nodata, tmp_path, write_raster, make_card, reads):
    write_raster(tmp_path / "part.tif", np.full((3, 90, 110), 70, np.uint8))
    path = write_vrt(tmp_path / "a.vrt", [("part.tif", n, "uint8", nodata) for n in (1, 2, 3)], SIZE)
    text = (tmp_path / "a.vrt").read_text()
    whole = f'xOff="0" yOff="0" xSize="{SIZE[1]}" ySize="{SIZE[0]}"'
    text = text.replace(f"<SrcRect {whole}/>", '<SrcRect xOff="0" yOff="0" xSize="110" ySize="90"/>')
    text = text.replace(f"<DstRect {whole}/>", '<DstRect xOff="410.2" yOff="300" xSize="110" ySize="90"/>')
    (tmp_path / "a.vrt").write_text(text)
    with FileSource(path, make_card()) as source:
        seen = sum(int(source.read(box)[1].sum()) for box in windows(source))
    boxes = len(list(range(0, SIZE[0], 100))) * len(list(range(0, SIZE[1], 100)))
    if nodata is None:
        assert seen == SIZE[0] * SIZE[1] and len(reads) == boxes
    else:
        assert abs(seen - 90 * 110) <= 90 and len(reads) <= 9

"""The labelled sets: split by place, and read with every fault named."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
import rasterio
import torch

from rotacube.errors import DatasetDamaged, OptionsRefused
from rotacube.training.datasets.areas import SPLITS, Area, Faults, data_root, resize, single_roofs, web_gsd, web_tile
from rotacube.training.datasets.folder import folder_areas
from rotacube.training.datasets.plants import PLANTS
from rotacube.training.datasets.rooftops import ROOFTOPS, drawn_areas, unlabelled_areas
from rotacube.training.datasets.sets import SETS, read_set, sets_at

ROOF = ["background", "roof"]


def blocks(area: Area, size: int) -> set[str]:
    """Fingerprints of an area's tiles that hold data."""
    found = set()
    for top in range(0, area.valid.shape[0], size):
        for left in range(0, area.valid.shape[1], size):
            window = np.s_[top : top + size, left : left + size]
            if area.valid[window].any():
                found.add(hashlib.sha256(area.image[(slice(None), *window)].tobytes()).hexdigest())
    return found


@pytest.mark.parametrize(("place", "zoom", "size"), [("kampala", 21, 256), ("banepa", 19, 512)])
def test_splits_are_whole_columns_west_to_east_and_share_no_tile(place, zoom, size, data_root):
    columns, content = {}, {}
    for path in (data_root / "rooftop" / place / "images").iterdir():
        match = re.fullmatch(r"OAM-(\d+)-(\d+)-(\d+)\.(png|tif)", path.name)
        if match and int(match[3]) == zoom:
            with rasterio.open(path) as file:
                bands = file.read()
            columns.setdefault(int(match[1]), []).append(path)
            content[hashlib.sha256(bands[:3].tobytes()).hexdigest()] = int(match[1])
    fifth = round(len(columns) / 5)
    order = sorted(columns)
    want = {"train": order[: -2 * fifth], "validation": order[-2 * fifth : -fifth], "test": order[-fifth:]}
    for split in SPLITS:
        found = {
            content[block]
            for area in read_set(data_root, place, split, classes=ROOF)
            for block in blocks(area, size)
            if block in content
        }
        assert found == set(want[split])
    assert want["validation"] and want["test"] and max(want["train"]) < min(want["validation"])


@pytest.mark.parametrize("name", [name for name in ROOFTOPS if name not in ("south_tyrol", "enschede")])
def test_no_tile_of_a_set_lies_in_two_splits_and_labels_fit(name, data_root):
    seen = {}
    for split in SPLITS:
        for area in read_set(data_root, name, split, classes=ROOF):
            assert area.image.shape[1:] == area.roof.shape == area.valid.shape == area.ids.shape
            assert 0.05 < area.gsd < 0.5 and area.valid.any()
            assert not area.ids[~area.roof].any(), "a numbered pixel is roof"
            assert area.certain.sum() > 0.3 * area.valid.sum(), "most of what is known is also known roof by roof"
            print_ = hashlib.sha256(area.image.tobytes()).hexdigest()
            assert seen.setdefault(print_, split) == split
    assert set(seen.values()) == set(SPLITS)


@pytest.mark.parametrize("name", PLANTS)
def test_plants_are_numbered_as_the_model_numbers_them_and_no_tile_lies_in_two_splits(name, data_root):
    own = SETS[name].classes
    wanted, seen = ["nothing", *reversed(own)], {}
    for split in SPLITS:
        plain = read_set(data_root, name, split, classes=own)
        for area, other in zip(plain, read_set(data_root, name, split, classes=wanted), strict=True):
            assert area.labels.shape == area.valid.shape == area.image.shape[1:] and not area.ids.any()
            np.testing.assert_array_equal(other.labels, len(own) - area.labels)
            print_ = hashlib.sha256(area.image.tobytes()).hexdigest()
            assert seen.setdefault(print_, split) == split
        assert {value for area in plain for value in np.unique(area.labels)} == set(range(len(own)))
    assert set(seen.values()) == set(SPLITS)


def test_a_set_has_to_have_the_models_classes(data_root):
    with pytest.raises(OptionsRefused, match="the class 'peanut'; the model has soil, potato, weed"):
        read_set(data_root, "peanut", "test", classes=["soil", "potato", "weed"])
    assert sets_at(data_root, ["soil", "potato", "weed"]) == ["potato"]
    assert "all_negatives" not in sets_at(data_root, ROOF) and "peanut" not in sets_at(data_root, ROOF)


def test_a_mask_of_classes_is_unknown_where_it_is_255(folder):
    mask = np.zeros((40, 48), np.uint8)
    mask[8:20, 10:30], mask[:4] = 2, 255
    write(folder / "masks" / "a.tif", mask)
    area = next(folder_areas(folder, 0.2, Faults(), 3))
    assert (area.labels == 2).sum() == 240 and not area.valid[:4].any() and area.valid[4:].all()
    with pytest.raises(DatasetDamaged, match=r"holds the value 2; classes are 0 to 1, 255 is unknown"):
        next(folder_areas(folder, 0.2, Faults(), 2))


def test_unlabelled_imagery_says_that_it_is(data_root):
    areas = unlabelled_areas(data_root, "banepa", Faults())
    assert len(areas) == 16 and not any(area.labelled for area in areas)
    assert all(0.12 < area.gsd < 0.14 for area in areas)
    assert unlabelled_areas(data_root, "dhaka", Faults()) == []


def test_drawn_scenes_are_areas_with_single_roofs():
    areas = list(drawn_areas(2, 128, 0.3, seed=5))
    assert [area.name for area in areas] == ["drawn", "drawn"]
    assert all(area.certain[area.valid].all() for area in areas)


def test_names_that_are_none_are_refused(tmp_path):
    with pytest.raises(OptionsRefused, match=r"no set 'nowhere'\. There are: kampala"):
        read_set(tmp_path, "nowhere", "train", classes=ROOF)
    with pytest.raises(OptionsRefused, match="no split 'all'"):
        read_set(tmp_path, "kampala", "all", classes=ROOF)
    with pytest.raises(DatasetDamaged, match=r"no folder .*kampala"):
        read_set(tmp_path, "kampala", "train", classes=ROOF)


def test_web_tiles_know_their_size_on_the_ground():
    assert web_tile("OAM-386697-220243-19") == (386697, 220243, 19) and web_tile("tile-1-2-3") is None
    assert web_gsd(0, 0.5, 256) == pytest.approx(156543.03, abs=0.01)
    assert web_gsd(19, 220243.5, 512) == pytest.approx(0.132, abs=0.001)


def test_pieces_of_a_mask_are_roofs_where_they_are_neither_large_nor_ragged():
    roof = np.zeros((120, 120), bool)
    roof[5:25, 5:30] = True  # a house
    roof[40:110, 5:75] = True  # 1102 m2 at 0.15 m: several
    roof[5:9, 50:110] = roof[9:60, 106:110] = True  # an L as thin as a wall
    ids = single_roofs(roof, 0.475)
    assert ids[10, 10] > 0 and ids[60, 20] == 0 and ids[6, 60] == 0 and not ids[~roof].any()


# Folders of anybody's tiles: each fault is a sentence, and skipped where that was asked for.


def write(path, bands, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = np.atleast_3d(bands) if bands.ndim == 3 else bands[None]
    profile = {"driver": "GTiff", "height": bands.shape[1], "width": bands.shape[2], "count": len(bands)}
    with rasterio.open(path, "w", dtype=bands.dtype, **profile, **more) as target:
        target.write(bands)


@pytest.fixture
def folder(tmp_path):
    """Three good tiles of 40 x 48 pixels, each with one roof."""
    mask = np.zeros((40, 48), np.uint8)
    mask[8:20, 10:30] = 255
    for name in "abc":
        write(tmp_path / "town" / "images" / f"{name}.tif", np.full((3, 40, 48), 90, np.uint8))
        write(tmp_path / "town" / "masks" / f"{name}.tif", mask)
    return tmp_path / "town"


def test_a_folder_is_read(folder):
    areas = list(folder_areas(folder, 0.2, Faults()))
    assert len(areas) == 3 and {area.name for area in areas} == {"town"} and areas[0].gsd == 0.2
    assert areas[0].roof.sum() == 240 and areas[0].ids.max() == 1
    numbers = np.zeros((40, 48), np.uint16)
    numbers[8:20, 10:20], numbers[8:20, 20:30] = 7, 300
    for name in "abc":
        write(folder / "instances" / f"{name}.tif", numbers)
    assert np.unique(next(folder_areas(folder, 0.2, Faults())).ids).tolist() == [0, 7, 300]


def test_outlines_tell_roofs_apart_and_the_georeference_says_how_large_a_pixel_is(folder):
    lies = {"crs": "EPSG:32645", "transform": rasterio.transform.from_origin(353000, 3060000, 0.3, 0.3)}
    square = [[[353003, 3059997.6], [353006, 3059997.6], [353006, 3059994], [353003, 3059994], [353003, 3059997.6]]]
    right = [[[x + 3, y] for x, y in square[0]]]
    (folder / "roofs.geojson").write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32645"}},
                "features": [
                    {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": rings}}
                    for rings in (square, right)
                ],
            }
        )
    )
    for name in "abc":
        write(folder / "images" / f"{name}.tif", np.full((3, 40, 48), 90, np.uint8), **lies)
    area = next(folder_areas(folder, None, Faults()))
    assert area.gsd == pytest.approx(0.3, rel=1e-3)
    assert area.ids[10, 12] == 1 and area.ids[10, 22] == 2 and area.ids.max() == 2
    (folder / "roofs.geojson").write_text("{}")
    with pytest.raises(DatasetDamaged, match=r"outlines .* no GeoJSON"):
        next(folder_areas(folder, None, Faults()))


def spoil(folder, kind):
    """One fault in a folder; the sentence that names it."""
    image, mask = folder / "images" / "b.tif", folder / "masks" / "b.tif"
    if kind == "missing mask":
        mask.unlink()
        return r"masks/b\.\* is missing|masks/b.*missing"
    if kind == "size":
        write(mask, np.zeros((40, 47), np.uint8))
        return "47 x 40 pixels, its image 48 x 40"
    if kind == "label":
        write(mask, np.full((40, 48), 3, np.uint8))
        return "holds the value 3"
    if kind == "bands":
        write(image, np.zeros((2, 40, 48), np.uint8))
        return "three bands of 8 bits"
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    return "b.tif' cannot be read"


@pytest.mark.parametrize("kind", ["missing mask", "size", "label", "bands", "truncated"])
def test_a_damaged_tile_is_named_and_refused_or_counted_and_skipped(folder, kind):
    sentence = spoil(folder, kind)
    with pytest.raises(DatasetDamaged, match=sentence):
        list(folder_areas(folder, 0.2, Faults()))
    faults = Faults(skip=True)
    assert len(list(folder_areas(folder, 0.2, faults))) == 2
    assert faults.sentence().startswith("1 tiles were left out; the first: ")


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_an_empty_folder_is_refused(folder, missing):
    for path in (folder / missing).iterdir():
        path.unlink()
    with pytest.raises(DatasetDamaged, match=f"{missing}' holds no image"):
        list(folder_areas(folder, 0.2, Faults(skip=True)))
    (folder / missing).rmdir()
    with pytest.raises(DatasetDamaged, match=f"no folder .*{missing}"):
        list(folder_areas(folder, 0.2, Faults(skip=True)))


def test_without_a_georeference_a_size_of_pixels_is_asked_for(folder):
    with pytest.raises(OptionsRefused, match="--gsd METRES"):
        list(folder_areas(folder, None, Faults()))


def test_shrinking_averages():
    checkers = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    small = resize(checkers[None].float(), (16, 16))
    assert small.shape == (1, 16, 16)
    torch.testing.assert_close(small[:, 2:-2, 2:-2], torch.full((1, 12, 12), 0.5), atol=0.05, rtol=0)


def test_the_data_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("ROTACUBE_DATA", str(tmp_path))
    assert data_root() is None
    (tmp_path / "rooftop").mkdir()
    assert data_root() == tmp_path

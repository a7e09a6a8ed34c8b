"""The rooftop data: split by place, crops that are the same for the same number, nodata left out."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
import rasterio
import torch

from rotacube.training.data import Area, RoofCrops, data_root, resize, rooftop_areas

SPLITS = ("train", "validation", "test")


def blocks(area: Area, size: int) -> set[str]:
    """Fingerprints of an area's tiles that hold data."""
    found = set()
    for top in range(0, area.valid.shape[0], size):
        for left in range(0, area.valid.shape[1], size):
            window = np.s_[top : top + size, left : left + size]
            if area.valid[window].any():
                found.add(hashlib.sha256(area.image[(slice(None), *window)].tobytes()).hexdigest())
    return found


@pytest.fixture(scope="module")
def areas(data_root):
    return {split: rooftop_areas(data_root, split) for split in SPLITS}


@pytest.mark.parametrize(("place", "zoom", "size"), [("kampala", 21, 256), ("banepa", 19, 512)])
def test_splits_are_whole_columns_west_to_east_and_share_no_tile(place, zoom, size, areas, data_root):
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
        own = [area for area in areas[split] if area.name == place]
        found = {content[block] for area in own for block in blocks(area, size) if block in content}
        assert found == set(want[split])
    assert want["validation"] and want["test"] and max(want["train"]) < min(want["validation"])


@pytest.mark.parametrize("split", SPLITS)
def test_areas_have_labels_where_there_is_data_and_a_plausible_resolution(split, areas):
    for area in areas[split]:
        assert area.image.shape[1:] == area.roof.shape == area.valid.shape
        assert 0.05 < area.gsd < 0.2
        assert area.valid.any() and 0.1 < area.roof[area.valid].mean() < 0.7


def an_area(name="here", seed=0, gsd=0.15):
    """An area of which the left third has no data, all of that labelled as roof."""
    rng = np.random.default_rng(seed)
    valid = np.ones((200, 240), bool)
    valid[:, :80] = False
    roof = ~valid
    return Area(name, rng.integers(0, 256, (3, 200, 240), np.uint8), roof, valid, gsd)


def test_a_crop_is_the_same_whoever_draws_it_and_in_whatever_order():
    crops, others = (RoofCrops([(an_area(), 1.0), (an_area(seed=1), 2.0)], 8, 64, 0.15, seed=3) for _ in range(2))
    first = [crops[index] for index in range(8)]
    for index in reversed(range(8)):
        for a, b in zip(first[index], others[index], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not torch.equal(first[0][0], first[1][0])
    other = RoofCrops([(an_area(), 1.0)], 8, 64, 0.15, seed=4)
    assert not torch.equal(other[0][0], first[0][0])


def test_crops_have_shapes_and_ranges_that_a_network_takes():
    crops = RoofCrops([(an_area(), 1.0)], 12, 96, 0.15)
    assert len(crops) == 12
    for image, roof, valid in (crops[index] for index in range(12)):
        assert image.shape == (3, 96, 96) and roof.shape == valid.shape == (1, 96, 96)
        assert image.dtype == roof.dtype == valid.dtype == torch.float32
        assert image.min() >= 0 and image.max() <= 1
        assert set(torch.unique(roof).tolist()) | set(torch.unique(valid).tolist()) <= {0.0, 1.0}


def test_pixels_without_data_count_neither_as_roof_nor_as_ground():
    crops = RoofCrops([(an_area(), 1.0)], 40, 64, 0.15)
    shares = []
    for _, roof, valid in (crops[index] for index in range(40)):
        assert not (roof * valid).any(), "only what has no data is labelled in this area"
        shares.append(float(valid.mean()))
    assert min(shares) < 0.9 and max(shares) == 1.0


def test_crops_have_the_models_resolution_whatever_the_areas():
    """Stripes of 3 m stay about 20 pixels wide at 0.15 m, from an area of 0.05 m as from one of 0.3 m."""
    widths = []
    for gsd in (0.05, 0.3):
        period = round(6 / gsd)
        stripes = (np.arange(900) % period) < period // 2
        roof = np.broadcast_to(stripes, (900, 900)).copy()
        area = Area("stripes", np.zeros((3, 900, 900), np.uint8), roof, np.ones((900, 900), bool), gsd)
        crops = RoofCrops([(area, 1.0)], 12, 128, 0.15)
        for _, roof, _ in (crops[index] for index in range(12)):
            steps = max(roof[0].diff(dim=d).abs().sum(d).mean() for d in (0, 1))
            widths.append(128 / float(steps))
    assert all(20 / 1.5 * 0.8 < width < 20 / 0.7 * 1.3 for width in widths)


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

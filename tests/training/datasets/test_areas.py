"""The rooftop data: split by place."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
import rasterio
import torch

from rotacube.training.datasets.areas import Area, data_root, resize, rooftop_areas

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

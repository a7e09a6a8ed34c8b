"""Mask R-CNN as a rival: what it learns from, and that windows make whole roofs."""

from __future__ import annotations

import numpy as np
import torch
from test_fit import a_recipe

from rotacube.networks.mask_rcnn import MaskRCNN, Objects
from rotacube.training import data
from rotacube.training import rival as module
from rotacube.training.data import CropData
from rotacube.training.datasets.areas import Area
from rotacube.training.fit import LAST, carry_out, read_losses
from rotacube.training.rival import RivalTask, measured, objects_of


class Seeing:
    """Finds red rectangles, as boxes with full masks; those cut by its window too."""

    def __call__(self, images):
        from skimage.measure import label, regionprops

        parts = regionprops(label((images[0, 0] > 0.5).numpy()))
        boxes = torch.tensor([[p.bbox[1], p.bbox[0], p.bbox[3], p.bbox[2]] for p in parts]).float().reshape(-1, 4)
        return [Objects(boxes, torch.ones(len(boxes)), torch.ones(len(boxes), 28, 28))]


def a_street():
    """Houses of 40 x 30 pixels all over 300 x 420 pixels, one of them in pixels of which nobody knows anything."""
    ids = np.zeros((300, 420), np.int32)
    corners = [(top, left) for top in range(5, 260, 45) for left in range(7, 370, 55)]
    for number, (top, left) in enumerate(corners):
        ids[top : top + 30, left : left + 40] = number + 1
    valid = np.ones(ids.shape, bool)
    valid[:40, :50] = False
    image = np.where(np.arange(3)[:, None, None] == 0, (ids > 0) * 250, 10).astype(np.uint8)
    return Area("street", image, (ids > 0).astype(np.uint8), ids, valid, 0.15)


def test_houses_at_the_edges_of_windows_are_found_once_and_whole(monkeypatch):
    monkeypatch.setattr(module, "SIDE", 160)
    monkeypatch.setattr(module, "OVERLAP", 96)
    recipe = a_recipe(gsd=0.15, normalisation={"scale": 255, "mean": [0, 0, 0], "std": [1, 1, 1]})
    area = a_street()
    counts = measured(Seeing(), [area], recipe)
    houses = int(area.ids.max()) - 1
    assert (counts.truth, counts.found, counts.matched) == (houses, houses, houses)


def test_boxes_hold_their_masks_and_slivers_are_none():
    ids = torch.zeros(40, 50)
    ids[3:20, 10:30], ids[25:40, 2:9], ids[0, :3] = 5, 7, 9
    boxes, masks = objects_of(ids)
    assert boxes.tolist() == [[10, 3, 30, 20], [2, 25, 9, 40]]
    assert torch.equal(masks[0], (ids == 5).float()) and torch.equal(masks[1], (ids == 7).float())
    boxes, masks = objects_of(ids * 0)
    assert boxes.shape == (0, 4) and masks.shape == (0, 40, 50)


def test_it_trains_on_the_crops_of_a_recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DRAWN_SIDE", 160)
    recipe = a_recipe(schedule={"steps": 4})
    network = MaskRCNN(3, backbone="lite", width=8, hidden=16)
    carry_out(
        RivalTask(network, recipe.schedule),
        recipe.schedule,
        tmp_path / "run",
        lambda done: CropData(tmp_path, recipe, done, ids=True),
        precision=recipe.precision,
        progress=False,
    )
    assert (tmp_path / "run" / LAST).is_file()
    rows = read_losses(tmp_path / "run")
    assert {"loss/objectness", "loss/draw"} <= rows[0].keys() and np.isfinite([row["loss"] for row in rows]).all()

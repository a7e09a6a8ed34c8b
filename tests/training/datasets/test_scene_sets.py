"""Scenes: read whole or refused in a sentence, split in five folds, and learned."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import torch

from rotacube.errors import DatasetDamaged, OptionsRefused
from rotacube.training.datasets import scenes as module
from rotacube.training.datasets.scenes import SceneCrops, Scenes, SceneSet, read_scenes
from rotacube.training.recipe import IMAGENET, Schedule
from rotacube.training.scenes import train_fold


def some_scenes(each=10, side=64):
    """Three classes, each in a colour of its own."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), each)
    colours = np.where(np.arange(3) == labels[:, None], 200, 40)[:, :, None, None]
    images = (colours + rng.integers(0, 40, (3 * each, 3, side, side))).astype(np.uint8)
    return Scenes(images, labels, ("a", "b", "c"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three classes of four images of 40 x 40 pixels; one lacks a column, as in UC-Merced."""
    monkeypatch.setitem(module.SCENES, "rsscn7", SceneSet("scenes", 3, 4, 40))
    for name in "abc":
        (tmp_path / "scenes" / name).mkdir(parents=True)
        for number in range(4):
            width = 39 if (name, number) == ("b", 2) else 40
            profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": 40, "width": width}
            with rasterio.open(tmp_path / "scenes" / name / f"{number}.tif", "w", **profile) as target:
                target.write(np.full((3, 40, width), 50 * number, np.uint8))
    return tmp_path


def test_scenes_are_read_class_by_class(folder):
    scenes = read_scenes(folder, "rsscn7")
    assert scenes.images.shape == (12, 3, 40, 40) and scenes.classes == ("a", "b", "c")
    assert scenes.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (scenes.images[6] == 100).all(), "the narrow one is brought to the size of the others"


def test_what_is_not_whole_is_refused(folder):
    with pytest.raises(OptionsRefused, match=r"no set of scenes 'nothing'\. There are: rsscn7, uc-merced"):
        read_scenes(folder, "nothing")
    with pytest.raises(DatasetDamaged, match="has 0 folders, one a class; 'uc-merced' has 21"):
        read_scenes(folder, "uc-merced")
    (folder / "scenes" / "b" / "1.tif").write_bytes(b"II*")
    with pytest.raises(DatasetDamaged, match=r"1\.tif' cannot be read"):
        read_scenes(folder, "rsscn7")
    (folder / "scenes" / "b" / "1.tif").unlink()
    with pytest.raises(DatasetDamaged, match="has 3 images; each class of 'rsscn7' has 4"):
        read_scenes(folder, "rsscn7")


def test_each_scene_is_test_in_one_of_five_folds_and_classes_are_even():
    scenes = some_scenes()
    held = []
    for number in range(5):
        train, test = scenes.fold(number)
        assert not set(train) & set(test) and len(train) + len(test) == 30
        assert np.bincount(scenes.labels[test]).tolist() == [2, 2, 2]
        held += test.tolist()
    assert sorted(held) == list(range(30))


def test_crops_are_the_same_for_the_same_number_and_of_what_teaches():
    scenes = some_scenes()
    train, test = scenes.fold(0)
    crops, later = (SceneCrops(scenes, train, 50, IMAGENET, 3, first) for first in (0, 20))
    torch.testing.assert_close(crops[25]["image"], later[5]["image"], rtol=0, atol=0)
    plain = SceneCrops(scenes, test[:1], 5, IMAGENET)
    assert {int(plain[index]["label"]) for index in range(5)} == {int(scenes.labels[test[0]])}


def test_a_classifier_learns_the_folds(tmp_path):
    schedule = Schedule(steps=30, rate=1e-3, average=0.5, warm_up=0.2)
    found = train_fold("alexnet", {"width": 0.0625}, some_scenes(), 1, schedule, tmp_path, "32-true")
    assert found["accuracy"] > 0.8 and found["parameters"] > 1000


def test_the_projects_scenes_are_whole(data_root):
    scenes = read_scenes(data_root, "rsscn7")
    assert len(scenes.images) == 2800 and np.bincount(scenes.labels).tolist() == [400] * 7

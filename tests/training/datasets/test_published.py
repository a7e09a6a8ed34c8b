"""The published datasets: read as their archives unpack, every fault of a tree a sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio

from rotacube.errors import DatasetDamaged, OptionsRefused
from rotacube.training.datasets import published
from rotacube.training.datasets.areas import Faults
from rotacube.training.datasets.published import PUBLISHED, read_published

SIDE = 48
FOLDERS = {"whu": ("image", "label"), "wbd": ("image", "label"), "inria": ("images", "gt")}
CITIES = ("austin", "tyrol-w")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Tiles of 48 x 48 pixels."""
    for name, dataset in PUBLISHED.items():
        monkeypatch.setitem(published.PUBLISHED, name, replace(dataset, size=SIDE))


def write(path, bands, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = bands if bands.ndim == 3 else bands[None]
    profile = {"height": bands.shape[1], "width": bands.shape[2], "count": len(bands)}
    with rasterio.open(path, "w", dtype=bands.dtype, **profile, **more) as target:
        target.write(bands)


def tile(folder, name, stem, *, roof=255, left=10, suffix="tif", **more):
    """A tile with one roof of 12 x 20 pixels; its image's value is how far the roof is from the left."""
    images, masks = FOLDERS[name]
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[8:20, left : left + 20] = roof
    write(folder / images / f"{stem}.{suffix}", np.full((3, SIDE, SIDE), left, np.uint8))
    write(folder / masks / f"{stem}.{suffix}", mask, **more)


@pytest.fixture
def tree(tmp_path):
    """A function that makes a dataset's tree in its parent folder."""

    def make(name):
        root = tmp_path / name
        base = root / PUBLISHED[name].inside
        if name == "inria":
            for city in CITIES:
                for number in (1, 2, 5, 6, 10, 36):
                    tile(base / "train", name, f"{city}{number}", left=number % 20)
            write(base / "test" / "images" / "sfo1.tif", np.zeros((3, SIDE, SIDE), np.uint8))
            return root
        for split, count in (("train", 3), ("val", 1), ("test", 2)):
            for number in range(1, count + 1):
                tile(base / split, name, number, left=number)
        return root

    return make


@pytest.mark.parametrize("name", ["whu", "wbd", "inria"])
@pytest.mark.parametrize("from_inside", [False, True])
def test_every_split_is_read_from_the_folder_or_its_parent(name, from_inside, tree):
    root = tree(name) / PUBLISHED[name].inside if from_inside else tree(name)
    counts = {"train": 6, "validation": 6} if name == "inria" else {"train": 3, "validation": 1, "test": 2}
    for split, count in counts.items():
        areas = list(read_published(root, name, split))
        assert len(areas) == count
        for area in areas:
            assert area.name == name and area.gsd == PUBLISHED[name].gsd and area.labelled and area.valid.all()
            left = area.image[0, 0, 0]
            assert area.image.shape == (3, SIDE, SIDE) and area.roof.sum() == 240 and area.roof[8:20, left].all()
            assert area.ids.max() == 1 and (area.ids > 0).sum() == 240, "12 x 20 pixels are one roof"


def test_what_the_table_says():
    assert {name: dataset.gsd for name, dataset in PUBLISHED.items()} == {"whu": 0.3, "wbd": 0.12, "inria": 0.3}
    assert all(dataset.source and dataset.licence for dataset in PUBLISHED.values())


def test_inria_is_split_by_the_numbers_of_its_tiles(tree):
    """`left` is the number modulo 20."""
    root = tree("inria")
    train, validation = (
        sorted(int(area.image[0, 0, 0]) for area in read_published(root, "inria", split))
        for split in ("train", "validation")
    )
    assert validation == [1, 1, 2, 2, 5, 5], "the first five by number: 10 is not among them"
    assert train == [6, 6, 10, 10, 16, 16]


def test_inrias_test_split_has_no_labels(tree):
    with pytest.raises(OptionsRefused, match=r"test split of 'inria' .* without its labels: take train or validation"):
        read_published(tree("inria"), "inria", "test")


def test_a_tile_of_inria_without_a_number_is_of_no_split(tree):
    root = tree("inria")
    tile(root / "AerialImageDataset" / "train", "inria", "austin1_0")
    for split in ("train", "validation"):
        with pytest.raises(DatasetDamaged, match=r"'austin1_0' .* not named by a city and a number"):
            read_published(root, "inria", split)
        faults = Faults(skip=True)
        assert len(list(read_published(root, "inria", split, faults))) == 6 and len(faults.found) == 1


def test_a_split_of_inria_that_has_no_tile_is_said(tmp_path):
    tile(tmp_path / "train", "inria", "vienna6")
    assert len(list(read_published(tmp_path, "inria", "train"))) == 1
    with pytest.raises(DatasetDamaged, match=r"train/images' holds no tile of the validation split"):
        read_published(tmp_path, "inria", "validation")


def test_masks_are_255_1_or_a_single_bit_and_files_are_of_any_kind(tmp_path):
    tile(tmp_path / "test", "whu", "a", roof=1)
    tile(tmp_path / "test", "whu", "b", roof=1, nbits=1)
    tile(tmp_path / "test", "whu", "c", suffix="png")
    assert [int(area.roof.sum()) for area in read_published(tmp_path, "whu", "test")] == [240] * 3


def test_copies_of_whu_with_other_names_are_read(tree):
    root = tree("whu")
    for split in ("train", "val", "test"):
        folder = root / PUBLISHED["whu"].inside / split
        (folder / "image").rename(folder / "pictures")
        (folder / "pictures").rename(folder / "Image")
        (folder / "label").rename(folder / "Mask")
    assert len(list(read_published(root, "whu", "train"))) == 3


def test_tiles_are_read_one_at_a_time(tree, monkeypatch):
    read = []
    one = published.read_tile
    monkeypatch.setattr(published, "read_tile", lambda *given: read.append(given) or one(*given))
    areas = read_published(tree("inria"), "inria", "train")
    assert not read
    next(areas)
    assert len(read) == 1


def test_names_that_are_none_are_refused(tmp_path):
    with pytest.raises(OptionsRefused, match=r"no published dataset 'mars'\. There are: whu, wbd, inria\."):
        read_published(tmp_path, "mars", "test")
    with pytest.raises(OptionsRefused, match="no split 'all'"):
        read_published(tmp_path, "whu", "all")


def spoil(folder, name, stem, kind):
    """One fault in a tree; the sentence that names it."""
    images, masks = (folder / part for part in FOLDERS[name])
    image, mask = images / f"{stem}.tif", masks / f"{stem}.tif"
    if kind == "no image":
        image.unlink()
        return rf"{images.name}/{stem}\.\*' is missing"
    if kind == "no mask":
        mask.unlink()
        return rf"{masks.name}/{stem}\.\*' is missing"
    if kind == "mask's size":
        write(mask, np.zeros((SIDE, SIDE - 1), np.uint8))
        return rf"{mask.name}' has 47 x 48 pixels, its image 48 x 48"
    if kind == "label":
        write(mask, np.full((SIDE, SIDE), 3, np.uint8))
        return rf"{mask.name}' holds the value 3"
    if kind == "another release":
        write(image, np.zeros((3, 96, 96), np.uint8))
        write(mask, np.zeros((96, 96), np.uint8))
        return r"has 96 x 96 pixels, tiles of the .* have 48 x 48: of another release"
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    return rf"{image.name}' cannot be read"


@pytest.mark.parametrize("kind", ["no image", "no mask", "mask's size", "label", "another release", "truncated"])
@pytest.mark.parametrize("name", ["whu", "wbd", "inria"])
def test_a_damaged_tile_is_named_and_refused_or_counted_and_skipped(name, kind, tree):
    root = tree(name)
    sentence = spoil(root / PUBLISHED[name].inside / "train", name, "austin6" if name == "inria" else "2", kind)
    with pytest.raises(DatasetDamaged, match=sentence):
        list(read_published(root, name, "train"))
    faults = Faults(skip=True)
    assert len(list(read_published(root, name, "train", faults))) == (5 if name == "inria" else 2)
    assert len(faults.found) == 1 and faults.sentence().startswith("1 tiles were left out; the first: ")


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("name", ["whu", "wbd", "inria"])
def test_a_missing_or_empty_folder_is_named_with_where_it_comes_from(name, part, tree):
    root = tree(name)
    folder = root / PUBLISHED[name].inside / "train" / FOLDERS[name][part]
    origin = {"whu": "raster labels.zip", "wbd": "Waterloo Building Dataset", "inria": "NEW2-AerialImageDataset.zip"}
    for path in folder.iterdir():
        path.unlink()
    for sentence in (f"The folder '{folder}' holds no image", f"no folder '{folder}'"):
        with pytest.raises(DatasetDamaged) as refused:
            read_published(root, name, "train")
        assert sentence in refused.value.message and origin[name] in refused.value.message
        faults = Faults(skip=True)
        assert list(read_published(root, name, "train", faults)) == [] and faults.found == [refused.value.message]
        if folder.is_dir():
            folder.rmdir()


def test_a_root_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetDamaged, match=r"no folder '.*nowhere/val/image'\. .*Ji, Wei and Lu"):
        read_published(tmp_path / "nowhere", "whu", "validation")

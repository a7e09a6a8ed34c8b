"""Published sets whose masks are pictures: read as they unpack, parted by place, each fault named."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from rotacube.errors import DatasetDamaged
from rotacube.training.datasets.areas import SPLITS, Faults
from rotacube.training.datasets.coloured import DRONE_CLASSES, FIELDS, SMALLER
from rotacube.training.datasets.sets import read_set, sets_at

BEET = ["background", "crop", "weed"]
COLOURS = {"unlabeled": (0, 0, 0), "paved-area": (128, 64, 128), "roof": (70, 70, 70), "conflicting": (255, 0, 0)}


def write(path, bands):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    driver = {".jpg": "JPEG", ".png": "PNG"}[path.suffix]
    with rasterio.open(path, "w", driver, width, height, count, dtype=np.uint8) as target:
        target.write(bands.astype(np.uint8))


def painted(numbers, colours):
    return np.moveaxis(np.array(colours, np.uint8)[numbers], -1, 0)


@pytest.fixture
def beet(tmp_path):
    """WeedMap: in each field two frames, the number of the field as their grey."""
    base = tmp_path / "published" / "weedmap" / "Tiles" / "RedEdge"
    labels = np.zeros((36, 48), int)
    labels[4:20, 5:25], labels[22:30, 30:40] = 1, 2
    nothing = np.zeros((1, 36, 48))
    nothing[0, :, :6] = 255
    for field in ["000", "001", "002", "003", "004"]:
        for frame in ("frame0000", "frame0007"):
            write(base / field / "tile" / "RGB" / f"{frame}.png", np.full((3, 36, 48), int(field)))
            write(base / field / "mask" / f"{frame}.png", nothing)
            truth = painted(labels, [(0, 0, 0), (0, 255, 0), (255, 0, 0)])
            write(base / field / "groundtruth" / f"{field}_{frame}_GroundTruth_color.png", truth)
            write(base / field / "groundtruth" / f"{field}_{frame}_GroundTruth_iMap.png", nothing)
    return tmp_path, base, labels


@pytest.fixture
def houses(tmp_path):
    """The Semantic Drone Dataset: ten images, the number of each as its grey."""
    base = tmp_path / "published" / "semantic_drone" / "training_set"
    labels = np.zeros((66, 50), int)  # no multiple of what it is reduced by
    labels[12:36, 6:30], labels[36:60, 6:30], labels[:12] = 2, 3, 1
    for number in range(10):
        write(base / "images" / f"{number:03}.jpg", np.full((3, 66, 50), 10 * number))
        write(base / "gt" / "semantic" / "label_images" / f"{number:03}.png", painted(labels, [*COLOURS.values()]))
    rows = ["name, r, g, b", *(f"{name}, {r}, {g}, {b}" for name, (r, g, b) in COLOURS.items())]
    (base / "gt" / "semantic" / "class_dict.csv").write_text("\n".join(rows) + "\n")
    return tmp_path, base, labels


def test_weedmap_is_parted_by_field_and_unknown_beyond_the_mosaic(beet):
    root, _, labels = beet
    assert sets_at(root, BEET) == ["weedmap"]
    for split in SPLITS:
        areas = read_set(root, "weedmap", split, classes=BEET)
        assert sorted({int(area.image.min()) for area in areas}) == [int(field) for field in FIELDS[split]]
        assert len(areas) == 2 * len(FIELDS[split])
        for area in areas:
            assert not area.valid[:, :6].any() and area.valid[:, 6:].all() and area.gsd == 0.01
            assert (area.labels == np.where(area.valid, labels, 0)).all() and not area.ids.any()


def test_its_archive_may_lie_there_without_the_outer_folder(beet):
    root, base, _ = beet
    base.rename(base.parent.parent / "RedEdge")
    assert len(read_set(root, "weedmap", "test", classes=["weed", "background", "crop"])) == 2


def test_semantic_drone_is_reduced_and_parted_by_number(houses):
    root, _, labels = houses
    seen = {}
    for split, count in (("train", 6), ("validation", 2), ("test", 2)):
        areas = read_set(root, "semantic_drone", split, classes=DRONE_CLASSES)
        seen[split] = [int(area.image.mean().round()) for area in areas]
        assert len(areas) == count
        for area in areas:
            middle = labels[3:66:SMALLER, 3:48:SMALLER]
            assert area.image.shape == (3, 11, 8) and (area.valid == np.isin(middle, [1, 2])).all()
            names = np.array(DRONE_CLASSES)[area.labels[area.valid]]
            assert (names == np.where(middle[area.valid] == 2, "roof", "paved-area")).all()
    assert max(seen["train"]) < min(seen["validation"]) and max(seen["validation"]) < min(seen["test"])


def spoil_colour(root, base):
    path = next((base / "003" / "groundtruth").glob("*color.png"))
    write(path, np.full((3, 36, 48), 9))
    return "has the colour 9, 9, 9, which is that of no class"


def spoil_size(root, base):
    write(next((base / "003" / "groundtruth").glob("*color.png")), np.zeros((3, 36, 40)))
    return "has 40 x 36 pixels, its image 48 x 36"


def spoil_mask(root, base):
    next((base / "003" / "mask").glob("*.png")).unlink()
    return "frame0000.png' is missing|frame0007.png' is missing"


def spoil_image(root, base):
    next((base / "003" / "tile" / "RGB").glob("*.png")).unlink()
    return "is missing from the dataset"


def spoil_grey(root, base):
    write(next((base / "003" / "groundtruth").glob("*color.png")), np.zeros((1, 36, 48)))
    return "three bands, a colour a class"


@pytest.mark.parametrize("spoil", [spoil_colour, spoil_size, spoil_mask, spoil_image, spoil_grey])
def test_a_damaged_tile_is_named_or_left_out_and_counted(spoil, beet):
    root, base, _ = beet
    says = spoil(root, base)
    with pytest.raises(DatasetDamaged, match=says):
        read_set(root, "weedmap", "test", classes=BEET)
    faults = Faults(skip=True)
    assert len(read_set(root, "weedmap", "test", faults, classes=BEET)) == 1 and len(faults.found) == 1


def test_what_is_missing_of_a_tree_is_said(beet, houses):
    root, base, _ = beet
    for path in (base / "003" / "groundtruth").glob("*color.png"):
        path.unlink()
    with pytest.raises(DatasetDamaged, match=r"named 003_\*_GroundTruth_color"):
        read_set(root, "weedmap", "test", classes=BEET)
    with pytest.raises(DatasetDamaged, match=r"no 'nowhere/published/weedmap/Tiles/RedEdge'. Unpack the archive"):
        read_set(type(root)("nowhere"), "weedmap", "test", classes=BEET)
    table = houses[1] / "gt" / "semantic" / "class_dict.csv"
    table.write_text(table.read_text() + "castle, 1, 2, 3\n")
    with pytest.raises(DatasetDamaged, match="the class 'castle', which is not known"):
        read_set(root, "semantic_drone", "test", classes=DRONE_CLASSES)
    table.unlink()
    with pytest.raises(DatasetDamaged, match=r"class_dict\.csv' is missing"):
        read_set(root, "semantic_drone", "test", classes=DRONE_CLASSES)

"""One map of many rasters: that of the whole, and a member that changes is noticed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner

from rotacube.cli import app
from rotacube.errors import JobDamaged, JobInterrupted, OutputUnwritable
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.inference.store import Store

SIDE = 100


def request_of(raster, model, output, **more):
    return MapRequest(str(raster), str(model), (Product("mask", output),), **more)


def read(path):
    with rasterio.open(path) as file:
        return file.read(1), file.transform


@pytest.fixture(scope="module")
def tiles(scene_path, tmp_path_factory):
    """The drawn town cut into twenty tiles, one of them left out."""
    folder = tmp_path_factory.mktemp("town") / "tiles"
    folder.mkdir()
    with rasterio.open(scene_path) as file:
        image, valid, transform, profile = file.read(), file.dataset_mask(), file.transform, file.profile
    for row in range(0, 300, SIDE):
        for column in range(0, 410, SIDE):
            place = transform * Affine.translation(column, row)
            part = np.s_[row : row + SIDE, column : column + SIDE]
            size = {"height": valid[part].shape[0], "width": valid[part].shape[1], "transform": place}
            if (row, column) != (100, 200):
                with rasterio.open(folder / f"{row}_{column}.tif", "w", **{**profile, **size}) as out:
                    out.write(image[(slice(None), *part)])
                    out.write_mask(valid[part])
    return folder


@pytest.fixture(scope="module")
def whole(tiles, scene_path, model_folder, tiny_model, cpu, tmp_path_factory):
    """The map of the town as one raster, the same part of it nodata."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copy(scene_path, folder / "town.tif")
    with rasterio.open(folder / "town.tif", "r+") as file:
        valid = file.dataset_mask()
        valid[100:200, 200:300] = 0
        file.write_mask(valid)
    run_map(request_of(folder / "town.tif", model_folder, folder / "mask.tif"), tiny_model, place=cpu)
    return read(folder / "mask.tif")


def test_the_map_of_the_tiles_is_the_map_of_the_whole(tiles, whole, model_folder, tiny_model, cpu, tmp_path):
    result = run_map(request_of(tiles, model_folder, tmp_path / "mask.tif"), tiny_model, place=cpu)
    found, transform = read(tmp_path / "mask.tif")
    np.testing.assert_array_equal(found, whole[0])
    assert transform.almost_equals(whole[1], 1e-9)
    assert "14 rasters are mapped as one" in result.notes[0]


@pytest.mark.parametrize("change", ["one is written anew", "one is added", "one is taken away"])
def test_a_member_that_changes_is_noticed(change, tiles, whole, model_folder, tiny_model, cpu, tmp_path, monkeypatch):
    folder = tmp_path / "tiles"
    shutil.copytree(tiles, folder)

    def interrupted(self, finding, add=Store.add):
        if len(self.boxes) == 2:
            raise JobInterrupted("The backend ends.")
        add(self, finding)

    with monkeypatch.context() as patch, pytest.raises(JobInterrupted):
        patch.setattr(Store, "add", interrupted)
        run_map(request_of(folder, model_folder, tmp_path / "mask.tif"), tiny_model, place=cpu)
    first, last = sorted(folder.iterdir())[::13]
    if change == "one is written anew":
        with rasterio.open(last, "r+") as file:
            file.update_tags(changed="yes")
    elif change == "one is added":
        shutil.copy(first, folder / "z.tif")
    else:
        last.rename(tmp_path / "aside.tif")
    again = request_of(folder, model_folder, tmp_path / "mask.tif", resume=True)
    with pytest.raises(JobDamaged, match="the raster changed since"):
        run_map(again, tiny_model, place=cpu)
    if change == "one is added":
        (folder / "z.tif").unlink()
        run_map(again, tiny_model, place=cpu)
        np.testing.assert_array_equal(read(tmp_path / "mask.tif")[0], whole[0])


def test_the_mask_goes_to_another_folder_and_replaces_no_member(tiles, model_folder, tiny_model, cpu, tmp_path):
    with pytest.raises(OutputUnwritable, match="among the rasters of the folder"):
        run_map(request_of(tiles, model_folder, tiles / "mask.tif"), tiny_model, place=cpu)
    folder = tmp_path / "tiles"
    shutil.copytree(tiles, folder)
    (tmp_path / "list.txt").write_text("\n".join(f"tiles/{path.name}" for path in sorted(folder.iterdir())))
    member = sorted(folder.iterdir())[-1]
    with pytest.raises(OutputUnwritable, match="a mask never replaces its source"):
        run_map(request_of(tmp_path / "list.txt", model_folder, member, overwrite=True), tiny_model, place=cpu)


def test_the_command_line_takes_a_folder(tiles, whole, model_folder, tmp_path):
    output = tmp_path / "mask.tif"
    how = ["--model", str(model_folder), "--precision", "float32"]
    done = CliRunner().invoke(app, ["map", str(tiles), str(output), *how])
    assert done.exit_code == 0, done.output
    assert (read(output)[0] != whole[0]).mean() <= 1e-4
    empty = tmp_path / "empty"
    empty.mkdir()
    done = CliRunner().invoke(app, ["map", str(empty), str(output), "--overwrite", "--model", str(model_folder)])
    assert done.exit_code != 0

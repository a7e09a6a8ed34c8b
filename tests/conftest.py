"""Fixtures for the backend's tests: a tiny model with random weights, small rasters, and the real imagery.

This file is also read by QGIS's own Python (tests/plugin), which has neither PyTorch nor rasterio: what needs them is
imported where it is used.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from model_cards import card_fields

UTM = "EPSG:32645"

# The networks are tiny: on a busy machine threads that wait for each other cost more than they bring. Processes that
# tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What servers remember for the next one is not to reach that of the person at the machine.
os.environ["ROTACUBE_JOBS"] = tempfile.mkdtemp(prefix="rotacube-test-jobs-")
atexit.register(shutil.rmtree, os.environ["ROTACUBE_JOBS"], ignore_errors=True)


@pytest.fixture(scope="session")
def make_card():
    """A function that makes a card (of weights that are nowhere), some fields changed."""
    from rotacube.models.card import ModelCard

    def make(**changes):
        weights = {"file": "model.safetensors", "sha256": "0" * 64, "parameters": 0}
        return ModelCard.model_validate({"weights": weights, **card_fields(**changes)})

    return make


@pytest.fixture(scope="session")
def make_model(tmp_path_factory):
    """A function that makes a model folder with random weights whose mask has both, or all, classes in it."""
    import torch

    from rotacube.models.store import save_model
    from rotacube.networks.registry import create_model

    def make(folder=None, **changes):
        card = card_fields(**changes)
        folder = folder or tmp_path_factory.mktemp("models") / str(card["name"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            network = create_model(str(card["architecture"]), len(card["bands"]), len(card["classes"]))
            network.head[1].weight.data *= 20
            noise = torch.randn(1, len(card["bands"]), 128, 128)
            with torch.inference_mode():
                typical = network(noise).mean((0, 2, 3))
            network.head[1].bias.data -= typical.clone().repeat_interleave(16)
        save_model(network, card, folder)
        return folder

    return make


@pytest.fixture(scope="session")
def model_folder(make_model):
    """A tiny model: ConvNeXt-Cube small, random weights, 96-pixel tiles, 32 of overlap, 0.15 m."""
    return make_model()


@pytest.fixture(scope="session")
def tiny_model(model_folder):
    """The tiny model, loaded."""
    from rotacube.models.store import load_model

    return load_model(str(model_folder))


@pytest.fixture(scope="session")
def make_scene_model(tmp_path_factory):
    """A function that makes a folder with a tiny model of scenes: Inception, random weights, 64 pixels of 0.15 m."""
    import torch

    from rotacube.models.store import save_model
    from rotacube.networks.registry import create_model

    def make(folder=None, classes=("field", "forest", "houses"), gain=20.0, **changes):
        colours = ("#d9c36a", "#2f7d32", "#c0392b")
        named = [{"id": n, "name": name, "color": colours[n]} for n, name in enumerate(classes)]
        options = {"width": 0.0625, "fusion": "concat"}
        about = {"name": "tiny-scenes", "title": "Tiny scenes, random weights", "task": "scenes", "tile": 64}
        about |= {"overlap": 0, "architecture": "inception", "options": options, "classes": named}
        card = card_fields(**{**about, **changes})
        folder = folder or tmp_path_factory.mktemp("models") / str(card["name"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            network = create_model("inception", 3, len(classes), **options).eval()
            last = network.classifier[-1]
            last.weight.data *= gain  # so that different scenes differ
            with torch.inference_mode():
                last.bias.data -= network(torch.randn(16, 3, 64, 64)).mean(0)
        save_model(network, card, folder)
        return folder

    return make


@pytest.fixture(scope="session")
def cpu():
    """Where tests that compare pixels run: one precision, one batch size."""
    import torch

    from rotacube.inference.device import Place

    return Place(torch.device("cpu"), torch.float32, 2)


@pytest.fixture(scope="session")
def write_raster():
    """A function that writes (bands, height, width) to a GeoTIFF and returns its path as text.

    `transform=False` leaves out the georeference.
    """
    import rasterio
    from rasterio.enums import ColorInterp
    from rasterio.transform import from_origin

    def write(path, array, crs=UTM, transform=None, valid=None, colours=None, **profile):
        count, height, width = array.shape
        profile = {"driver": "GTiff", "dtype": array.dtype, **profile}
        place = {"crs": crs, "transform": transform or from_origin(353000, 3060000, 0.15, 0.15)}
        if transform is False:
            del place["transform"]
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", height=height, width=width, count=count, **place, **profile) as file,
        ):
            if colours:
                file.colorinterp = [ColorInterp[name] for name in colours]
            file.write(array)
            if valid is not None:
                file.write_mask(valid)
        return str(path)

    return write


@pytest.fixture(scope="session")
def scene_path(tmp_path_factory):
    """A drawn town of 300 x 410 pixels of 0.15 m in UTM, a corner of it without data."""
    from rotacube.training.drawn.scenes import draw_scene, write_scene

    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    write_scene(path, draw_scene(1, 300, 410, nodata_corner=True))
    return str(path)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real imagery; the test is skipped where it is not."""
    from rotacube.training.datasets.areas import data_root

    root = data_root()
    if root is None:
        pytest.skip("the real imagery is not here: set ROTACUBE_DATA to its folder")
    return root


@pytest.fixture(scope="session")
def banepa(data_root, tmp_path_factory):
    """A VRT over four by four tiles of the Banepa mosaic: 2048 x 2048 pixels, EPSG:4326, about 0.13 m."""
    import re

    import rasterio

    tiles = {}
    for path in (data_root / "rooftop" / "banepa" / "images").glob("*.tif"):
        x, y, _ = map(int, re.fullmatch(r"OAM-(\d+)-(\d+)-(\d+)", path.stem).groups())
        tiles[x, y] = path
    left, top = min(x for x, _ in tiles), min(y for _, y in tiles)
    chosen = {place: path for place, path in tiles.items() if place[0] < left + 4 and place[1] < top + 4}
    with rasterio.open(chosen[left, top]) as corner:
        transform, crs, size, count = corner.transform, corner.crs.to_wkt(), corner.width, corner.count
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>{colour}</ColorInterp>'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="0">{path}</SourceFilename><SourceBand>{band}</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="{size}" ySize="{size}"/>'
            f'<DstRect xOff="{(x - left) * size}" yOff="{(y - top) * size}" xSize="{size}" ySize="{size}"/>'
            "</SimpleSource>"
            for (x, y), path in sorted(chosen.items())
        )
        + "</VRTRasterBand>"
        for band, colour in zip(range(1, count + 1), ("Red", "Green", "Blue", "Alpha"), strict=False)
    )
    path = tmp_path_factory.mktemp("banepa") / "banepa.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="{4 * size}" rasterYSize="{4 * size}"><SRS>{crs}</SRS>'
        f"<GeoTransform>{', '.join(map(repr, transform.to_gdal()))}</GeoTransform>{bands}</VRTDataset>"
    )
    return str(path)


class BadInput:
    """A request that must be refused: what it asks, the error's code, and a word that the sentence must have."""

    def __init__(self, request, code, word):
        self.request, self.code, self.word = request, code, word


def _weights(folder):
    """The weights file of a model folder."""
    import json

    return folder / json.loads((folder / "model.json").read_text())["weights"]["file"]


def _rewrite_weights(folder, change):
    """Change a model's weights file, and put the hash of the new file into its card."""
    import hashlib
    import json

    path = folder / "model.json"
    card = json.loads(path.read_text())
    weights = _weights(folder)
    change(weights)
    card["weights"]["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    path.write_text(json.dumps(card))


def _drop_a_tensor(weights):
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights)
    del tensors["head.1.bias"]
    save_file(tensors, weights)


def _pickle(weights):
    import torch

    torch.save({"head.1.bias": torch.zeros(16)}, weights)


def _truncate(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def _edit_card(folder, old, new):
    path = folder / "model.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# What is written (None: nothing; bytes; or the share of a GeoTIFF that is kept), bands, data type, profile.
_BAD_RASTERS = {
    "a missing raster": ("raster_missing", "There is no raster", None, {}),
    "a text file": ("raster_unreadable", "cannot be opened", b"no raster at all", {}),
    "an empty file": ("raster_unreadable", "cannot be opened", b"", {}),
    "a raster cut within its header": ("raster_unreadable", "cannot be opened", 0.0001, {}),
    "a raster cut within its data": ("raster_unreadable", "damaged or cut short", 0.5, {"compress": "DEFLATE"}),
    "a raster without CRS": ("raster_not_georeferenced", "coordinate reference system", 1, {"crs": None}),
    "a raster without georeference": (
        "raster_not_georeferenced",
        "no georeference",
        1,
        {"transform": False},
    ),
    "a raster in a local CRS": (
        *("raster_not_georeferenced", "no tie to the ground", 1),
        {"crs": 'LOCAL_CS["site",UNIT["metre",1]]'},
    ),
    "a raster with too few bands": ("raster_bands", "needs 3 bands", 1, {"count": 2}),
    "a raster of nothing but nodata": ("raster_empty", "nodata all over", 1, {"nodata": 0}),
    "a 16-bit raster of nothing but nodata": ("raster_empty", "nodata all over", 1, {"nodata": 0, "dtype": "uint16"}),
    "a raster one pixel wide": ("raster_empty", "1 x 300 pixels", 1, {"width": 1}),
}
_BAD_REQUESTS = {
    "an area outside": ("raster_empty", "does not touch", {"bounds": [0.0, 0.0, 9.0, 9.0]}),
    "an inverted area": ("raster_empty", "no rectangle", {"bounds": [353020.0, 3059980.0, 353010.0, 3059990.0]}),
    "an area of NaN": ("raster_empty", "no rectangle", {"bounds": [353010.0, float("nan"), 353020.0, 3059990.0]}),
    "an unknown CRS of the area": (
        *("raster_empty", "CRS of the area is not known"),
        {"bounds": [0.0, 0.0, 9.0, 9.0], "bounds_crs": "EPSG:77"},
    ),
    "bands that are not there": ("raster_bands", "out of 1 to 3", {"bands": [1, 2, 9]}),
    "bands too few": ("raster_bands", "needs 3 bands", {"bands": [1]}),
    "an output in a missing folder": ("output_unwritable", "does not exist", {"output": "no/mask.tif"}),
    "an output where nobody may write": ("output_unwritable", "hoose another place", {"output": "/proc/mask.tif"}),
    "an output of another format": ("output_unwritable", "does not end in .tif", {"output": "mask.png"}),
    "an output that is there": ("output_unwritable", "is there already", {"output": "there.tif"}),
    "an output that is a folder": ("output_unwritable", "is a folder", {"output": "."}),
    "an unknown model": ("model_missing", "There is no model 'nobody'", {"model": "nobody"}),
    "a folder without a model": ("model_missing", "has no model.json", {"model": "."}),
}
_BAD_MODELS = {
    "weights of another hash": ("SHA-256 differs", lambda f: _truncate(_weights(f), 0.99)),
    "weights cut short": (
        "no valid safetensors",
        lambda f: _rewrite_weights(f, lambda weights: _truncate(weights, 0.99)),
    ),
    "weights without a tensor": ("tensor 'head.1.bias' is missing", lambda f: _rewrite_weights(f, _drop_a_tensor)),
    "weights that are a pickle": ("no valid safetensors", lambda f: _rewrite_weights(f, _pickle)),
    "no weights": ("is missing", lambda f: _weights(f).unlink()),
    "a broken card": ("cannot be read", lambda f: _truncate(f / "model.json", 0.5)),
    "a card without a field": ("not valid at", lambda f: _edit_card(f, '"threshold"', '"treshold"')),
    "a card that leads out of its folder": (
        "not valid at 'weights.file'",
        lambda f: _edit_card(f, '"file": "', '"file": "../'),
    ),
    "a card of another network": ("do not fit", lambda f: _edit_card(f, "convnext-cube-small", "convnext-cube")),
}


def pytest_generate_tests(metafunc):
    """Run a test that asks for `bad_input` on each of them."""
    if "bad_input" in metafunc.fixturenames:
        metafunc.parametrize("bad_input", [*_BAD_RASTERS, *_BAD_REQUESTS, *_BAD_MODELS], indirect=True)


@pytest.fixture
def bad_input(request, tmp_path, scene_path, model_folder, write_raster):
    """One request that must be refused; its output would lie in `tmp_path / "out"`."""
    import shutil

    name, folder = request.param, tmp_path / "out"
    folder.mkdir()
    asked = {"raster": scene_path, "model": str(model_folder), "output": str(folder / "mask.tif")}
    if name in _BAD_MODELS:
        copy = tmp_path / "model"
        shutil.copytree(model_folder, copy)
        word, spoil = _BAD_MODELS[name]
        spoil(copy)
        return BadInput({**asked, "model": str(copy)}, "model_damaged", word)
    if name in _BAD_REQUESTS:
        code, word, changes = _BAD_REQUESTS[name]
        asked.update(changes)
        asked["output"] = str(folder / asked["output"])
        if asked["model"] == ".":
            asked["model"] = str(folder)
        if name == "an output that is there":
            (folder / "there.tif").write_bytes(b"something else")
        return BadInput(asked, code, word)
    code, word, content, profile = _BAD_RASTERS[name]
    path = tmp_path / "raster.tif"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        _write_bad(path, write_raster, **profile)
        _truncate(path, content)
    return BadInput({**asked, "raster": str(path)}, code, word)


def _write_bad(path, write_raster, count=3, width=300, dtype="uint8", **profile):
    import numpy as np

    image = np.random.default_rng(0).integers(1, 256, (count, 300, width)).astype(dtype)
    if "nodata" in profile:
        image[:] = profile["nodata"]
    write_raster(path, image, **profile)

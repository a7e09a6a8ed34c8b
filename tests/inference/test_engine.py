"""The engine alone: strips of a source in memory, with all that the network says, and no file anywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rotacube.errors import JobCancelled, ModelDamaged, RasterUnreadable
from rotacube.inference.device import Place
from rotacube.inference.engine import Engine
from rotacube.models.store import load_model
from rotacube.networks.registry import create_model
from rotacube.raster.array_source import ArraySource
from rotacube.raster.grid import Box
from rotacube.training.datasets.sets import read_set


@pytest.fixture(scope="module")
def source(make_card):
    rng = np.random.default_rng(5)
    valid = np.ones((150, 190), bool)
    valid[:, :70] = False
    return ArraySource(rng.random((3, 150, 190), np.float32), valid, make_card().normalisation)


def network(**options):
    torch.manual_seed(3)
    return create_model("unet-cube", 3, 2, width=0.0625, **options).eval()


def whole(strips, shape):
    """All strips put together: logits, further outputs, validity, and how often a pixel was covered."""
    found, covered = {}, np.zeros(shape, int)
    for strip in strips:
        place = strip.box.within(Box(0, 0, *shape))
        for name, part in {"logits": strip.logits, **strip.further, "valid": strip.valid[None]}.items():
            found.setdefault(name, np.zeros((len(part), *shape), part.dtype))[(slice(None), *place)] = part
        covered[place] += 1
    return found, covered


def test_strips_cover_the_source_once_and_a_tile_alone_is_what_the_network_says(source, cpu):
    net = network(further=["border"])
    engine = Engine(net, tile=192, overlap=32, outputs=1, place=cpu)
    found, covered = whole(engine.strips(source), (150, 190))
    assert (covered == 1).all() and set(found) == {"logits", "border", "valid"}
    values, valid = source.read(Box(0, 0, 192, 192))
    with torch.inference_mode():
        want = net(torch.from_numpy(values)[None].to(memory_format=torch.channels_last))
    np.testing.assert_allclose(found["logits"], want["logits"][0, :, :150, :190].numpy(), atol=1e-5)
    np.testing.assert_allclose(found["border"], want["border"][0, :, :150, :190].numpy(), atol=1e-5)
    np.testing.assert_array_equal(found["valid"][0], valid[:150, :190])


def test_a_part_is_the_crop_of_the_whole_in_every_output(source, cpu):
    engine = Engine(network(further=["border"]), tile=64, overlap=32, outputs=1, place=cpu)
    found, _ = whole(engine.strips(source), (150, 190))
    area = Box(37, 71, 101, 163)
    for strip in engine.strips(source, area):
        rows, columns = strip.box.within(Box(0, 0, 150, 190))
        np.testing.assert_array_equal(strip.logits, found["logits"][:, rows, columns])
        np.testing.assert_array_equal(strip.further["border"], found["border"][:, rows, columns])


def test_a_second_output_changes_nothing_of_the_first(source, cpu):
    with_border = network(further=["border"])
    plain = network()
    state = with_border.state_dict()
    plain.load_state_dict({k: v[:1] if k.startswith("head.") else v for k, v in state.items()})
    first, second = (
        whole(Engine(net, tile=64, overlap=32, outputs=1, place=cpu).strips(source), (150, 190))[0]
        for net in (with_border, plain)
    )
    np.testing.assert_array_equal(first["logits"], second["logits"])
    assert set(second) == {"logits", "valid"}


def test_tiles_are_told_in_order_and_those_of_nodata_without_logits(source, cpu):
    tiles = []
    engine = Engine(network(), tile=64, overlap=32, outputs=1, place=cpu)
    whole(engine.strips(source, on_tile=tiles.append), (150, 190))
    assert [tile.n for tile in tiles] == list(range(tiles[0].total))
    shown = np.zeros((150, 190), int)
    for tile in tiles:
        shown[tile.box.within(Box(0, 0, 150, 190))] += 1
        assert (tile.logits is None) == (tile.valid is None)
        if tile.logits is not None:
            assert tile.logits.shape == (1, tile.box.height, tile.box.width)
    assert (shown == 1).all() and any(tile.logits is None for tile in tiles)


def test_cancelled_before_a_batch(source, cpu):
    engine = Engine(network(), tile=64, overlap=32, outputs=1, place=cpu)
    with pytest.raises(JobCancelled):
        list(engine.strips(source, cancelled=lambda: True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_outputs_that_are_no_numbers_stop_the_run(value, source, cpu):
    """As class ids they would be background, and nobody would know."""
    net = network(further=["border"])
    net.head.bias.data[:] = value
    with pytest.raises(ModelDamaged, match="no numbers"):
        list(Engine(net, tile=64, overlap=32, outputs=1, place=cpu).strips(source))


def test_a_source_whose_values_are_no_numbers_is_told_as_such(cpu, make_card):
    values = np.full((3, 96, 96), 0.5, np.float32)
    values[1, 50, 50] = np.nan
    spotted = ArraySource(values, np.ones((96, 96), bool), make_card().normalisation)
    with pytest.raises(RasterUnreadable, match="where it says that it has data"):
        list(Engine(network(), tile=64, overlap=32, outputs=1, place=cpu).strips(spotted))


def test_a_batch_that_does_not_fit_is_halved_and_so_are_all_after_it(source):
    class Narrow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.sizes = []

        def forward(self, x):
            self.sizes.append(len(x))
            if len(x) > 2:
                raise torch.OutOfMemoryError("too small")
            return x.mean(1, keepdim=True)

    net = Narrow()
    engine = Engine(net, tile=64, overlap=32, outputs=1, place=Place(torch.device("cpu"), torch.float32, 8))
    found, _ = whole(engine.strips(source), (150, 190))
    assert engine.place.batch == 2 and net.sizes.count(8) >= 1
    alone = Engine(net, tile=64, overlap=32, outputs=1, place=Place(torch.device("cpu"), torch.float32, 1))
    np.testing.assert_array_equal(found["logits"], whole(alone.strips(source), (150, 190))[0]["logits"])


def test_one_tile_that_does_not_fit_is_an_error(source, cpu):
    class Never(torch.nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("too small")

    with pytest.raises(torch.OutOfMemoryError):
        list(Engine(Never(), tile=64, overlap=32, outputs=1, place=cpu).strips(source))


def test_threads_are_given_back(source, cpu):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        strips = Engine(network(), tile=64, overlap=32, outputs=1, place=cpu).strips(source)
        next(strips)
        strips.close()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_on_real_imagery_nothing_is_seen_of_the_borders_of_tiles(data_root, cpu):
    """From one pixel to the next the logits change there as elsewhere; without overlap, more."""
    (area,) = (a for a in read_set(data_root, "banepa", "test", classes=["background", "roof"]))
    shape = (700, 500)
    model = load_model("rooftop-lite")
    pixels = (area.image[:, : shape[0], : shape[1]] / 255).astype(np.float32)
    source = ArraySource(pixels, np.ones(shape, bool), model.card.normalisation)
    ratios = []
    for overlap in (64, 0):
        engine = Engine(model.network, tile=256, overlap=overlap, outputs=1, place=cpu)
        logits = whole(engine.strips(source), shape)[0]["logits"][0]
        borders = [b for start in range(0, shape[0], 256 - overlap) for b in {start, start + 256} if 0 < b < shape[0]]
        steps = np.abs(np.diff(logits, axis=0)).mean(1)
        at = np.array(borders) - 1
        ratios.append(steps[at].mean() / np.delete(steps, at).mean())
    assert ratios[0] < 1.1 < ratios[1]

"""Evaluation goes through the engine: what it measures is what a map shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from torch import nn
from torchmetrics import classification as oracle

from rotacube.models.card import Separation
from rotacube.models.store import LoadedModel, load_model
from rotacube.networks.dense import DenseNetwork
from rotacube.training.datasets.areas import Area, single_roofs, write_picture
from rotacube.training.datasets.sets import read_set
from rotacube.training.evaluate import Answer, Tally, ask, at_gsd, measure, measure_turned, steps, turned
from rotacube.training.finish import choose_cuts, choose_shifts, choose_temperature, confusion
from rotacube.training.panels import panel

COLOURS = {"soil": "#ff0000", "crop": "#00ff00", "weed": "#0000ff"}


class Coloured(DenseNetwork):
    """The logit of a pixel is its red band, which lies in 0..1, as a probability; its depth is the green one.

    With three outputs they are those of the three bands.
    """

    stride = 1

    def __init__(self, outputs=1, further=("distance",)):
        super().__init__()
        self.add_head(lambda n: nn.Identity(), outputs, further)

    def features(self, x):
        return torch.logit(x[:, : sum(self.channels.values())].clamp(1e-4, 1 - 1e-4))


@pytest.fixture
def model(make_card):
    rule = {"scale": 255.0, "mean": [0.0] * 3, "std": [1.0] * 3}
    further = [{"name": "distance", "channels": 1, "meaning": "depth"}]
    card = make_card(
        tile=64, overlap=24, threshold=0.4, normalisation=rule, further=further, separation={"smallest": 0.1}
    )
    return LoadedModel(card, Coloured().eval(), Path())


def an_area(name="here", seed=1):
    """Red is high on most roofs; the left quarter has no data."""
    rng = np.random.default_rng(seed)
    roof = rng.random((90, 130)) > 0.5
    image = np.where(roof, rng.integers(90, 250, roof.shape), rng.integers(5, 140, roof.shape)).astype(np.uint8)
    valid = np.ones(roof.shape, bool)
    valid[:, :32] = False
    return Area(name, np.repeat(image[None], 3, 0), roof.astype(np.uint8), single_roofs(roof, 0.15), valid, 0.15)


def a_terrace(name="town", gsd=0.15):
    """Three houses that share walls, each red, and green in its middle."""
    ids = np.zeros((96, 128), np.int32)
    image = np.full((3, 96, 128), 20, np.uint8)
    for number in range(3):
        left = 16 + 32 * number
        ids[20:70, left : left + 32] = number + 1
        image[0, 20:70, left : left + 32] = 230
        image[1, 26:64, left + 6 : left + 26] = 230
    return Area(name, image, (ids > 0).astype(np.uint8), ids, np.ones(ids.shape, bool), gsd)


def test_answers_are_those_of_the_pixels(model, cpu):
    area = an_area()
    (answer,) = ask(model, [area], cpu)
    assert answer.logits.shape == answer.further["distance"].shape == (1, 90, 130)
    valid = area.valid
    np.testing.assert_allclose(answer.chances[1][valid], area.image[0][valid] / 255, atol=1e-4)
    np.testing.assert_allclose(answer.further["distance"][0][valid], area.image[1][valid] / 255, atol=1e-4)
    for name in ("labels", "ids", "valid"):
        np.testing.assert_array_equal(getattr(answer.area, name), getattr(area, name))
    part = answer.part(np.s_[10:40, 50:70])
    np.testing.assert_array_equal(part.logits, answer.logits[:, 10:40, 50:70])
    np.testing.assert_array_equal(part.area.ids, area.ids[10:40, 50:70])


def test_where_nothing_is_known_the_model_sees_the_imagery(model, cpu):
    area = a_terrace()
    known = np.zeros(area.valid.shape, bool)
    known[15:75, 48:80] = True  # the middle house
    whole, part = ask(model, [area, replace(area, valid=known, imagery=area.valid)], cpu)
    np.testing.assert_array_equal(part.logits, whole.logits)
    np.testing.assert_array_equal(part.area.valid, known)
    found = measure(model, [part.area], cpu)["town"]
    assert found["roofs f1"] == 1
    cut = part.part(np.s_[10:60, 30:90]).area
    assert cut.seen.shape == cut.valid.shape == (50, 60) and cut.seen.all()
    for change in (lambda a: turned(a, 90.0), lambda a: at_gsd(a, 0.3)):
        assert change(part.area).seen.all() and change(part.area).seen.shape == change(part.area).valid.shape


def test_metrics_are_those_of_the_counts_of_pixels(model, cpu):
    areas = [an_area("here", 1), an_area("here", 2), an_area("there", 3)]
    found = measure(model, areas, cpu)
    truth = np.concatenate([a.roof[a.valid] for a in areas[:2]])
    guess = np.concatenate([a.image[0][a.valid] / 255 > 0.4 for a in areas[:2]])
    hit, wrong, missed = (truth & guess).sum(), (~truth & guess).sum(), (truth & ~guess).sum()
    assert found["here"]["iou"] == pytest.approx(hit / (hit + wrong + missed), abs=2e-4)
    assert found["here"]["precision"] == pytest.approx(hit / (hit + wrong), abs=2e-4)
    assert found["here"]["recall"] == pytest.approx(hit / (hit + missed), abs=2e-4)
    assert set(found) == {"here", "there"}


@pytest.mark.parametrize("gsd", [0.1, 0.15, 0.27])
def test_houses_that_share_walls_are_single_roofs_at_any_resolution(model, cpu, gsd):
    shown = []
    found = measure(model, [a_terrace(gsd=gsd)], cpu, on_answer=shown.append)["town"]
    assert (found["roofs f1"], found["roofs merged"], found["roofs split"]) == (1, 0, 0)
    assert found["iou"] > 0.93 and found["edge f1"] > 0.95 and len(shown) == 1


def test_land_without_roofs_says_what_was_called_one(model, cpu):
    area = a_terrace()
    bare = replace(area, labels=area.labels * 0, ids=area.ids * 0)
    assert measure(model, [bare], cpu)["town"] == pytest.approx({"called roof": area.roof.mean()}, abs=0.01)


def test_the_model_of_colours_does_not_mind_how_an_image_lies(model, cpu):
    found = measure_turned(model, [a_terrace(gsd=0.1)], cpu)["town"]
    assert found["quarter turn"] > 0.999 and found["turned iou"] > 0.93


def test_turning_back_and_forth_changes_nothing_and_cuts_nothing_off():
    area = a_terrace()
    back = turned(turned(area, 90), 270)
    np.testing.assert_array_equal(back.image, area.image)
    np.testing.assert_array_equal(back.ids, area.ids)
    tilted = turned(area, 37)
    assert abs(tilted.roof.sum() / area.roof.sum() - 1) < 0.02 and np.unique(tilted.ids).tolist() == [0, 1, 2, 3]
    assert not tilted.valid[0, 0]
    assert at_gsd(area, 0.3).roof.shape == (48, 64)


def test_steps_counts_stairs():
    stairs = np.kron(np.tri(8, dtype=bool), np.ones((4, 4), bool))
    assert steps(stairs)[0] == steps(stairs)[1] > 0
    slope = np.tri(32, dtype=bool)
    every, on_four = steps(slope)
    assert 0.2 < on_four / every < 0.3


def test_calibration_finds_the_temperature(make_card):
    rng = np.random.default_rng(0)
    real = rng.normal(0, 2, (200, 200)).astype(np.float32)
    truth = rng.random(real.shape) < 1 / (1 + np.exp(-real))
    area = replace(
        a_terrace(), labels=truth.astype(np.uint8), ids=np.zeros(real.shape, np.int32), valid=np.ones(real.shape, bool)
    )
    assert choose_temperature([Answer(area, 1.6 * real[None], {})]) == pytest.approx(1.6, rel=0.05)


def test_of_many_classes_the_temperature_is_that_of_all_and_confusion_that_of_torchmetrics():
    rng = np.random.default_rng(0)
    real = rng.normal(0, 2, (3, 150, 200)).astype(np.float32)
    raised = np.exp(real).cumsum(0)
    labels = (rng.random(real.shape[1:]) * raised[2] > raised[:2]).sum(0).astype(np.uint8)
    valid = rng.random(labels.shape) > 0.1
    area = Area("field", np.zeros((3, 150, 200), np.uint8), labels, labels * np.int32(0), valid, 0.01)
    answers = [Answer(area, 1.6 * real, {})]
    assert choose_temperature(answers) == pytest.approx(1.6, rel=0.05)
    pixels = torch.tensor(real.argmax(0)[valid]), torch.tensor(labels[valid]).long()
    want = oracle.MulticlassConfusionMatrix(3, normalize="true")(*pixels).numpy()
    np.testing.assert_allclose(confusion(answers, 0.5, 3)["field"], want, atol=1e-6)
    assert choose_cuts(answers) == (0.5, Separation())


def test_logits_are_shifted_where_a_miss_counts_more():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, (1, 200, 200), p=(0.8, 0.15, 0.05))[0].astype(np.uint8)
    truth = np.eye(3, dtype=np.float32)[labels].transpose(2, 0, 1)
    logits = (2 * truth + rng.normal(0, 1, truth.shape) + np.log([0.8, 0.15, 0.05])[:, None, None]).astype(np.float32)
    area = Area("field", np.zeros((3, 200, 200), np.uint8), labels, labels * np.int32(0), labels < 9, 0.01)
    answers = [Answer(area, logits, {})]

    def mean(beta, shifts):
        found = torch.from_numpy((logits + np.reshape(shifts, (3, 1, 1))).argmax(0))
        about = {"num_classes": 3, "average": None, "beta": beta}
        return float(oracle.MulticlassFBetaScore(**about)(found, torch.from_numpy(labels).long())[1:].mean())

    plain, careful = choose_shifts(answers, 1.0), choose_shifts(answers, 3.0)
    assert plain[0] == careful[0] == 0 and careful[2] > plain[2]
    for beta, shifts in ((1.0, plain), (3.0, careful)):
        assert mean(beta, shifts) >= max(mean(beta, tried) for tried in (np.zeros(3), plain, careful)) - 1e-6


def test_of_many_classes_each_is_measured(make_card, cpu, tmp_path):
    """A field in three colours, of which a fifth of the pixels have another one's."""
    classes = [{"id": n, "name": name, "color": c} for n, (name, c) in enumerate(COLOURS.items())]
    rule = {"scale": 255.0, "mean": [0.0] * 3, "std": [1.0] * 3}
    card = make_card(tile=64, overlap=24, classes=classes, normalisation=rule, task="plants", gsd=0.01)
    network = Coloured(3, [])
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (12, 16)), np.ones((8, 8))).astype(np.uint8)
    shown = np.where(rng.random(labels.shape) < 0.2, (labels + 1) % 3, labels)
    image = np.where(np.arange(3)[:, None, None] == shown, 200, 30).astype(np.uint8)
    area = Area("field", image, labels, labels * np.int32(0), np.ones(labels.shape, bool), 0.01)
    answers = []
    found = measure(LoadedModel(card, network.eval(), tmp_path), [area], cpu, on_answer=answers.append)["field"]
    np.testing.assert_array_equal(answers[0].labels(0.5), shown)
    pixels = torch.tensor(shown).long(), torch.tensor(labels).long()
    recalls = oracle.MulticlassRecall(3, average=None)(*pixels)
    assert [found[f"{name} recall"] for name in COLOURS] == pytest.approx(recalls.tolist())
    assert found["mean iou"] == pytest.approx(oracle.MulticlassJaccardIndex(3, average=None)(*pixels)[1:].mean().item())
    assert found["kappa"] == pytest.approx(oracle.MulticlassCohenKappa(3)(*pixels).item())
    assert found["calibration error"] < 0.15
    picture = panel(answers[0], card)
    at = tuple(np.argwhere(labels == 2)[0])
    assert tuple(picture[:, at[0], 128 + 4 + at[1]]) == (0, 0, 255), "the truth has the card's colours"


def test_the_cuts_are_those_with_the_best_f1_of_roofs(model, cpu):
    areas = [a_terrace(), a_terrace(gsd=0.2)]
    answers = list(ask(model, areas, cpu))
    threshold, separation = choose_cuts(answers)
    tally = Tally(model.card.model_copy(update={"threshold": threshold, "separation": separation}))
    for answer in answers:
        tally.add(answer)
    assert tally.metrics()["roofs f1"] == 1
    assert threshold == 0.5, "all are as good, and there the edges are"
    assert choose_cuts([]) == (0.5, Separation())


def test_pieces_that_are_hardly_likely_are_left_out_where_that_is_better(model, cpu):
    area = a_terrace()
    image = area.image.copy()
    for left in range(4, 120, 12):
        image[:2, 76:86, left : left + 10] = 150  # yards that look like roofs, a little
    answers = list(ask(model, [replace(area, image=image)], cpu))
    threshold, separation = choose_cuts(answers)
    roofs = answers[0].roofs(threshold, separation)
    assert len(np.unique(roofs)) == 1 + 3 and separation.sure > threshold
    unsure = separation.model_copy(update={"sure": 0.0})
    assert len(np.unique(answers[0].roofs(0.5, unsure))) == 1 + 3 + 10


def test_panels_show_image_truth_and_prediction(model, cpu, tmp_path):
    (answer,) = ask(model, [a_terrace()], cpu)
    picture = panel(answer, model.card)
    write_picture(tmp_path / "new" / "panel.png", picture)
    with rasterio.open(tmp_path / "new" / "panel.png") as file:
        np.testing.assert_array_equal(file.read(), picture)
    width = (picture.shape[2] - 8) // 3
    image, truth, found = (picture[:, :, k * (width + 4) : k * (width + 4) + width] for k in range(3))
    np.testing.assert_array_equal(image, answer.area.image)
    for side in (truth, found):
        assert len({tuple(side[:, 45, 32 + 32 * k]) for k in range(3)}) == 3, "a colour a roof"


@pytest.mark.parametrize("name", ["rooftop-lite"])
def test_the_shipped_weights_measure_as_their_card_says(name, data_root, cpu):
    shipped = load_model(name)
    found = measure(shipped, read_set(data_root, "dhaka", "test", classes=["background", "roof"]), cpu)["dhaka"]
    for key, value in found.items():
        assert value == pytest.approx(shipped.card.accuracy[f"dhaka {key}"], abs=0.02), key

"""Training: it learns, a killed run resumes to the same losses, and a loss that is no number stops it."""

from __future__ import annotations

from types import SimpleNamespace

import lightning
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rotacube.errors import DatasetDamaged, OptionsRefused, TrainingFailed
from rotacube.inference.device import Place
from rotacube.models.store import LoadedModel, load_model, save_model
from rotacube.networks.lite_unet import load_imagenet
from rotacube.networks.registry import create_model
from rotacube.training import data
from rotacube.training.data import training_areas
from rotacube.training.datasets.areas import Area
from rotacube.training.finish import _fields, finish
from rotacube.training.fit import LAST, TRAINED, fit, read_losses, start
from rotacube.training.recipe import Recipe
from rotacube.training.task import DenseTask


def a_recipe(**changes):
    """A tiny one that needs no imagery but drawn scenes."""
    schedule = {"steps": 6, "rate": 3e-3, "checkpoint_steps": 2, "average": 0.5} | changes.pop("schedule", {})
    return Recipe.model_validate(
        {
            "architecture": "lite-unet",
            "options": {"width": 0.25, "further": ["border", "distance"]},
            "gsd": 0.3,
            "tile": 96,
            "overlap": 32,
            "precision": "32-true",
            "data": {"drawn": 2, "drawn_share": 1, "crop": 64, "batch": 2, "workers": 0},
            "schedule": schedule,
            "card": {"name": "small-try", "title": "A try", "licence": "MIT", "attribution": "nobody"},
            **changes,
        }
    )


@pytest.fixture(autouse=True)
def small_scenes(monkeypatch):
    monkeypatch.setattr(data, "DRAWN_SIDE", 160)


class Killed(Exception):
    """As if the process had been."""


def losses(folder):
    return {row["step"]: row["loss"] for row in read_losses(folder)}


@pytest.mark.parametrize(("fast", "used"), [(True, "bf16-mixed"), (False, "32-true")])
def test_bfloat16_is_used_where_the_hardware_multiplies_in_it(tmp_path, monkeypatch, fast, used):
    place = Place(torch.device("cpu"), torch.bfloat16 if fast else torch.float32, 1)
    monkeypatch.setattr("rotacube.training.fit.choose_place", lambda: place)
    asked = []
    monkeypatch.setattr(
        lightning, "Trainer", lambda **named: asked.append(named["precision"]) or SimpleNamespace(fit=lambda *a, **k: 0)
    )
    fit(a_recipe(precision="auto"), tmp_path, tmp_path / "work", progress=False)
    assert asked == [used]


def test_a_killed_run_resumes_to_the_same_losses_and_weights(tmp_path, monkeypatch):
    whole = fit(a_recipe(), tmp_path, tmp_path / "whole", progress=False)
    assert not whole.training and list(losses(tmp_path / "whole")) == [1, 3, 5]
    real = DenseTask.training_step

    def dies(self, batch, index):
        if self.global_step == 3:
            raise Killed
        return real(self, batch, index)

    monkeypatch.setattr(DenseTask, "training_step", dies)
    with pytest.raises(Killed):
        fit(a_recipe(), tmp_path, tmp_path / "killed", progress=False)
    monkeypatch.setattr(DenseTask, "training_step", real)
    assert (tmp_path / "killed" / LAST).is_file()
    again = fit(a_recipe(), tmp_path, tmp_path / "killed", progress=False)
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_soup_is_the_mean_of_its_runs_and_is_gone_on_with(tmp_path):
    soup = {"runs": 2, "schedule": {"steps": 3, "rate": 1e-3, "checkpoint_steps": 1, "average": 0.5}}
    recipe, steps = a_recipe(soup=soup), []
    network = fit(recipe, tmp_path, tmp_path / "run", progress=False, on_step=lambda *told: steps.append(told[:2]))
    assert steps == [(step, 12) for step in range(1, 13)]
    runs = [load_file(tmp_path / "run" / part / TRAINED) for part in (".", "soup-1", "soup-2")]
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, sum(run[name] for run in runs) / 3, rtol=1e-5, atol=1e-6)
    first, second, third = (run["stem.0.weight"] for run in runs)
    assert not torch.equal(second, third) and not torch.equal(first, second)
    alone = fit(a_recipe(), tmp_path, tmp_path / "alone", progress=False).state_dict()
    torch.testing.assert_close(alone["stem.0.weight"], first, rtol=0, atol=0)

    def killed(done, total, loss):
        if done == 8:
            raise Killed

    with pytest.raises(Killed):
        fit(recipe, tmp_path, tmp_path / "again", progress=False, on_step=killed)
    again = fit(recipe, tmp_path, tmp_path / "again", progress=False).state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again[name], value, rtol=1e-4, atol=1e-5)
    assert "2 runs of 3 steps went on, and the weights are the mean of all" in _fields(recipe)["training_data"]


def test_a_loss_that_is_no_number_stops_and_keeps_its_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("rotacube.training.task.class_loss", lambda logits, *more: logits.sum() * float("nan"))
    with pytest.raises(TrainingFailed, match=r"no number at step 0\. Its batch is kept in .*failed-batch\.pt"):
        fit(a_recipe(), tmp_path, tmp_path / "run", progress=False)
    batch = torch.load(tmp_path / "run" / "failed-batch.pt", weights_only=True)
    assert batch["image"].shape == (2, 3, 64, 64) and batch["labels"].shape == (2, 1, 64, 64)


def test_a_student_learns_from_a_teacher_that_is_not_saved_with_it(tmp_path):
    taught = start(a_recipe())
    save_model(taught, _fields(a_recipe()) | {"accuracy": {}}, tmp_path / "teacher")
    student = a_recipe(
        architecture="convnext-cube-small",
        options={"width": 0.2, "further": ["distance"]},
        teacher=str(tmp_path / "teacher"),
        losses={"features": 1.0},
    )
    network = fit(student, tmp_path, tmp_path / "run", progress=False)
    assert {"loss/imitation", "loss/features"} <= read_losses(tmp_path / "run")[0].keys()
    assert not [
        name for name in torch.load(tmp_path / "run" / LAST, weights_only=True)["state_dict"] if "taught" in name
    ]
    assert network.channels == {"logits": 1, "distance": 1}


def test_a_teacher_may_be_imitated_where_no_label_is_known_alone(monkeypatch):
    teacher = create_model("lite-unet", 3, 2, width=0.25).eval()
    recipe = a_recipe(losses={"taught": "unknown"})
    task = DenseTask(create_model("lite-unet", 3, 2, width=0.25), recipe.losses, recipe.schedule, teacher=teacher)
    told = {}
    monkeypatch.setattr(task, "log_dict", told.update)
    monkeypatch.setattr(task, "log", lambda *about, **more: None)
    ones = torch.ones(2, 1, 64, 64)
    batch = {"image": torch.randn(2, 3, 64, 64), "labels": ones, "seen": ones, "valid": ones.clone()}
    task.training_step(batch, 0)
    assert "loss/imitation" not in told
    batch["valid"][..., :32] = 0
    task.training_step(batch, 0)
    found, taught = task.network(batch["image"]).detach(), teacher(batch["image"]).detach()
    want = torch.nn.functional.binary_cross_entropy_with_logits(found[..., :32], taught[..., :32].sigmoid())
    assert told["loss/imitation"] == pytest.approx(float(want), rel=0.2)  # its norms have moved a little


def test_a_teacher_that_has_no_further_outputs_is_imitated_in_its_classes(tmp_path):
    plain = a_recipe(options={"width": 0.25})
    save_model(start(plain), _fields(plain) | {"accuracy": {}}, tmp_path / "teacher")
    options = {"width": 0.1}
    student = a_recipe(architecture="ri-unet-4", options=options, teacher=str(tmp_path / "teacher"))
    fit(student, tmp_path, tmp_path / "run", progress=False)
    assert read_losses(tmp_path / "run")[0]["loss/imitation"] > 0


def test_what_it_starts_from_has_to_fit(tmp_path):
    with pytest.raises(OptionsRefused, match="Only lite-unet has ImageNet weights"):
        start(a_recipe(architecture="unet", options={"width": 0.25}, init="imagenet"))
    with pytest.raises(OptionsRefused, match="fits ConvNeXt networks only"):
        start(a_recipe(init="timm.safetensors"))
    with pytest.raises(OptionsRefused, match="does not label pixels"):
        start(a_recipe(architecture="vgg-16", options={}))


def test_imagenet_weights_fill_the_encoder_and_see_what_they_were_trained_for():
    network = create_model("lite-unet", 3, 2).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_imagenet(network)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    encoder = {name for name in before if name.startswith(("stem", "blocks")) and "num_batches" not in name}
    assert changed == encoder
    with torch.inference_mode():
        maps = network.encode(torch.randn(1, 3, 128, 128))
    assert [tuple(part.shape[1:]) for part in maps] == [
        (16, 64, 64), (24, 32, 32), (40, 16, 16), (112, 8, 8), (320, 4, 4)
    ]  # fmt: skip
    assert all(0.05 < part.std() < 50 for part in maps), "the norms' means and variances fit their weights"


def test_a_set_is_drawn_by_its_share_and_a_town_by_its_size(data_root):
    recipe = a_recipe(
        data={"sets": {"dhaka": 0.5, "kampala": 0.2}, "drawn": 2, "drawn_share": 0.2, "unlabelled_share": 0.1}
    )
    with pytest.raises(DatasetDamaged, match="no unlabelled imagery"):
        training_areas(data_root, recipe)
    recipe = a_recipe(data={"sets": {"dhaka": 0.5, "banepa": 0.2}, "unlabelled_share": 0.1})
    areas, note = training_areas(data_root, recipe)
    share = {}
    for area, weight in areas:
        key = (area.name, area.labelled)
        share[key] = share.get(key, 0) + weight
    assert share == pytest.approx({("dhaka", True): 0.5, ("banepa", True): 0.2, ("banepa", False): 0.1}) and not note


def test_a_card_says_what_was_measured(tmp_path, monkeypatch, cpu):
    from rotacube.training import finish as module
    from rotacube.training.datasets.rooftops import drawn_areas

    scenes = list(drawn_areas(2, 160, 0.3, seed=1))
    for where in (data, module):
        monkeypatch.setattr(
            where, "read_set", lambda root, name, split, *more, **named: scenes[: 1 + (split != "test")]
        )
    monkeypatch.setattr(module, "tested", lambda recipe, root: ["drawn"])
    recipe = a_recipe(data={"sets": {"dhaka": 1.0}, "drawn": 2, "drawn_share": 1, "crop": 64, "batch": 2})
    network, said = start(recipe).eval(), []
    card = finish(network, recipe, tmp_path, tmp_path / "model", cpu, said.append)
    found = module.measure(LoadedModel(card, network, tmp_path), scenes[:1], cpu)["drawn"]
    for key, value in found.items():
        assert card.accuracy[f"drawn {key}"] == pytest.approx(value, abs=1e-3)
    assert card.threshold in module.THRESHOLDS and card.separation.saddle in module.SADDLES and len(said) == 2
    assert [output.name for output in card.further] == ["border", "distance"]
    (truth, found, matched), table = card.counts[scenes[0].name], card.confusion[scenes[0].name]
    assert truth > matched <= found and np.sum(table, 1) == pytest.approx(1, abs=1e-5)
    assert "dhaka 100%, 2 drawn scenes" in card.training_data and np.isfinite(list(card.accuracy.values())).all()


def test_plants_are_learned_and_measured_by_class(tmp_path, monkeypatch, cpu):
    """Three colours of plants on soil; the recipe is one of another task, and needs no imagery but this."""
    from rotacube.training import finish as module

    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (12, 12)), np.ones((12, 12))).astype(np.uint8)
    image = (np.where(np.arange(3)[:, None, None] == labels, 200, 30) + rng.integers(0, 40, (3, 144, 144))).astype("u1")
    area = Area("potato", image, labels, labels * np.int32(0), np.ones(labels.shape, bool), 0.0025)
    for where in (data, module):
        monkeypatch.setattr(where, "read_set", lambda root, name, split, faults=None, *, classes: [area])
    monkeypatch.setattr(module, "tested", lambda recipe, root: ["potato"])
    recipe = a_recipe(
        task="plants",
        classes={"soil": "#886644", "potato": "#00aa00", "weed": "#aa0000"},
        options={"width": 0.25},
        gsd=0.0025,
        data={"sets": {"potato": 1.0}, "crop": 64, "batch": 2, "workers": 0, "centred": 0.5},
        losses={"weights": [0.5, 1, 2]},
    )
    network = fit(recipe, tmp_path, tmp_path / "run", progress=False)
    card = finish(network, recipe, tmp_path, tmp_path / "model", cpu, lambda text: None)
    assert {"loss", "loss/classes"} <= read_losses(tmp_path / "run")[0].keys()
    assert card.task == "plants" and [part.name for part in card.classes] == ["soil", "potato", "weed"]
    np.testing.assert_allclose(np.sum(card.confusion["potato"], 1), 1, atol=1e-5)
    assert {"potato mean iou", "potato weed recall", "potato calibration error"} <= card.accuracy.keys()
    assert "roof" not in str(card.accuracy) and not card.counts
    before = load_model(str(tmp_path / "model")).network.state_dict()
    careful = finish(
        network, recipe.model_copy(update={"beta": 8.0}), tmp_path, tmp_path / "careful", cpu, lambda text: None
    )
    after = load_model(str(tmp_path / "careful")).network.state_dict()
    assert sum((before[name] != after[name]).any().item() for name in before if name.endswith("bias")) >= 1
    recalls = [[each.accuracy[f"potato {name} recall"] for name in ("potato", "weed")] for each in (card, careful)]
    assert np.mean(recalls[1]) >= np.mean(recalls[0])
    with pytest.raises(ValueError, match="of two the threshold is chosen"):
        a_recipe(beta=2)
    with pytest.raises(ValueError, match="a weight for each of the 3 classes"):
        Recipe.model_validate(recipe.model_dump() | {"losses": {"weights": [1, 2]}})
    with pytest.raises(ValueError, match="for rooftops alone"):
        Recipe.model_validate(recipe.model_dump() | {"options": {"further": ["border"]}})

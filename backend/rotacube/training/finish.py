"""From a trained network to a model: calibrated, its choices made on validation, measured on test, its card written.

`python -m rotacube.training.finish RECIPE FOLDER` chooses and measures anew what the card of a finished model says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rotacube.inference.device import Place, choose_place
from rotacube.models.card import ModelCard, Separation
from rotacube.models.store import LoadedModel, find_model, load_model, save_model, save_weights
from rotacube.networks.dense import FURTHER, DenseNetwork
from rotacube.networks.registry import NETWORKS
from rotacube.training.data import labelled_areas
from rotacube.training.datasets.areas import Area, Faults, known_root
from rotacube.training.datasets.folder import read_description, split_areas
from rotacube.training.datasets.sets import read_set, sets_at
from rotacube.training.evaluate import Answer, ask, measure
from rotacube.training.metrics import Roofs, compare_classes, compare_roofs
from rotacube.training.recipe import Recipe, read_recipe

THRESHOLDS = tuple(np.arange(0.3, 0.701, 0.05).round(2).tolist())
SADDLES = tuple(np.arange(0.1, 0.401, 0.05).round(2).tolist())
BORDERS = (0.0, 0.25, 0.5, 0.75, 1.0)
SURES = tuple(np.arange(0.4, 0.851, 0.05).round(2).tolist())
ENOUGH = 100
"""Roofs of a place that make the choice of how they are told apart."""
KNOWN = 0.5
"""The share of the imagery that is held out, from which on what is known of it tells how a model is cut."""
SHIFTS = tuple(np.arange(0, 2.01, 0.25).tolist())
NEAR = 0.01
TEMPERATURES = np.exp(np.linspace(np.log(0.4), np.log(2.5), 43))
Say = Callable[[str], None]


def finish(network: DenseNetwork, recipe: Recipe, root: Path, folder: Path, place: Place, say: Say) -> ModelCard:
    """Calibrate, choose, measure and write a model.

    Args:
        network: trained, in eval mode; its logits are scaled.
        recipe: that it was trained by.
        root: the data folder.
        folder: takes the model.
        place: where the network runs.
        say: is told what is going on.
    """
    draft = LoadedModel(draft_card(recipe), network, folder)
    say("Choosing the temperature, the threshold and how roofs are told apart on validation")
    areas = (area for _, found in labelled_areas(root, recipe, "validation", Faults()) for area in found)
    answers = list(ask(draft, areas, place))
    first = _first(recipe)
    kept = first if first and _little_is_known(answers) else None
    temperature = 1.0 if kept else choose_temperature(answers)
    network.scale_logits(1 / temperature)
    answers = [replace(answer, logits=answer.logits / temperature) for answer in answers]
    if recipe.beta:
        shifts = choose_shifts(answers, recipe.beta)
        network.shift_logits(shifts)
        onto = np.array(shifts, np.float32)[:, None, None]
        answers = [replace(answer, logits=answer.logits + onto) for answer in answers]
    cuts = (kept.threshold, kept.separation) if kept else None
    fields = _fields(recipe) | _chosen(answers, draft, recipe, root, place, cuts)
    save_model(network, fields | {"accuracy": {}}, folder, bits=recipe.bits)
    model = load_model(str(folder))  # with its weights as the file has them
    accuracy = _measured(model, recipe, root, place, say)
    if first:
        accuracy |= _before(recipe, root, place, say)
    return save_model(network, fields | {"accuracy": accuracy}, folder, bits=recipe.bits)


def _first(recipe: Recipe) -> ModelCard | None:
    """The card of the model that a recipe goes on with on a folder of somebody's; none if it has other classes."""
    if not (recipe.data.folder and recipe.init):
        return None
    card, _ = find_model(recipe.init)
    return card if [part.name for part in card.classes] == list(recipe.classes) else None


def _little_is_known(answers: Sequence[Answer]) -> bool:
    """Whether so little is known of what is held out that what is found too much cannot be seen there: temperature and
    cuts stay those of the first model then.
    """
    known, seen = (sum(int(getattr(answer.area, name).sum()) for answer in answers) for name in ("valid", "seen"))
    return known < KNOWN * seen


def choose_again(recipe: Recipe, root: Path, folder: Path, place: Place, say: Say) -> ModelCard:
    """Choose and measure anew what the card of a finished model says; its weights stay, and so does its temperature.

    Args:
        recipe: that it was trained by.
        root: the data folder.
        folder: of the model.
        place: where the network runs.
        say: is told what is going on.
    """
    model = load_model(str(folder))
    say("Choosing the threshold and how roofs are told apart on validation")
    areas = (area for _, found in labelled_areas(root, recipe, "validation", Faults()) for area in found)
    chosen = _chosen(list(ask(model, areas, place)), model, recipe, root, place)
    fields = model.card.model_dump(exclude={"weights", "accuracy"}) | chosen
    weights = model.card.weights
    content = (folder / weights.file).read_bytes()
    save_weights(content, ".safetensors", weights.parameters, fields | {"accuracy": {}}, folder)
    accuracy = _measured(load_model(str(folder)), recipe, root, place, say)
    return save_weights(content, ".safetensors", weights.parameters, fields | {"accuracy": accuracy}, folder)


def _chosen(
    answers: Sequence[Answer],
    model: LoadedModel,
    recipe: Recipe,
    root: Path,
    place: Place,
    cuts: tuple[float, Separation] | None = None,
) -> dict[str, object]:
    """The fields of the card that are chosen or counted on validation; the cuts may have been chosen before."""
    threshold, separation = cuts or choose_cuts([*answers, *_more_roofs(answers, model, recipe, root, place)])
    return {
        "threshold": threshold,
        "separation": separation.model_dump(exclude_unset=True),
        "confusion": confusion(answers, threshold, len(recipe.classes)),
        "counts": {name: found[:3] for name, found in count_roofs(answers, threshold, separation).items()},
    }


def _measured(model: LoadedModel, recipe: Recipe, root: Path, place: Place, say: Say) -> dict[str, float]:
    """All figures of what is held out, by place."""
    accuracy: dict[str, float] = {}
    for name, held in held_out(recipe, root):
        say(f"Measuring on {name}")
        for town, found in measure(model, held, place).items():
            accuracy |= {f"{town} {key}": round(value, 4) for key, value in found.items()}
    return accuracy


def _more_roofs(
    answers: Sequence[Answer], model: LoadedModel, recipe: Recipe, root: Path, place: Place
) -> Iterator[Answer]:
    """Training areas of the places that have some roofs on validation, but too few of them to choose by."""
    roofs: dict[str, int] = {}
    for answer in answers:
        roofs[answer.area.name] = roofs.get(answer.area.name, 0) + int(answer.area.ids.max(initial=0))
    few = {name for name, count in roofs.items() if 0 < count < ENOUGH}
    if few:
        areas = (area for _, found in labelled_areas(root, recipe, "train", Faults()) for area in found)
        yield from ask(model, (area for area in areas if area.name in few), place)


def _before(recipe: Recipe, root: Path, place: Place, say: Say) -> dict[str, float]:
    """How good the model that a recipe starts from is where the new one was measured."""
    first = load_model(recipe.init)
    say(f"Measuring {recipe.init} there, to compare")
    found = [measure(first, areas, place) for _, areas in held_out(recipe, root)]
    return {
        f"{town} before: {key}": round(value, 4)
        for towns in found
        for town, figures in towns.items()
        for key, value in figures.items()
        if key in ("iou", "mean iou", "roofs f1", "roofs f1 low", "roofs f1 high")
    }


def held_out(recipe: Recipe, root: Path) -> Iterator[tuple[str, list[Area]]]:
    """What a model is measured on, place by place: test splits of sets, and what a folder holds out."""
    if recipe.data.folder:
        yield "what is held out", split_areas(Path(recipe.data.folder), "test", Faults())
    else:
        for name in tested(recipe, root):
            yield f"the test split of {name}", read_set(root, name, "test", classes=list(recipe.classes))


def tested(recipe: Recipe, root: Path) -> list[str]:
    """The sets that a model is measured on: its own, and of those that it has never seen the ones that are there, if
    weights of the same task may know them.
    """
    own = list(recipe.data.sets)
    folders = {name.removeprefix("all_") for name in own}
    return own + [name for name in sets_at(root, list(recipe.classes)) if name not in folders]


def choose_temperature(answers: Sequence[Answer]) -> float:
    """The temperature (Guo et al. 2017) with the least cross-entropy, each place weighing the same."""
    losses: dict[str, list[tuple[Any, int]]] = {}
    for answer in answers:
        logits, truth = answer.logits[:, answer.area.valid], answer.area.labels[answer.area.valid]
        if not len(truth):
            continue
        some = np.s_[:: max(1, len(truth) // 200_000)]
        each = np.array([_cross_entropy(logits[:, some] / t, truth[some]) for t in TEMPERATURES])
        losses.setdefault(answer.area.name, []).append((each, len(truth)))
    places = [
        np.average([each for each, _ in parts], axis=0, weights=[n for _, n in parts]) for parts in losses.values()
    ]
    return round(float(TEMPERATURES[np.mean(places, 0).argmin()]), 3)


def _cross_entropy(logits: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """The mean over pixels; logits (outputs, N), truth (N,)."""
    if len(logits) == 1:
        return float(np.logaddexp(0, np.where(truth > 0, -logits[0], logits[0])).mean())
    return float((np.logaddexp.reduce(logits, 0) - np.take_along_axis(logits, truth[None].astype(int), 0)[0]).mean())


def choose_shifts(answers: Sequence[Answer], beta: float) -> list[float]:
    """What is added to the logits of each class, for the best mean F-beta of all but the first: with a beta above 1 a
    miss counts more than a false find.

    The classes are tried one after the other, twice; pixels of all places count the same.
    """
    logits = np.concatenate([answer.logits[:, answer.area.valid] for answer in answers], 1)
    truth = np.concatenate([answer.area.labels[answer.area.valid] for answer in answers])
    classes, shifts = len(logits), np.zeros(len(logits), np.float32)

    def score(tried: NDArray[np.float32]) -> float:
        found = (logits + tried[:, None]).argmax(0).astype(np.uint8)
        counts = compare_classes(truth, found, np.ones(truth.shape, bool), classes)
        hit, there, called = counts.diagonal()[1:], counts.sum(1)[1:], counts.sum(0)[1:]
        return float(np.mean(((1 + beta**2) * hit / np.maximum(1, beta**2 * there + called))[there > 0]))

    for number in [*range(1, classes)] * 2:
        tries = [np.where(np.arange(classes) == number, np.float32(shift), shifts) for shift in SHIFTS]
        shifts = max(tries, key=score)
    return [float(shift) for shift in shifts]


def confusion(answers: Sequence[Answer], threshold: float, classes: int) -> dict[str, list[list[float]]]:
    """By place, of the pixels of each true class (rows) the shares that are found as each class (columns).

    A class that is not there has a row of zeros.
    """
    counts: dict[str, Any] = {}
    for answer in answers:
        area = answer.area
        found = compare_classes(area.labels, answer.labels(threshold), area.valid, classes)
        counts[area.name] = counts.get(area.name, 0) + found
    return {
        name: (found / np.maximum(1, found.sum(1, keepdims=True))).round(6).tolist() for name, found in counts.items()
    }


def count_roofs(answers: Sequence[Answer], threshold: float, separation: Separation) -> dict[str, Roofs]:
    """By place, the roofs of the places that have any."""
    counts = {answer.area.name: Roofs() for answer in answers if (answer.area.ids > 0).any()}
    for answer in answers:
        area = answer.area
        if area.name in counts:
            found = compare_roofs(area.ids, answer.roofs(threshold, separation), area.certain, area.gsd)
            counts[area.name] = counts[area.name].plus(found)
    return counts


def choose_cuts(answers: Sequence[Answer]) -> tuple[float, Separation]:
    """The threshold and the way to tell roofs apart with the best F1 of roofs.

    A place weighs as the square root of its roofs, as sure as its figure is. A choice counts with those beside it,
    since few roofs make single figures noisy; of equals the first is taken. Of thresholds that are as good but for
    `NEAR` the one next to a half is: there a calibrated mask has its edges.
    """
    if not any((answer.area.ids > 0).any() for answer in answers):
        return 0.5, Separation()

    def f1(threshold: float, separation: Separation) -> float:
        counts = count_roofs(answers, threshold, separation).values()
        return float(np.average([roofs.f1 for roofs in counts], weights=[roofs.truth**0.5 for roofs in counts]))

    threshold, sure = 0.5, SURES[0]
    for _ in range(2):  # one after the other: they hardly depend on each other
        ways = [[Separation(saddle=saddle, border=border, sure=sure) for saddle in SADDLES] for border in BORDERS]
        row, column = _best([[f1(threshold, way) for way in line] for line in ways])
        separation = ways[row][column]
        surer = [separation.model_copy(update={"sure": sure}) for sure in SURES]
        separation = surer[_best([f1(threshold, way) for way in surer])[0]]
        sure = separation.sure
        means = _smoothed([f1(cut, separation) for cut in THRESHOLDS])
        good = [cut for cut, mean in zip(THRESHOLDS, means, strict=True) if mean >= means.max() - NEAR]
        threshold = min(good, key=lambda cut: abs(cut - 0.5))
    return threshold, separation


def _best(figures: Sequence[Any]) -> tuple[int, ...]:
    """Where the mean of figures and those beside them is highest."""
    means = _smoothed(figures)
    return tuple(int(n) for n in np.unravel_index(means.argmax(), means.shape))


def _smoothed(figures: Sequence[Any]) -> NDArray[np.float64]:
    """The means of figures and those beside them."""
    means: NDArray[np.float64] = ndimage.uniform_filter(np.array(figures, float), 3, mode="nearest").round(9)
    return means


def _fields(recipe: Recipe) -> dict[str, Any]:
    """The card's fields, but for what is measured."""
    data, schedule = recipe.data, recipe.schedule
    sets = ", ".join(f"{name} {share:.0%}" for name, share in data.sets.items())
    taught = f"Polygons on {read_description(Path(data.folder)).get('raster', 'a raster')}" if data.folder else ""
    taught = taught or f"The training splits (by place) of {sets}"
    drawn = f", {data.drawn} drawn scenes {data.drawn_share:.0%}" if data.drawn else ""
    further = list(recipe.options.get("further", ()))
    return {
        "task": recipe.task,
        "architecture": recipe.architecture,
        "options": recipe.options,
        "source": NETWORKS[recipe.architecture].source,
        "bands": ["red", "green", "blue"],
        "gsd": recipe.gsd,
        "tile": recipe.tile,
        "overlap": recipe.overlap,
        "normalisation": recipe.normalisation.model_dump(),
        "classes": [
            {"id": number, "name": name, "color": color} for number, (name, color) in enumerate(recipe.classes.items())
        ],
        "threshold": 0.5,
        "further": [{"name": name, **FURTHER[name]._asdict()} for name in further],
        "training_data": f"{taught}{drawn}. {schedule.steps} steps of {data.batch} "
        f"crops of {data.crop} px at {recipe.gsd} m x {data.scales[0]:g} to {data.scales[1]:g}, "
        f"from {recipe.init or 'random weights'}"
        + (f", taught by {recipe.teacher}" if recipe.teacher else "")
        + "."
        + _soup(recipe),
        **recipe.card,
    }


def _soup(recipe: Recipe) -> str:
    """A sentence on the runs whose mean a model is; empty if it is none."""
    if recipe.soup is None:
        return ""
    soup = recipe.soup
    runs = "a run" if soup.runs == 1 else f"{soup.runs} runs"
    return f" From there {runs} of {soup.schedule.steps} steps went on, and the weights are the mean of all."


def draft_card(recipe: Recipe) -> ModelCard:
    """The card of a network that is not saved yet, nothing chosen and nothing measured."""
    weights = {"file": "none.safetensors", "sha256": "0" * 64, "parameters": 0}
    return ModelCard.model_validate({**_fields(recipe), "accuracy": {}, "weights": weights})


if __name__ == "__main__":
    named, model_folder = sys.argv[1:]
    choose_again(read_recipe(named), known_root(), Path(model_folder), choose_place(), print)

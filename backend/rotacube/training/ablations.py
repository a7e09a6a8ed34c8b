"""The papers' ablations, small: each variant trained from random weights with several seeds, all else equal.

`python -m rotacube.training.ablations FOLDER PAGE [STUDY ...] [KEY=VALUE ...]` carries out what is not done yet and
writes the page from all that is. A run is a folder with its checkpoints and a `result.json`; killed, it goes on. There
is no temperature, and the threshold is 0.5: test figures are those of the training alone. Only where single roofs are
counted it is chosen on validation how they are told apart, since that differs from one variant to the other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rotacube.files import write_text
from rotacube.inference.device import Place, choose_place
from rotacube.models.store import LoadedModel
from rotacube.training.data import labelled_areas
from rotacube.training.datasets.areas import Faults, known_root
from rotacube.training.datasets.scenes import read_scenes
from rotacube.training.datasets.sets import read_set
from rotacube.training.evaluate import ask, measure, measure_turned
from rotacube.training.finish import choose_cuts, draft_card
from rotacube.training.fit import fit
from rotacube.training.recipe import Recipe, Schedule, change
from rotacube.training.scenes import train_fold

SEEDS = (1, 2, 3)
Figures = dict[str, float]
_PLANTS = {"soil": "#c9b18c", "potato": "#8fd14f", "weed": "#d7263d"}
_SCHEDULE = {"steps": 400, "rate": 2e-3, "decay": 0.01, "average": 0.98, "warm_up": 0.1}


@dataclass(frozen=True)
class Study:
    """One question.

    Attributes:
        title: the question.
        claim: what the paper says, with the figures that it prints.
        base: of a recipe, but for architecture and options.
        variants: architecture and options by name.
        figures: what is compared, as `rotacube eval` names it; means over the places, or "in" one of them.
        options: of all variants.
        chosen: whether it is chosen on validation how roofs are told apart.
        without: the set that a variant does not learn from; all are tested.
        scenes: the set whose scenes are classified, a fold a seed; empty: pixels are.
        seeds: of weights and crops.
    """

    title: str
    claim: str
    base: Mapping[str, Any]
    variants: Mapping[str, tuple[str, Mapping[str, Any]]]
    figures: tuple[str, ...] = ("iou", "turned iou", "quarter turn")
    options: Mapping[str, Any] = field(default_factory=lambda: {"width": 0.25})
    chosen: bool = False
    without: Mapping[str, str] = field(default_factory=dict)
    scenes: str = ""
    seeds: tuple[int, ...] = SEEDS


_ROOFS = {
    "data": {"sets": {"kampala": 0.5, "banepa": 0.5}, "crop": 128, "batch": 8},
    "schedule": _SCHEDULE,
}
_APART = {
    "init": "imagenet",
    "data": {
        "sets": {"kampala": 0.3, "banepa": 0.35, "dhaka": 0.15, "negatives": 0.2},
        "crop": 192,
        "batch": 8,
    },
    "losses": {"classes": 1.0, "border": 0.5, "distance": 1.5, "direction": 0.5},
    "schedule": {"steps": 120, "rate": 1e-3, "encoder": 0.3, "average": 0.98},
}
_TOWNS = ("kampala", "banepa", "dhaka")
_FIELD = {
    "task": "plants",
    "classes": _PLANTS,
    "gsd": 0.004,
    "tile": 256,
    "overlap": 64,
    "data": {"sets": {"potato": 1.0}, "crop": 128, "batch": 8, "centred": 0.6},
    "losses": {"weights": [0.6, 1.0, 2.0]},
    "schedule": _SCHEDULE,
}

STUDIES = {
    "cube": Study(
        "Cube convolution in UNet's last stage",
        "Cube Kernel, tables 2 and 3, IoU on WBD: UNet 0.7775, UNet + Conv 0.7990, UNet + Cube 0.8607.",
        _ROOFS,
        {name: (name, {}) for name in ("unet", "unet-conv", "unet-cube")},
        ("iou",),
    ),
    "stride": Study(
        "Stride of the Cube",
        "Cube Kernel, IoU on WBD: stride 1 0.8394, stride 2 0.8607, a normal kernel 0.7990.",
        _ROOFS,
        {
            "stride 1": ("unet-cube", {"cube": {"stride": 1}}),
            "stride 2": ("unet-cube", {}),
            "a normal kernel": ("unet-conv", {}),
        },
        ("iou",),
    ),
    "placement": Study(
        "Where Cube and Involution stand in UNet",
        "Cube Kernel, table 2, IoU on WBD: UNet+Cube 0.8607, Cube+UNet 0.8224, Involution+UNet 0.8380, UNet+Involution "
        "0.7054, Invo+UNet+Cube 0.7762, Invo+Cube+UNet 0.8083.",
        _ROOFS,
        {
            name: (name, {})
            for name in (
                "unet-cube",
                "cube-unet",
                "involution-unet",
                "unet-involution",
                "involution-unet-cube",
                "involution-cube-unet",
            )
        },
        ("iou",),
    ),
    "router": Study(
        "Channel router, spatial attention and the lattice of the Cube",
        "Cube Kernel: each of reconstruction, routing and attention on and off; on is better.",
        _ROOFS,
        {
            "none": ("unet-cube", {}),
            "router": ("unet-cube", {"cube": {"router": True}}),
            "attention": ("unet-cube", {"cube": {"attention": True}}),
            "router and attention": ("unet-cube", {"cube": {"router": True, "attention": True}}),
            "grouped instead of the lattice": ("unet-cube", {"cube": {"mode": "grouped"}}),
        },
        ("iou",),
    ),
    "orientations": Study(
        "Orientations of RI-UNet, the same augmentation for all",
        "Accelerated Rotation-Invariant Convolution, accuracy on drone imagery at 256: 1 orientation 90.7%, 4 91.9%, "
        "8 93.9%.",
        _FIELD,
        {
            "unet": ("unet", {}),
            "1 orientation": ("ri-unet-1", {}),
            "4 orientations": ("ri-unet-4", {}),
            "8 orientations": ("ri-unet-8", {}),
            "p4-unet (ours)": ("p4-unet", {}),
        },
        ("mean iou", "accuracy", "turned iou", "quarter turn"),
    ),
    "outputs": Study(
        "Outputs beside the classes, by which single roofs are told apart",
        "None of the papers tells single roofs apart.",
        _APART,
        {
            "none": ("lite-unet", {}),
            "border": ("lite-unet", {"further": ["border"]}),
            "border and distance": ("lite-unet", {"further": ["border", "distance"]}),
            "border and direction of walls": ("lite-unet", {"further": ["border", "direction"]}),
        },
        ("roofs f1", "roofs merged", "roofs split", "iou"),
        options={},
        chosen=True,
    ),
    "places": Study(
        "Places left out: trained without one, tested on it",
        "None of the papers leaves a place out.",
        _APART,
        {name: ("lite-unet", {}) for name in ("all places", *(f"without {town}" for town in _TOWNS))},
        tuple(f"{figure} in {town}" for town in _TOWNS for figure in ("iou", "roofs f1")),
        options={"further": ["border", "distance"]},
        chosen=True,
        without={f"without {town}": town for town in _TOWNS},
    ),
    "fusion": Study(
        "Fusion of the last three stages of a scene classifier, five folds of RSSCN7",
        "Kronecker Product Feature Fusion, AlexNet on UC-Merced: none 0.8810, add 0.9071, concat 0.9119, kpff 0.9190.",
        {"schedule": {**_SCHEDULE, "steps": 600, "rate": 5e-4}, "precision": "auto"},
        {name: ("alexnet", {"fusion": name}) for name in ("none", "add", "concat", "kpff")},
        ("accuracy",),
        scenes="rsscn7",
        seeds=(1, 2, 3, 4, 5),
    ),
}


_scenes = lru_cache(maxsize=1)(read_scenes)  # all folds and variants see the same


def folder_of(study: str, variant: str, folder: Path) -> Path:
    """The folder of a variant's runs: one for all studies in which it is the same."""
    known = STUDIES[study]
    wanted = known.base, known.options, known.figures, known.without.get(variant), known.variants[variant]
    name, same = next(
        (name, same)
        for name, other in STUDIES.items()
        for same, made in other.variants.items()
        if (other.base, other.options, other.figures, other.without.get(same), made) == wanted
    )
    return folder / name / same.replace(" ", "-")


def run(study: str, variant: str, seed: int, folder: Path, root: Path, place: Place, changes: Sequence[str]) -> Figures:
    """Train and measure one variant with one seed, unless that was done.

    Args:
        study: a key of `STUDIES`.
        variant: of it.
        seed: of the weights and of the crops.
        folder: of all runs.
        root: the data folder.
        place: where it is measured.
        changes: of the recipe, "key=value".
    """
    known = STUDIES[study]
    own = folder_of(study, variant, folder) / str(seed)
    result = own / "result.json"
    if result.is_file():
        done: Figures = json.loads(result.read_text(encoding="utf-8"))
        return done
    architecture, options = known.variants[variant]
    if known.scenes:
        base: dict[str, Any] = json.loads(json.dumps(known.base))
        for text in changes:
            change(base, text)
        schedule = Schedule.model_validate(base["schedule"])
        options, precision = {**known.options, **options}, base["precision"]
        scenes = _scenes(root, known.scenes)
        found = train_fold(architecture, options, scenes, seed - 1, schedule, own, precision)
        write_text(result, json.dumps(found | {"steps": schedule.steps}))
        return found
    content = {
        **json.loads(json.dumps(known.base)),
        "architecture": architecture,
        "options": {**known.options, **options},
        "seed": seed,
        "card": {"name": "ablation", "title": "Ablation", "licence": "none", "attribution": "none"},
    }
    for text in changes:
        change(content, text)
    sets = [name for name in content["data"]["sets"] if name != "negatives"]
    content["data"]["sets"].pop(known.without.get(variant), None)
    recipe = Recipe.model_validate(content)
    network = fit(recipe, root, own, progress=False)
    model = LoadedModel(draft_card(recipe), network, own)
    classes = list(recipe.classes)
    areas = [area for name in sets for area in read_set(root, name, "test", classes=classes)]
    if known.chosen:
        held = [area for _, found in labelled_areas(root, recipe, "validation", Faults()) for area in found]
        threshold, how = choose_cuts(list(ask(model, held, place)))
        model = replace(model, card=model.card.model_copy(update={"threshold": threshold, "separation": how}))
    places = measure(model, areas, place)
    if {"turned iou", "quarter turn"} & set(known.figures):
        for name, more in measure_turned(model, areas, place).items():
            places[name] |= more
    found = {}
    for name in known.figures:
        key, _, place_name = name.partition(" in ")
        asked = [places[place_name]] if place_name else places.values()
        found[name] = mean(figures[key] for figures in asked if key in figures)
    found["parameters"] = sum(p.numel() for p in network.parameters())
    found["steps"] = recipe.schedule.steps
    write_text(result, json.dumps(found))
    return found


def page(folder: Path) -> str:
    """The page of all runs that are done."""
    lines = [
        "# The papers' ablations, small",
        "",
        "Written by `make ablations`. Networks of a quarter of the width, from random weights (those of the outputs of "
        "full width, the encoder from ImageNet); test splits of Kampala and Banepa (roofs; with Dhaka where outputs "
        "are compared) and of the potato field (plants), folds of RSSCN7 (scenes). Small data and small budgets: "
        "these figures are not comparable with the papers', their order may be. Mean of the seeds or folds, and their "
        "standard deviation.",
    ]
    for name, study in STUDIES.items():
        lines += ["", f"## {study.title}", "", f"The paper: {study.claim}", ""]
        rows = {
            variant: [
                json.loads(path.read_text(encoding="utf-8"))
                for path in sorted(folder_of(name, variant, folder).glob("*/result.json"))
            ]
            for variant in study.variants
        }
        lines += [_line(["variant", "M", "steps", "seeds", *study.figures]), _line(["---"] * (4 + len(study.figures)))]
        for variant, found in rows.items():
            if not found:
                lines.append(_line([variant, *[""] * 3, *["not measured"] * len(study.figures)]))
                continue
            size, steps = found[0]["parameters"] / 1e6, found[0]["steps"]
            cells = [spread([each[key] for each in found]) for key in study.figures]
            lines.append(_line([variant, f"{size:.2f}", f"{steps:g}", str(len(found)), *cells]))
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation.

    >>> spread([0.5, 0.6]), spread([0.5])
    ('0.550 ± 0.071', '0.500')
    """
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main(folder: Path, target: Path, *words: str) -> None:
    """Carry out the studies that are named, or all, seed by seed, and write the page after each."""
    chosen = [word for word in words if "=" not in word] or list(STUDIES)
    changes = [word for word in words if "=" in word]
    root, place = known_root(), choose_place()
    for study in chosen:
        for seed in STUDIES[study].seeds:
            for variant in STUDIES[study].variants:
                found = run(study, variant, seed, folder, root, place, changes)
                print(f"{study}, {variant}, seed {seed}: {found}", flush=True)
            write_text(target, page(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])

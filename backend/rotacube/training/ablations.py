"""The papers' ablations, small: each variant trained from random weights with several seeds, all else equal.

`python -m rotacube.training.ablations FOLDER PAGE [STUDY ...] [KEY=VALUE ...]` carries out what is not done yet and
writes the page from all that is. A run is a folder with its checkpoints and a `result.json`; killed, it goes on. There
is no temperature, and the threshold is 0.5: test figures are those of the training alone. Only where single roofs are
counted it is chosen on validation how they are told apart, since that differs from one variant to the other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student

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
from rotacube.training.studies import STUDIES

Figures = dict[str, float]
_scenes = lru_cache(maxsize=1)(read_scenes)  # all folds and variants see the same


def folder_of(study: str, variant: str, folder: Path) -> Path:
    """The folder of a variant's runs: one for all studies in which it is the same."""
    wanted = STUDIES[study].asked(variant)
    name, same = next(
        (name, same) for name, other in STUDIES.items() for same in other.variants if other.asked(same) == wanted
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
        "Written by `make ablations`. Networks of a quarter of the width, from random weights, taught by 8 crops of "
        "128 px a step (where outputs are compared and places left out: full width, the encoder from ImageNet, 192 px; "
        "scenes are seen whole); test splits of Kampala and Banepa (roofs; with Dhaka where outputs are compared and "
        "places left out) and of the potato field (plants), folds of RSSCN7 (scenes). Small data and small budgets: "
        "these figures are not comparable with the papers', their order may be. Mean of the seeds or folds, and their "
        "standard deviation. What a paper says is confirmed where the differences, seed by seed, are above zero with "
        "95% (Student's t, one-sided), contradicted where they are below, and else not confirmed: few seeds tell "
        "little.",
    ]
    for name, study in STUDIES.items():
        lines += ["", f"## {study.title}", "", f"The paper: {study.claim}" if study.better else study.claim, ""]
        rows = {variant: _done(folder_of(name, variant, folder)) for variant in study.variants}
        lines += [_line(["variant", "M", "steps", "seeds", *study.figures]), _line(["---"] * (4 + len(study.figures)))]
        for variant, found in rows.items():
            if not found:
                lines.append(_line([variant, *[""] * 3, *["not measured"] * len(study.figures)]))
                continue
            each = list(found.values())
            size, steps = each[0]["parameters"] / 1e6, each[0]["steps"]
            cells = [spread([figures[key] for figures in each]) for key in study.figures]
            lines.append(_line([variant, f"{size:.2f}", f"{steps:g}", str(len(found)), *cells]))
        lines += [""] if study.better else []
        for one, other in study.better:
            gaps = [
                figures[study.judged] - rows[other][seed][study.judged]
                for seed, figures in rows[one].items()
                if seed in rows[other]
            ]
            lines.append(f"- *{one}* is better than *{other}*: {verdict(gaps)}.")
    return "\n".join(lines) + "\n"


def _done(folder: Path) -> dict[str, Figures]:
    """The figures of a variant's runs, by seed."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/result.json"))
    }


def verdict(gaps: Sequence[float]) -> str:
    """What differences, one a seed, say of whether the true one is above zero.

    >>> verdict([0.02, 0.03, 0.025]), verdict([0.02, -0.03, 0.01])
    ('confirmed, by 0.025 ± 0.005', 'not confirmed, by 0.000 ± 0.026')
    """
    if len(gaps) < 2:
        return "not measured" if not gaps else f"not confirmed, one seed alone, by {gaps[0]:.3f}"
    reach = float(student.ppf(0.95, len(gaps) - 1)) * stdev(gaps) / len(gaps) ** 0.5
    word = "confirmed" if mean(gaps) > reach else "contradicted" if mean(gaps) < -reach else "not confirmed"
    return f"{word}, by {spread(gaps)}"


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

"""How a training went, as a page with pictures: the losses, the confusion of classes, panels of the test split."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot
from numpy.typing import NDArray

from rotacube.files import write_text
from rotacube.inference.device import Place, choose_place
from rotacube.models.card import ModelCard, read_card
from rotacube.models.store import load_model
from rotacube.training.datasets.areas import Area, known_root, write_picture
from rotacube.training.datasets.sets import SETS, read_set, sets_at
from rotacube.training.evaluate import Answer, ask
from rotacube.training.fit import read_losses
from rotacube.training.metrics import compare_classes
from rotacube.training.panels import panel

PANELS = 10
SIDE = 384
"""Pixels of a panel's side."""


def write_report(card: ModelCard, folder: Path, model: Path, places: Iterable[list[Area]]) -> Path:
    """Write `report.md` with its pictures into a training's folder.

    Args:
        card: of the model that came about.
        folder: of the training, with its log.
        model: the model's folder.
        places: what was held out, place by place.
    """
    _curves(read_losses(folder), folder / "curves.png")
    shown = write_panels(model, folder / "panels", choose_place(), places, folder / "confusion.png")
    lines = [f"# {card.title}", "", card.training_data, "", "![losses](curves.png)", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value:.3f} |" for key, value in card.accuracy.items()]
    lines += ["", "Pixels of the test splits, true class by found class:", "", "![confusion](confusion.png)", ""]
    colours = "one colour a roof, grey where nobody knows which one it is" if card.task == "rooftops" else "by class"
    lines += [f"Image, truth, prediction; {colours}:", ""]
    lines += [f"![{path.stem}](panels/{path.name})" for path in shown]
    write_text(folder / "report.md", "\n".join(lines) + "\n")
    return folder / "report.md"


def write_panels(
    model: Path, folder: Path, place: Place, places: Iterable[list[Area]], confusion: Path | None = None
) -> list[Path]:
    """Write panels of held-out windows, the same for every model: of each place in turn, where there is something.

    Args:
        model: its folder.
        folder: takes the pictures.
        place: where the network runs.
        places: what is shown, place by place.
        confusion: takes a picture of how classes are confused in them.
    """
    loaded, windows = load_model(str(model)), []
    classes = [part.name for part in loaded.card.classes]
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for areas in places:
        towns: list[Answer] = []
        for answer in ask(loaded, areas, place):
            found = answer.labels(loaded.card.threshold)
            counts += compare_classes(answer.area.labels, found, answer.area.valid, len(classes))
            towns += [part for part in _windows(answer) if part.area.roof.mean() > 0.03]
        windows.append(towns[:: max(1, len(towns) // PANELS)])
    turns = [part for parts in zip_longest(*windows) for part in parts if part is not None]
    paths = []
    for number, answer in enumerate(turns[:PANELS], start=1):
        path = folder / f"{number:02d}-{answer.area.name}.jpg"
        write_picture(path, panel(answer, loaded.card))
        paths.append(path)
    if confusion is not None:
        _confusion(counts, classes, confusion)
    return paths


def _windows(answer: Answer) -> Iterator[Answer]:
    """The windows of `SIDE` pixels of an answer, most of which is imagery."""
    height, width = answer.area.valid.shape
    for top in range(0, max(1, height - SIDE + 1), SIDE):
        for left in range(0, max(1, width - SIDE + 1), SIDE):
            part = answer.part(np.s_[top : top + SIDE, left : left + SIDE])
            if part.area.seen.mean() > 0.8:
                yield part


def _curves(rows: list[dict[str, float]], path: Path) -> None:
    """The losses over the steps, each point a mean of fifty."""
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name in [key for key in (rows[0] if rows else {}) if key.startswith("loss")]:
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            steps, values = np.array(points).T
            width = min(len(values), 50)
            smooth = np.convolve(values, np.ones(width) / width, "valid")
            axes.plot(steps[width - 1 :], smooth, label=name)
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    if rows:
        axes.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _confusion(counts: NDArray[np.int64], names: list[str], path: Path) -> None:
    table = counts / np.maximum(1, counts.sum(1, keepdims=True))
    side = 2.4 + 0.8 * len(names)
    figure, axes = pyplot.subplots(figsize=(side, side), layout="constrained")
    axes.imshow(table, vmin=0, vmax=1, cmap="Blues")
    for (row, column), share in np.ndenumerate(table):
        axes.text(column, row, f"{share:.1%}", ha="center", va="center", color="white" if share > 0.5 else "black")
    every = range(len(names))
    axes.set(xticks=every, yticks=every, xticklabels=names, yticklabels=names, xlabel="found", ylabel="true")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":  # pictures for docs/: of those places alone that anybody may show
    root, classes = known_root(), [part.name for part in read_card(Path(sys.argv[1])).classes]
    names = [name for name in sets_at(root, classes) if SETS[name].open]
    shown = (read_set(root, name, "test", classes=classes) for name in names)
    write_panels(Path(sys.argv[1]), Path(sys.argv[2]), choose_place(), shown)

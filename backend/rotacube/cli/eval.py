"""`rotacube eval`: how good a model is on labelled imagery, with the figures that its card is written from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from rotacube.cli.terminal import err, out, say
from rotacube.errors import OptionsRefused

if TYPE_CHECKING:
    from rotacube.models.card import ModelCard
    from rotacube.training.datasets.areas import Area, Faults
    from rotacube.training.evaluate import Answer


def evaluate(
    model: Annotated[str, typer.Argument(help="A model's name (see 'rotacube models') or its folder.")],
    dataset: Annotated[
        str, typer.Argument(help="A named set, 'all', whu, wbd, inria, or a folder with images/ and masks/.")
    ],
    split: Annotated[str, typer.Option(help="Of a named set: train, validation or test.")] = "test",
    data: Annotated[Path | None, typer.Option(help="Where a published set (whu, wbd, inria) lies.")] = None,
    gsd: Annotated[float | None, typer.Option(help="Metres a pixel, for images without a georeference.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures, as JSON.")] = None,
    panels: Annotated[Path | None, typer.Option(help="Also write image, truth and prediction, a PNG a tile.")] = None,
    turned: Annotated[bool, typer.Option(help="Also measure the images turned by 37 and by 90 degrees.")] = True,
    turns: Annotated[
        int, typer.Option(help="Look at each tile 1, 2, 4 or 8 times, as 'rotacube map --turns' does.")
    ] = 1,
    skip_damaged: Annotated[bool, typer.Option("--skip-damaged", help="Leave out tiles that are damaged.")] = False,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
) -> None:
    """Measure a model on labelled imagery, through the same reading and tiling as a map."""
    from rotacube.files import write_text
    from rotacube.inference.device import choose_place
    from rotacube.inference.request import check_turns
    from rotacube.models.store import load_model
    from rotacube.training.datasets.areas import Faults, write_picture
    from rotacube.training.evaluate import TURN, measure, measure_turned
    from rotacube.training.panels import panel

    loaded, place, faults = load_model(model), choose_place(precision), Faults(skip=skip_damaged)
    check_turns(turns, loaded.card)
    shown = 0
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("")

        def show(answer: Answer) -> None:
            nonlocal shown
            shown += 1
            bar.update(task, description=f"{answer.area.name}, tile {shown}")
            if panels is not None:
                write_picture(panels / f"{answer.area.name}-{shown:04d}.png", panel(answer, loaded.card))

        areas = partial(_areas, loaded.card, dataset, split, data, gsd)
        figures = measure(loaded, areas(faults), place, turns=turns, on_answer=show)
        if turned:
            bar.update(task, description=f"Turned by {TURN:g} degrees, and by 90")
            for name, more in measure_turned(loaded, areas(Faults(True)), place).items():
                figures[name] |= more
    if not figures:
        raise OptionsRefused(f"'{dataset}' holds no tile to measure on. {faults.sentence()}")
    out.print(_table(figures))
    if faults.found:
        say(faults.sentence())
    cuts = f": threshold {loaded.card.threshold:g}, saddles {loaded.card.separation.saddle:g}"
    say(f"{loaded.card.title}{cuts if loaded.card.task == 'rooftops' else ''}; {place}.")
    if json_file is not None:
        content: dict[str, Any] = {"model": loaded.card.name, "weights": loaded.card.weights.sha256, "split": split}
        write_text(json_file, json.dumps({**content, "figures": figures, "left_out": faults.found}, indent=2) + "\n")
        say(f"{json_file} is written.")


def _areas(
    card: ModelCard, dataset: str, split: str, data: Path | None, gsd: float | None, faults: Faults
) -> Iterable[Area]:
    """The areas of a named set, of all that fit the model, of a published one, or of a folder."""
    from rotacube.training.datasets.areas import known_root, split_named
    from rotacube.training.datasets.folder import folder_areas
    from rotacube.training.datasets.published import PUBLISHED, read_published
    from rotacube.training.datasets.sets import SETS, read_set, sets_at

    part, classes = split_named(split), [known.name for known in card.classes]
    if dataset in PUBLISHED:
        if len(classes) != 2:
            raise OptionsRefused(f"'{dataset}' has buildings alone; the model has {', '.join(classes)}.")
        if data is None:
            raise OptionsRefused(f"'{dataset}' is none of the project's sets: say where it lies, with --data FOLDER.")
        return read_published(data, dataset, part, faults)
    if dataset != "all" and dataset not in SETS:
        folder = Path(dataset)
        if not folder.is_dir():
            known = ", ".join([*SETS, *PUBLISHED])
            raise OptionsRefused(f"There is no set or folder '{dataset}'. Sets are: all, {known}.")
        return folder_areas(folder, gsd, faults, 0 if card.task == "rooftops" else len(classes))
    root = known_root()
    names = sets_at(root, classes) if dataset == "all" else [dataset]

    def areas() -> Iterator[Area]:
        for name in names:
            yield from read_set(root, name, part, faults, classes=classes)

    return areas()


def _table(figures: dict[str, dict[str, float]]) -> Table:
    """A row a figure, a column a place."""
    shown = Table("", *figures)
    for column in shown.columns[1:]:
        column.justify = "right"
    names = list(dict.fromkeys(key for found in figures.values() for key in found))
    for name in names:
        if name.endswith(" high"):
            continue
        title = f"{name.removesuffix(' low')}, 95% interval" if name.endswith(" low") else name
        shown.add_row(title, *(_cell(found, name) for found in figures.values()))
    return shown


def _cell(found: dict[str, float], name: str) -> str:
    if name not in found:
        return ""
    high = f" to {found[name.removesuffix('low') + 'high']:.3f}" if name.endswith(" low") else ""
    return f"{found[name]:.3f}{high}"

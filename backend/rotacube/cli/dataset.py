"""`rotacube dataset`: training tiles from what a person drew on a map, and tiles for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from rotacube.cli.terminal import err, progress, say, stop_event, tell
from rotacube.errors import OptionsRefused
from rotacube.models import DEFAULT

app = typer.Typer(help="Training tiles from polygons on a map, and tiles for other tools.", no_args_is_help=True)
TILE = typer.Option(help="Pixels of a tile's side.", min=64, max=4096)


@app.callback()
def root() -> None:
    """Training tiles from polygons on a map, and tiles for other tools."""


@app.command("from-labels")
def from_labels(
    raster: Annotated[str, typer.Argument(help="What GDAL opens: an orthophoto with a CRS.")],
    polygons: Annotated[str, typer.Argument(help="A layer of polygons: FILE, or 'FILE|layername=NAME'.")],
    output: Annotated[Path, typer.Argument(help="The folder; it must not be there yet.")],
    class_field: Annotated[str, typer.Option(help="The field that names the class of a polygon.")],
    model: Annotated[str, typer.Option(help="The model that is to learn; its grid is that of the tiles.")] = DEFAULT,
    area: Annotated[
        str | None, typer.Option(help="A layer within which all that is not drawn is of the model's first class.")
    ] = None,
    tile: Annotated[int, TILE] = 512,
    any_resolution: Annotated[
        bool, typer.Option("--any-resolution", help="Take a raster far from the resolution that the model is made for.")
    ] = False,
) -> None:
    """Make training tiles of polygons: what is drawn is known, all else is left out of training."""
    from rotacube.models.store import find_model
    from rotacube.raster.reading import Reading
    from rotacube.training.datasets.from_labels import write_tiles

    card, _ = find_model(model)
    stop = stop_event()
    with progress() as show:
        written = write_tiles(
            raster,
            polygons,
            class_field,
            output,
            card,
            area=area,
            reading=Reading(any_resolution=any_resolution),
            side=tile,
            on_tile=lambda done, total: show("Tiles", done, total),
            cancelled=stop.is_set,
        )
    tiles = ", ".join(f"{count} {name}" for name, count in written.tiles.items())
    pixels = ", ".join(f"{name} {count:,}" for name, count in written.pixels.items())
    say(f"{output} is written: {tiles} tiles; known pixels: {pixels}.")
    for note in written.notes:
        say(note)
    tell(result={"tiles": written.tiles, "pixels": written.pixels})
    say(f"Next: rotacube train finetune --set model={card.name} --set data={output}")


@app.command("export")
def export(
    dataset: Annotated[str, typer.Argument(help="A named set, or a folder of 'dataset from-labels'.")],
    output: Annotated[Path, typer.Argument(help="The folder; it must not be there yet.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    tile: Annotated[int, TILE] = 512,
) -> None:
    """Write tiles for other tools: images and masks as PNG, single objects as COCO's JSON."""
    from rotacube.training.datasets.areas import Faults, known_root, split_named
    from rotacube.training.datasets.coco import write_coco
    from rotacube.training.datasets.folder import read_description, split_areas
    from rotacube.training.datasets.sets import SETS, read_set

    part = split_named(split)
    if dataset in SETS:
        classes = list(SETS[dataset].classes)
        areas = read_set(known_root(), dataset, part, classes=classes)
    elif Path(dataset).is_dir():
        classes = list(read_description(Path(dataset))["classes"])
        areas = split_areas(Path(dataset), part, Faults())
    else:
        raise OptionsRefused(f"There is no set or folder '{dataset}'. Sets are: {', '.join(SETS)}.")
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err, transient=True) as bar:
        task = bar.add_task("")
        tiles, objects = write_coco(
            areas, classes, output, side=tile, on_tile=lambda done: bar.update(task, description=f"Tile {done}")
        )
    say(f"{output} is written: {tiles} tiles, {objects} objects in annotations.json.")

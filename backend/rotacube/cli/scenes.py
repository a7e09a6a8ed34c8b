"""`rotacube scenes`: a raster cut into scenes, each labelled whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rotacube.cli.job import read_as
from rotacube.cli.map import BANDS, NETWORK, NODATA, reading_of
from rotacube.cli.terminal import out, progress, say, stop_event, tell

if TYPE_CHECKING:
    from rotacube.inference.scenes import SceneResult
    from rotacube.raster.reading import Reading


def scenes(
    raster: Annotated[
        str,
        typer.Argument(help="What GDAL opens: an orthophoto with a CRS; or a folder or list of them, as of 'map'."),
    ],
    output: Annotated[Path, typer.Argument(help="The scenes: .gpkg or .fgb.")],
    model: Annotated[str, typer.Option(help="A model of scenes: its name (see 'rotacube models') or its folder.")],
    size: Annotated[
        float | None, typer.Option(help="Metres of a scene's side; the model's tile if absent.", show_default=False)
    ] = None,
    cells: Annotated[
        str,
        typer.Option(
            help="A layer of polygons, in place of squares: of each what lies in the square about it is one scene.",
            show_default=False,
        ),
    ] = "",
    cell_field: Annotated[str, typer.Option(help="The field with the polygons' names.", show_default=False)] = "",
    bounds: Annotated[
        tuple[float, float, float, float] | None, typer.Option(help="Left, bottom, right, top of the area.")
    ] = None,
    bounds_crs: Annotated[str | None, typer.Option(help="CRS of the bounds; the raster's own if absent.")] = None,
    least: Annotated[
        float, typer.Option(help="Percent of a scene that must have data; scenes with less are left out.")
    ] = 50.0,
    bands: Annotated[str | None, BANDS] = None,
    nodata: Annotated[list[float] | None, NODATA] = None,
    any_resolution: Annotated[
        bool, typer.Option("--any-resolution", help="Take a raster far from the resolution that the model is made for.")
    ] = False,
    allow_network: Annotated[bool, NETWORK] = False,
    reading: Annotated[
        Path | None,
        typer.Option(
            help="A file with a RasterReading of the HTTP interface, in place of bands, nodata and what is allowed.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Cut a raster into scenes, and say of each which class it is. Ctrl-C cancels and leaves nothing behind."""
    from rotacube.memory import set_allocator

    set_allocator()  # before PyTorch takes any
    from rotacube.inference.device import choose_place
    from rotacube.inference.scenes import SceneRequest, classify_scenes
    from rotacube.models.store import load_model

    read = _read_as(reading) if reading is not None else reading_of(bands, nodata, any_resolution, allow_network)
    request = SceneRequest(raster, model, output, size, cells, cell_field, bounds, bounds_crs, least, read, overwrite)
    loaded = load_model(model)
    stop = stop_event()
    with progress() as show:
        result = classify_scenes(
            request,
            loaded,
            place=choose_place(precision),
            on_scene=lambda done, total, left: show(loaded.card.title, done, total, "scenes", left),
            cancelled=stop.is_set,
        )
    _show(result, output)


def _read_as(file: Path) -> Reading:
    from rotacube.server.schema import RasterReading
    from rotacube.server.translate import to_reading

    return to_reading(read_as(RasterReading, file))


def _show(result: SceneResult, output: Path) -> None:
    table = Table("class", "scenes", "area ha")
    for column in table.columns[1:]:
        column.justify = "right"
    for total in result.classes:
        table.add_row(total.info.name, f"{total.scenes:,}", f"{total.area_m2 / 1e4:,.3f}")
    out.print(table)
    left_out = f", {result.left_out:,} with too little data were left out" if result.left_out else ""
    say(f"{output}: {result.scenes:,} scenes{left_out}; on {result.place}.")
    for note in result.notes:
        say(note)
    tell(
        result={
            "scenes": result.scenes,
            "left_out": result.left_out,
            "classes": [
                {"id": t.info.id, "name": t.info.name, "color": t.info.color, "scenes": t.scenes, "area_m2": t.area_m2}
                for t in result.classes
            ],
        }
    )

"""`rotacube map`: a raster to its products, with a bar; Ctrl-C leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rotacube.cli.terminal import clock, err, out, say, stop_event
from rotacube.models import DEFAULT

if TYPE_CHECKING:
    from rotacube.inference.run import MapResult, Tile


def map_raster(
    raster: Annotated[str, typer.Argument(help="What GDAL opens: an orthophoto with a CRS.")],
    output: Annotated[Path, typer.Argument(help="The mask: a Cloud Optimized GeoTIFF, .tif.")],
    model: Annotated[str, typer.Option(help="A model's name (see 'rotacube models') or its folder.")] = DEFAULT,
    bounds: Annotated[
        tuple[float, float, float, float] | None, typer.Option(help="Left, bottom, right, top of the area to map.")
    ] = None,
    bounds_crs: Annotated[str | None, typer.Option(help="CRS of the bounds; the raster's own if absent.")] = None,
    bands: Annotated[str | None, typer.Option(help="The raster's bands in the model's order, such as 4,3,2.")] = None,
    nodata: Annotated[
        list[float] | None,
        typer.Option(help="Nodata where every band has this value, such as 0 for black borders."),
    ] = None,
    any_resolution: Annotated[
        bool, typer.Option("--any-resolution", help="Map a raster far from the resolution that the model is made for.")
    ] = False,
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Let the raster make requests over the network.")
    ] = False,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a mask that is there.")] = False,
) -> None:
    """Map a raster: one class a pixel, on the model's grid. Ctrl-C cancels and leaves nothing behind."""
    from rotacube.memory import set_allocator

    set_allocator()  # before PyTorch takes any
    from rotacube.inference.device import choose_place
    from rotacube.inference.run import MapRequest, Product, run_map
    from rotacube.models.store import load_model
    from rotacube.raster.reading import NodataRange, Reading

    reading = Reading(
        bands=_band_list(bands),
        nodata=tuple(NodataRange(value, value) for value in nodata or ()),
        any_resolution=any_resolution,
        allow_network=allow_network,
    )
    request = MapRequest(raster, model, (Product("mask", output),), bounds, bounds_crs, reading, overwrite)
    place = choose_place(precision)
    loaded = load_model(model)
    stop = stop_event()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tiles"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task(loaded.card.title, total=None, left="", visible=False)

        def show(tile: Tile) -> None:
            left = "" if tile.seconds_left is None else f"{clock(tile.seconds_left)} left"
            bar.update(task, completed=tile.done, total=tile.total, left=left, visible=True)

        result = run_map(request, loaded, place=place, on_tile=show, cancelled=stop.is_set)
    _show(result)
    for note in result.notes:
        say(note)


def _show(result: MapResult) -> None:
    """Print the areas, and what was written."""
    from rotacube.raster.map_grid import metres

    table = Table("class", "area m²", "area ha", "share", "pixels")
    for column in table.columns[1:]:
        column.justify = "right"
    whole = sum(c.area_m2 for c in result.classes)
    for c in result.classes:
        table.add_row(
            c.info.name,
            f"{c.area_m2:,.0f}",
            f"{c.area_m2 / 1e4:,.3f}",
            f"{c.area_m2 / whole:.1%}" if whole else "",
            f"{c.pixels:,}",
        )
    out.print(table)
    for product in result.products:
        say(
            f"{product.path}: {result.width} x {result.height} pixels of {metres(result.gsd)}, "
            f"{result.nodata_pixels:,} nodata; {result.seconds:.1f} s on {result.place}."
        )


def _band_list(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no list of band numbers such as 4,3,2", param_hint="--bands") from None

"""`rotacube map`: a raster to its products, with a bar; Ctrl-C leaves nothing behind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rotacube.cli.terminal import Show, err, out, progress, say, stop_event
from rotacube.models import DEFAULT

if TYPE_CHECKING:
    from rotacube.inference.needs import Needs
    from rotacube.inference.outputs.totals import ClassTotal
    from rotacube.inference.run import MapRequest, MapResult, Tile
    from rotacube.raster.reading import Reading

BANDS = typer.Option(help="The raster's bands in the model's order, such as 4,3,2.")
NODATA = typer.Option(help="Nodata where every band has this value, such as 0 for black borders.")
NETWORK = typer.Option("--allow-network", help="Let the raster make requests over the network.")


def map_raster(
    raster: Annotated[
        str,
        typer.Argument(
            help="What GDAL opens: an orthophoto with a CRS. Or many, mapped as one: a folder, a list (.txt, a path a "
            "line), a STAC item collection (.json); the first that has data counts."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="The mask: a Cloud Optimized GeoTIFF, .tif.")],
    model: Annotated[str, typer.Option(help="A model's name (see 'rotacube models') or its folder.")] = DEFAULT,
    bounds: Annotated[
        tuple[float, float, float, float] | None, typer.Option(help="Left, bottom, right, top of the area to map.")
    ] = None,
    bounds_crs: Annotated[str | None, typer.Option(help="CRS of the bounds; the raster's own if absent.")] = None,
    area: Annotated[
        str, typer.Option(help="A layer of polygons to map within; outside is nodata.", show_default=False)
    ] = "",
    bands: Annotated[str | None, BANDS] = None,
    nodata: Annotated[list[float] | None, NODATA] = None,
    any_resolution: Annotated[
        bool, typer.Option("--any-resolution", help="Map a raster far from the resolution that the model is made for.")
    ] = False,
    allow_network: Annotated[bool, NETWORK] = False,
    probability: Annotated[
        Path | None, typer.Option(help="Also the probability of each class but the first: .tif.", show_default=False)
    ] = None,
    polygons: Annotated[
        Path | None,
        typer.Option(
            help="Also each roof, or each patch of a class, as a polygon: .gpkg, .fgb or .parquet.", show_default=False
        ),
    ] = None,
    statistics: Annotated[
        Path | None,
        typer.Option(help="Also area and share of each class with 95% intervals: .csv or .json.", show_default=False),
    ] = None,
    zones: Annotated[
        str, typer.Option(help="A layer of polygons, in each of which statistics are wanted too.", show_default=False)
    ] = "",
    zone_field: Annotated[str, typer.Option(help="The field with the zones' names.", show_default=False)] = "",
    threshold: Annotated[
        float | None, typer.Option(help="Probability from which on a pixel is a roof; the model's own if absent.")
    ] = None,
    smallest: Annotated[
        float | None, typer.Option(help="Square metres of the smallest roof or patch; the model's own if absent.")
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    dask: Annotated[
        str,
        typer.Option(
            help="Map on a cluster: the address of its Dask scheduler, tcp://HOST:8786, or local.", show_default=False
        ),
    ] = "",
    turns: Annotated[
        int, typer.Option(help="Look at each tile 1, 2, 4 or 8 times, turned and mirrored: better, and slower.")
    ] = 1,
    grid: Annotated[
        str, typer.Option(help="Mask and probability on the grid of the model, or of the source: the raster's own.")
    ] = "model",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what the same command has left when it was cut off.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Map a raster: one class a pixel, and what is asked for beside it. Ctrl-C cancels and leaves
    nothing behind.
    """
    from rotacube.memory import set_allocator

    set_allocator()  # before PyTorch takes any
    from rotacube.inference.outputs import format_of
    from rotacube.inference.run import MapRequest, Product

    asked = {"mask": output, "probability": probability, "polygons": polygons, "statistics": statistics}
    request = MapRequest(
        raster,
        model,
        tuple(Product(kind, path, format_of(kind, path.name)) for kind, path in asked.items() if path is not None),
        bounds,
        bounds_crs,
        reading_of(bands, nodata, any_resolution, allow_network),
        overwrite,
        threshold=threshold,
        smallest=smallest,
        within=area,
        zones=zones,
        zone_field=zone_field,
        resume=resume,
        turns=turns,
        grid=grid,
    )
    carry_out(request, precision, dask)


def carry_out(request: MapRequest, precision: str = "auto", dask: str = "") -> MapResult:
    """Map, on a cluster where its address is given, with a bar, and print what was found."""
    from rotacube.inference.cluster import joined
    from rotacube.inference.device import choose_place
    from rotacube.inference.run import run_map
    from rotacube.models.store import load_model
    from rotacube.raster.map_grid import metres

    loaded = load_model(request.model)
    cluster = None
    with contextlib.ExitStack() as stack:
        if dask:  # Ctrl-C ends the wait for it
            cluster = stack.enter_context(joined(dask, precision))
        place = choose_place(precision)
        stop = stop_event()
        show = stack.enter_context(progress())

        def tile(done: Tile) -> None:
            show(loaded.card.title, done.done, done.total, "strips" if cluster else "tiles", done.seconds_left)

        def start(needs: Needs) -> None:
            err.print(str(needs), markup=False, highlight=False, soft_wrap=True)

        result = run_map(
            request,
            loaded,
            place=place,
            cluster=cluster,
            on_start=start,
            on_tile=tile,
            on_step=show_share(show),
            cancelled=stop.is_set,
        )
    show_classes(result.classes)
    for product in result.products:
        say(
            f"{product.path}: {result.width} x {result.height} pixels of {metres(result.gsd)}, "
            f"{result.nodata_pixels:,} nodata; {result.seconds:.1f} s on {result.place}."
        )
    for note in result.notes:
        say(note)
    return result


def show_share(show: Show) -> Callable[[str, float], None]:
    """Shows steps of which the share is known that is done."""
    return lambda what, share: show(what, share, 1)


def show_classes(classes: Sequence[ClassTotal]) -> None:
    """Print the classes' areas."""
    table = Table("class", "area m²", "area ha", "share", "pixels")
    for column in table.columns[1:]:
        column.justify = "right"
    whole = sum(c.area_m2 for c in classes)
    for c in classes:
        table.add_row(
            c.info.name,
            f"{c.area_m2:,.0f}",
            f"{c.area_m2 / 1e4:,.3f}",
            f"{c.area_m2 / whole:.1%}" if whole else "",
            f"{c.pixels:,}",
        )
    out.print(table)


def reading_of(bands: str | None, nodata: list[float] | None, any_resolution: bool, allow_network: bool) -> Reading:
    """What the options of a raster say of how it is read."""
    from rotacube.raster.reading import NodataRange, Reading

    return Reading(
        bands=band_list(bands),
        nodata=tuple(NodataRange(value, value) for value in nodata or ()),
        any_resolution=any_resolution,
        allow_network=allow_network,
    )


def band_list(text: str | None) -> tuple[int, ...] | None:
    """The band numbers that a text names, parted by commas."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no list of band numbers such as 4,3,2", param_hint="--bands") from None

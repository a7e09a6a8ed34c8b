"""The command line: `rotacube map|serve|models|doctor|bench`.

Exit codes: 0 done; 1 an error that should not be; 2 input that needs a change, which the sentence says; 130
interrupted.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rotacube import __version__
from rotacube.errors import RotacubeError

app = typer.Typer(
    name="rotacube",
    help="Rooftops from imagery, mapped with ConvNeXt-Cube networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
bench = typer.Typer(help="Measure what Rotacube runs on.", no_args_is_help=True)
app.add_typer(bench, name="bench")
models = typer.Typer(help="The models that are installed, and the networks that can be built.")
app.add_typer(models, name="models")
out, err = Console(highlight=False), Console(stderr=True, highlight=False)


def main() -> None:
    """Run the command line; a known error becomes one sentence and exit code 2."""
    try:
        app()
    except RotacubeError as error:
        if error.code == "cancelled":
            err.print(error.message, style="yellow", markup=False)
            sys.exit(130)
        err.print(f"rotacube: {error.message}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Rooftops from imagery, mapped with ConvNeXt-Cube networks."""
    if version:
        print(__version__)
        raise typer.Exit


@app.command("map")
def map_(
    raster: Annotated[str, typer.Argument(help="What GDAL opens: an orthophoto with a CRS.")],
    output: Annotated[Path, typer.Argument(help="The mask: a Cloud Optimized GeoTIFF, .tif.")],
    model: Annotated[str, typer.Option(help="A model's name (see 'rotacube models') or its folder.")] = "rooftop-small",
    bounds: Annotated[
        tuple[float, float, float, float] | None, typer.Option(help="Left, bottom, right, top of the area to map.")
    ] = None,
    bounds_crs: Annotated[str | None, typer.Option(help="CRS of the bounds; the raster's own if absent.")] = None,
    bands: Annotated[str | None, typer.Option(help="The raster's bands in the model's order, such as 4,3,2.")] = None,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a mask that is there.")] = False,
) -> None:
    """Map a raster: one class a pixel, on the model's grid. Ctrl-C cancels and leaves nothing behind."""
    from rotacube.inference.device import choose_place
    from rotacube.inference.runner import MapRequest, Tile, run_map
    from rotacube.models.store import load_model

    request = MapRequest(raster, output, bounds, bounds_crs, _band_list(bands), overwrite)
    place = choose_place(precision)
    loaded = load_model(model)
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
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
            left = "" if tile.seconds_left is None else f"{_clock(tile.seconds_left)} left"
            bar.update(task, completed=tile.done, total=tile.total, left=left, visible=True)

        result = run_map(request, loaded, place=place, on_tile=show, cancelled=stop.is_set)
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
    out.print(
        f"{result.output}: {result.width} x {result.height} pixels of {result.gsd} m, {result.nodata_pixels:,} nodata; "
        f"{result.seconds:.1f} s on {result.place}.",
        soft_wrap=True,
        markup=False,
    )


@models.callback(invoke_without_command=True)
def models_root(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """The models that are installed, and the networks that can be built."""
    from rotacube.models import command

    if context.invoked_subcommand is None:
        command.list_installed(as_json, out)


@models.command("list")
def models_list(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the installed models, and the networks that can be built."""
    from rotacube.models import command

    command.list_all(as_json, out)


@models.command("info")
def models_info(
    name: Annotated[str, typer.Argument(help="An installed model, its folder, or a network.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what a model or a network is: source, reading, options, size, accuracy."""
    from rotacube.models import command

    command.info(name, as_json, out)


@models.command("table")
def models_table(
    record: Annotated[
        Path | None, typer.Option(help="The page; by default docs/results/models.md, in a checkout.")
    ] = None,
) -> None:
    """Count every network and print its size beside the published one."""
    from rotacube.models import command

    command.table(record, out, err)


@models.command("export")
def models_export(
    name: Annotated[str, typer.Argument(help="An installed model or its folder.")],
    output: Annotated[Path, typer.Argument(help="The file: .onnx, or .pt2 for torch.export.")],
    tile: Annotated[int | None, typer.Option(help="Pixels a side; by default the model's.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Export an installed model for other programs; its input is normalised as its card says."""
    from rotacube.models import command

    command.export(name, output, tile, overwrite, out, err)


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="On 127.0.0.1; 0 takes a free one.")] = 0,
    parent_pipe: Annotated[bool, typer.Option("--parent-pipe", help="End when standard input closes.")] = False,
    print_openapi: Annotated[bool, typer.Option("--print-openapi", help="Print the contract and end.")] = False,
) -> None:
    """Serve the local HTTP interface; the token comes through ROTACUBE_TOKEN."""
    from rotacube.server.app import create_app
    from rotacube.server.serve import serve as run

    if print_openapi:
        print(json.dumps(create_app("").openapi()))
        return
    try:
        run(port, parent_pipe)
    except RotacubeError as error:
        print(json.dumps({"error": {"code": error.code, "message": error.message}}), flush=True)
        raise


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Say what the backend runs on, which path every operator takes, and why."""
    from rotacube.bench import doctor as operators
    from rotacube.server.app import gather_info

    info, compiled = gather_info(), operators.compiled()
    if as_json:
        print(json.dumps({**info.model_dump(), "compiled": compiled.to_json()}, ensure_ascii=False))
        return
    out.print(f"Rotacube {info.version}, PyTorch {info.torch}, {info.threads} threads", markup=False)
    out.print(f"Device: {info.device}. {info.device_why}", soft_wrap=True, markup=False)
    for operator in info.operators:
        out.print(f"Operator {operator.name}: {operator.path} path; {operator.why}.", soft_wrap=True, markup=False)
    for line in operators.lines(compiled):
        out.print(line, soft_wrap=True, markup=False)
    for folder in info.model_folders:
        out.print(f"Models in {folder}", soft_wrap=True, markup=False)


@bench.command("ops")
def bench_ops(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json_path: Annotated[Path, typer.Option("--json", help="The rows, as JSON.")] = Path("build/bench/ops.json"),
    record: Annotated[Path | None, typer.Option(help="Also write a page, such as docs/results/ops.md.")] = None,
    plan: Annotated[Path | None, typer.Option(help="Also write each algorithm's times, as JSON.")] = None,
    only: Annotated[str | None, typer.Option(help="Sections, such as cube,rotation; all if absent.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few rows and rounds, to see that it works.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves PyTorch's number.", min=0)] = 0,
) -> None:
    """Measure the operators against PyTorch's own, with targets; takes about half an hour."""
    from rotacube.bench.allocator import keep_freed_memory

    if device == "cpu":
        keep_freed_memory()
    from rotacube.bench.command import bench_ops as run
    from rotacube.bench.ops import SECTIONS, Options

    sections = SECTIONS if only is None else tuple(only.split(","))
    run(Options(device, json_path, record, plan, sections, quick, threads), out, err)


def _band_list(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no list of band numbers such as 4,3,2", param_hint="--bands") from None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


if __name__ == "__main__":
    main()

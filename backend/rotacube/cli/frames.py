"""`rotacube frames`: drone frames on the ground: listed, outlined, mapped."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rotacube.cli.map import show_classes, show_share
from rotacube.cli.terminal import err, out, progress, say, stop_event, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rotacube.inference.frames import FramesMap
    from rotacube.inference.frames_request import FramesRequest
    from rotacube.raster.frames import Flight, LeftOut
    from rotacube.raster.refine import Refinement

app = typer.Typer(help="Drone frames: where they lie, and one map of them.", no_args_is_help=True)
FOLDER = typer.Argument(help="The folder with the drone's JPEGs.", metavar="FRAMES")
GROUND = typer.Option(
    help="Elevation of the ground above the sea in metres, for frames that do not say their height above it; with "
    "--dem that of where the drone took off.",
    show_default=False,
)
CALIBRATION = typer.Option(
    help="How the camera's lens bends lines, as OpenCV writes it in JSON; what the frames' tags say if absent.",
    show_default=False,
)
DEM = typer.Option(
    help="A terrain model, heights above the sea: each frame then shows a plane that fits the ground under it. "
    "Heights above take-off count from --ground, else from the median of the ground under the cameras.",
    show_default=False,
)
REFINE = typer.Option(
    "--refine",
    help="Move and turn the frames a little until what neighbours both show lies at one place; needs OpenCV.",
)
OVERWRITE = typer.Option("--overwrite", help="Replace files that are there.")


@app.callback()
def root() -> None:
    """Drone frames: where they lie, and one map of them."""


@app.command("list")
def list_frames(
    frames: Annotated[Path, FOLDER],
    ground: Annotated[float | None, GROUND] = None,
    calibration: Annotated[Path | None, CALIBRATION] = None,
    dem: Annotated[str | None, DEM] = None,
    refine: Annotated[bool, REFINE] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the frames of a folder: position, height, direction and pixel size, or why they are left out."""
    flight, refinement = _flight(frames, ground, calibration, dem, refine)
    if as_json:
        rows = _rows(flight)
        found = {"frames": rows, "refinement": dataclasses.asdict(refinement)} if refinement else rows
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    tell(result={"frames": _rows(flight), "notes": list(flight.notes)})
    table = Table("frame", "longitude", "latitude", "height m", "yaw", "tilt", "pixel cm")
    for column in table.columns[1:]:
        column.justify = "right"
    for frame in flight.frames:
        pose = frame.pose
        numbers = (
            *(f"{pose.longitude:.6f}", f"{pose.latitude:.6f}", f"{pose.height:.1f}"),
            *(f"{pose.yaw:.1f}", f"{pose.tilt:.1f}", f"{100 * pose.gsd:.2f}"),
        )
        table.add_row(frame.path.name, *numbers)
    out.print(table)
    _say_of(flight)


@app.command()
def footprints(
    frames: Annotated[Path, FOLDER],
    output: Annotated[Path, typer.Argument(help="The layer: .gpkg or .fgb.")],
    ground: Annotated[float | None, GROUND] = None,
    calibration: Annotated[Path | None, CALIBRATION] = None,
    dem: Annotated[str | None, DEM] = None,
    refine: Annotated[bool, REFINE] = False,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Write the ground that each frame shows as a polygon."""
    from rotacube.inference.footprints import check_footprints, write_footprints

    check_footprints(output, overwrite)
    flight, _ = _flight(frames, ground, calibration, dem, refine)
    write_footprints(flight, output, overwrite)
    tell(result={"frames": len(flight.frames), "left_out": len(flight.left_out)})
    _say_of(flight)
    say(f"{output}: {len(flight.frames)} footprints.")


@app.command("map")
def map_them(
    frames: Annotated[Path, FOLDER],
    output: Annotated[Path, typer.Argument(help="The folder of the products; it is made if there is none.")],
    model: Annotated[str, typer.Option(help="A model's name (see 'rotacube models') or its folder.")],
    gsd: Annotated[
        float | None, typer.Option(help="Metres of the map's pixels; the model's if absent.", show_default=False)
    ] = None,
    ground: Annotated[float | None, GROUND] = None,
    calibration: Annotated[Path | None, CALIBRATION] = None,
    dem: Annotated[str | None, DEM] = None,
    refine: Annotated[bool, REFINE] = False,
    threshold: Annotated[
        float | None, typer.Option(help="Probability from which on a pixel is a roof; the model's own if absent.")
    ] = None,
    any_resolution: Annotated[
        bool, typer.Option("--any-resolution", help="Map frames far from the resolution that the model is made for.")
    ] = False,
    kmz: Annotated[
        bool, typer.Option("--kmz", help="Also map.kmz: the classes over the photo, for Google Earth.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Also report.pdf: one page with map, shares and how it came about.")
    ] = False,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    footprints: Annotated[
        Path | None,
        typer.Option(help="Also the ground that each mapped frame shows: .gpkg or .fgb.", show_default=False),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="What was found is kept where the run is cancelled, for --resume.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what the same command has left when it was cut off.")
    ] = False,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Map each frame, and put the maps together: mask, probability, photo, agreement, and shares of the classes. Ctrl-C
    cancels and leaves nothing behind.
    """
    from rotacube.errors import JobInterrupted
    from rotacube.memory import set_allocator

    set_allocator()  # before PyTorch takes any
    from rotacube.handout.frames import KMZ, REPORT, check_handouts, hand_out
    from rotacube.inference.device import choose_place
    from rotacube.inference.frames import map_frames
    from rotacube.inference.frames_request import PRODUCTS, FramesRequest
    from rotacube.models.store import load_model

    loaded = load_model(model)
    place = choose_place(precision)
    request = FramesRequest(
        *(frames, output, model, gsd, ground, threshold, any_resolution, overwrite, resume),
        refine=refine,
        calibration=calibration,
        dem=dem,
        footprints=footprints,
    )
    further = [name for name, asked in ((KMZ, kmz), (REPORT, report)) if asked]
    check_handouts(request, further)
    stop = stop_event()

    def cancelled() -> bool:
        if keep and stop.is_set():
            raise JobInterrupted("Cancelled; what was found is kept, and --resume goes on with it.")
        return stop.is_set()

    with progress() as show:
        result = map_frames(
            request,
            loaded,
            place=place,
            on_frame=lambda what, done, total, left: show(what, done, total, "frames", left),
            on_step=show_share(show),
            on_start=lambda needs: err.print(str(needs), markup=False, highlight=False, soft_wrap=True),
            cancelled=cancelled,
        )
    _tell_made(request, result)
    show_classes(result.classes)
    _say_left_out(result.left_out)
    say(
        f"{output}: {', '.join(PRODUCTS.values())} of {result.frames} frames, {result.width} x {result.height} pixels "
        f"of {result.gsd:g} m, {result.nodata_pixels:,} nodata; {result.seconds:.1f} s on {result.place}."
    )
    for note in result.notes:
        say(note)
    if further:
        with progress() as show:
            written = hand_out(request, further, on_step=show_share(show), cancelled=stop.is_set)
        for path in written:
            say(f"{path} is written.")


def _flight(
    folder: Path, ground: float | None, calibration: Path | None, dem: str | None, refine: bool
) -> tuple[Flight, Refinement | None]:
    """The frames of a folder, and what refining their poses came to where that is wanted, with a bar."""
    from rotacube.raster.frames import read_flight
    from rotacube.raster.matches import check_matching
    from rotacube.raster.refine import refined

    if refine:
        check_matching()
    stop = stop_event()
    with progress() as show:
        flight = read_flight(
            folder,
            ground,
            calibration=calibration,
            dem=dem,
            on_frame=lambda done, total: show("Looking at frames", done, total, "frames"),
            cancelled=stop.is_set,
        )
        if not refine:
            return flight, None
        return refined(
            flight, on_frame=lambda what, done, total: show(what, done, total, "frames"), cancelled=stop.is_set
        )


def _tell_made(request: FramesRequest, result: FramesMap) -> None:
    """Tell a program what there is now, in the words of the HTTP interface's `JobResult`."""
    from rotacube.inference.run import MapResult, Product
    from rotacube.server.translate import to_result

    forms = {"mask": "cog", "probability": "cog", "statistics": "csv"}
    made = MapResult(
        tuple(Product(kind, request.path(kind), form) for kind, form in forms.items()),
        result.width,
        result.height,
        (result.gsd, result.gsd),
        result.classes,
        result.nodata_pixels,
        result.seconds,
        result.place,
        result.notes,
    )
    also = {"photo": request.path("rgb"), "agreement": request.path("agreement"), "footprints": request.footprints}
    tell(
        result={
            **to_result(made).model_dump(mode="json"),
            "frames": result.frames,
            "also": {kind: str(path) for kind, path in also.items() if path is not None},
        }
    )


def _rows(flight: Flight) -> list[dict[str, object]]:
    """Of each frame what is known, or why it is left out, by name."""
    rows: list[dict[str, object]] = [{"frame": one.path.name, "left_out": one.why} for one in flight.left_out]
    for frame in flight.frames:
        pose = frame.pose
        rows.append(
            {
                "frame": frame.path.name,
                "longitude": pose.longitude,
                "latitude": pose.latitude,
                "height_m": pose.height,
                "yaw_deg": round(pose.yaw, 3),
                "tilt_deg": round(pose.tilt, 3),
                "gsd_m": round(pose.gsd, 5),
                "corners": frame.corners.round(3).tolist(),
                "crs": flight.crs,
                "saved_again_by": pose.edited,
            }
        )
    return sorted(rows, key=lambda row: str(row["frame"]))


def _say_of(flight: Flight) -> None:
    """Print what a person should know of a flight."""
    _say_left_out(flight.left_out)
    for note in flight.notes:
        say(note)


def _say_left_out(left_out: Sequence[LeftOut]) -> None:
    """Print why frames were left out; a program is told."""
    for frame in left_out:
        say(f"Left out: {frame.why}")
    tell(left_out=[{"frame": frame.path.name, "why": frame.why} for frame in left_out])

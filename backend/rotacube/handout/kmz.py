"""From a mask to an overlay for Google Earth: its classes, over a photo where there is one, with a legend."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pyproj import CRS, Transformer

from rotacube.errors import OptionsRefused
from rotacube.handout.degrees import WGS84, degrees_of
from rotacube.handout.kml import root_page
from rotacube.handout.layers import Classes, Colours
from rotacube.handout.legend import legend_picture
from rotacube.handout.settings import settings_of, terms_of, title_of
from rotacube.handout.superoverlay import Layer, SuperOverlay, finest, put
from rotacube.inference.of_mask import cancellable, opened_mask
from rotacube.raster.destination import Destination, check_output, sweep, unwritable
from rotacube.raster.mask_source import MaskSource
from rotacube.raster.picture import Photo
from rotacube.raster.references import References
from rotacube.texts import check_output_name, check_raster

OVER_PHOTO = 60.0
"""Percent of opacity of classes that a photo lies under."""


@dataclass(frozen=True)
class KmzRequest:
    """What to make an overlay of.

    Attributes:
        mask: what GDAL opens.
        output: where it goes.
        photo: a raster whose colours lie under the classes; none if empty.
        opacity: percent of the classes; 100, and `OVER_PHOTO` over a photo, if None.
        classes: names or values of the classes that are shown; all but the background if empty.
        title: what it is called; the mask's name if empty.
        band: of the mask, from 1.
        overwrite: whether a file that is there may be replaced.
    """

    mask: str
    output: Path
    photo: str = ""
    opacity: float | None = None
    classes: tuple[str, ...] = ()
    title: str = ""
    band: int = 1
    overwrite: bool = False


def check_kmz(output: Path, overwrite: bool, references: References | None = None) -> None:
    """Check, before any work, that an overlay can be written.

    Raises:
        OutputUnwritable: as `check_output` says.
    """
    check_output_name(str(output))
    check_output(output, overwrite, references or References(), (".kmz",))


def kmz_of(
    request: KmzRequest,
    *,
    on_step: Callable[[str, float], None] = lambda what, share: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> int:
    """Make an overlay of a mask, square by square.

    Args:
        request: what to make.
        on_step: called with what is being done, in words, and its share that is done.
        cancelled: asked before each step; a true answer ends the work.

    Returns:
        Bytes of the file.

    Raises:
        RotacubeError: a subclass that says what is wrong; nothing is left behind.
        JobCancelled: `cancelled` said so; nothing is left behind.
    """
    step = cancellable(on_step, cancelled)
    for name in filter(None, (request.mask, request.photo)):
        check_raster(name)
    opacity = request.opacity if request.opacity is not None else OVER_PHOTO if request.photo else 100.0
    if not 0 < opacity <= 100:
        raise OptionsRefused(f"An opacity of {opacity:g} % shows nothing. Give one above 0, up to 100.")
    check_output_name(str(request.output))
    with ExitStack() as stack:
        source = stack.enter_context(opened_mask(request.mask, request.band, request.classes, step))
        check_kmz(request.output, request.overwrite, source.files)
        grids = degrees_of(source.grid)
        layers: list[Layer] = [Classes(source, grid, round(2.55 * opacity)) for grid in grids]
        for grid in grids if request.photo else ():
            photo = stack.enter_context(Photo(request.photo, WGS84, grid.transform, grid.height, grid.width))
            check_kmz(request.output, request.overwrite, photo.references)
            layers.append(Colours(photo, grid))
        sweep(request.output.resolve().parent)
        destination = Destination(request.output, request.overwrite)
        stack.callback(destination.drop)
        part = destination.part("kmz")
        try:
            with zipfile.ZipFile(part, "w") as archive:
                _write(archive, request, source, layers, step)
        except OSError as error:
            raise unwritable(request.output, error) from error
        size = part.stat().st_size
        destination.place(part)
    return size


def _write(
    archive: zipfile.ZipFile,
    request: KmzRequest,
    source: MaskSource,
    layers: list[Layer],
    step: Callable[[str, float], None],
) -> None:
    """Write the page that is opened, then every layer's squares."""
    total, done = sum(finest(layer.degrees) for layer in layers), 0

    def tell() -> None:
        nonlocal done
        step("Writing squares", done / total)
        done += 1

    overlays = []
    for number, layer in enumerate(layers):  # two of one kind where 180 degrees lie between
        layer.folder = f"{layer.folder}{number or ''}"
        overlays.append(SuperOverlay(archive, layer, tell))
    title = request.title or title_of(request.mask)
    picture, width, height = legend_picture(title, source.classes[1:])
    about = "\n".join(f"{name}: {value}" for name, value in [*settings_of(source), *terms_of(source)])
    links = [overlay.link for overlay in overlays]
    put(archive, "doc.kml", root_page(title, about, _view(source), links, ("legend.png", width, height)).encode())
    put(archive, "legend.png", picture)
    shown = {overlay.name for overlay in overlays if overlay.write()}
    step("Writing squares", 1.0)
    if request.photo and Colours.name not in shown:
        raise OptionsRefused(f"The photo '{request.photo}' shows nothing of the mask. Choose the one that was mapped.")


def _view(source: MaskSource) -> tuple[float, float, float]:
    """Longitude, latitude of the mask's middle, and metres from which all of it is seen."""
    grid = source.grid
    x, y = grid.transform * (grid.width / 2, grid.height / 2)
    longitude, latitude = Transformer.from_crs(CRS.from_wkt(grid.crs), WGS84, always_xy=True).transform(x, y)
    return longitude, latitude, max(20.0, 1.2 * math.hypot(grid.width * grid.gsd[0], grid.height * grid.gsd[1]))

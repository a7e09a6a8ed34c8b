"""From a mask that is there already to the files of a treatment grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from rotacube import __version__
from rotacube.errors import OptionsRefused, RasterEmpty
from rotacube.inference.of_mask import cancellable, opened_mask
from rotacube.inference.within import Reach, shapes_of
from rotacube.raster.destination import sweep
from rotacube.raster.ground import Ground
from rotacube.raster.map_grid import metres
from rotacube.raster.mask_source import MaskSource
from rotacube.raster.metric import metric_crs
from rotacube.texts import check_output_name, check_raster
from rotacube.treatment.cells import Cells, longest_side
from rotacube.treatment.counting import Places, count
from rotacube.treatment.files import PlanFile
from rotacube.treatment.plan import Dose, Plan, planned
from rotacube.treatment.taskdata import LARGEST

Floats = NDArray[np.float64]
SQUARE = 1000.0
"""Metres a side: of much smaller squares the area on the ellipsoid is rounded."""
LEAST = 10.0
"""Percent: of cells with less data at the edge a few pixels would decide."""
CLASSES = 20
"""Classes that may be named: each has a number a cell."""


@dataclass(frozen=True)
class GridRequest:
    """What grid to make of a mask.

    Attributes:
        mask: what GDAL opens.
        outputs: files, whose ends say in which format.
        size: of a cell's side, metres.
        classes: names or values of the classes to treat; all but the background if empty.
        share: percent of a cell from which on a class in it is treated.
        least: percent of a cell that must have data; cells with less are left out.
        angle: of the grid, degrees clockwise from north; along the area's longest side if None.
        within: a layer of polygons outside of which nothing counts, as `read_polygons` takes it; none if empty.
        dose: what is spread in cells that are treated, if it is known.
        band: of the mask, from 1.
        overwrite: whether files that are there may be replaced.
    """

    mask: str
    outputs: tuple[Path, ...]
    size: float
    classes: tuple[str, ...] = ()
    share: float = 5.0
    least: float = LEAST
    angle: float | None = 0.0
    within: str = ""
    dose: Dose | None = None
    band: int = 1
    overwrite: bool = False


def grid_of(
    request: GridRequest,
    *,
    on_step: Callable[[str, float], None] = lambda what, share: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Plan:
    """Make a treatment grid of a mask, and write its files.

    Args:
        request: what to make.
        on_step: called with what is being done, in words, and its share that is done.
        cancelled: asked before each step; a true answer ends the work.

    Raises:
        RotacubeError: a subclass that says what is wrong; nothing is left behind.
        JobCancelled: `cancelled` said so; nothing is left behind.
    """
    step = cancellable(on_step, cancelled)
    _check(request)
    files = [PlanFile(output, request.overwrite) for output in request.outputs]
    with opened_mask(request.mask, request.band, request.classes, step) as source:
        for file in files:
            file.check(source.files)
        _check_mask(request, source)
        plan = _plan(request, source, step)
        tags = {"ROTACUBE_VERSION": __version__, **source.tags, "ROTACUBE_RASTER": request.mask}
    _write(files, plan, tags, step)
    return plan


def _check(request: GridRequest) -> None:
    """What can be judged without the mask."""
    check_raster(request.mask)
    for output in request.outputs:
        check_output_name(str(output))
    if len({output.resolve() for output in request.outputs}) < len(request.outputs):
        raise OptionsRefused("Two outputs have one name. Choose another one.")
    if not (math.isfinite(request.size) and request.size > 0):
        raise OptionsRefused(f"A cell of {request.size:g} m is none. Give its side in metres, such as 3.")
    if not 0 < request.share <= 100:
        raise OptionsRefused(f"A share of {request.share:g} % is none. Give one above 0, up to 100.")
    if not 0 <= request.least <= 100:
        raise OptionsRefused(f"{request.least:g} % of data is none. Give a share from 0 to 100.")
    if request.angle is not None and not math.isfinite(request.angle):
        raise OptionsRefused("The angle is no number. Give degrees clockwise from north, or auto.")
    if request.dose is not None and not 0 < request.dose.litres <= LARGEST:
        raise OptionsRefused(
            f"{request.dose.litres:g} litres a hectare cannot be spread. Give a rate above 0, up to {LARGEST:,.0f}."
        )


def _check_mask(request: GridRequest, source: MaskSource) -> None:
    named = len(source.classes) - 1
    if not named:
        raise OptionsRefused(
            f"'{request.mask}' has the background alone, so there is nothing to treat. Choose another mask, or classes "
            "beside the background."
        )
    if named > CLASSES:
        raise OptionsRefused(f"A grid tells {CLASSES} classes apart, not {named}. Name those that are to be treated.")
    if request.size < max(source.grid.gsd):
        raise OptionsRefused(
            f"A cell of {request.size:g} m is smaller than a pixel of the mask ({metres(source.grid.gsd)}). Choose "
            "larger cells."
        )


def _plan(request: GridRequest, source: MaskSource, step: Callable[[str, float], None]) -> Plan:
    """Lay the grid, and count."""
    crs = metric_crs(source.grid)
    places = Places(source.grid, crs)
    shapes = shapes_of(request.within, source.grid)
    reach = Reach(shapes)
    x, y = places.of(*reach.edge(source.grid.extent))
    angle, about = request.angle, None
    if angle is None:
        about = None if shapes else places.of(*source.hull())
        angle = longest_side(*(about or (x, y)))
    cells = Cells.over(crs, x, y, request.size, angle, about)
    counts = count(source, reach, cells, lambda share: step("Counting", share))
    names = [known.name for known in source.classes[1:]]
    share, least = request.share / 100, request.least / 100
    plan = planned(cells, counts, names, share, least, request.dose, _cell_area(cells, x, y))
    if not len(plan.numbers):
        raise RasterEmpty(
            f"No cell has data on {request.least:g} % of it. Choose smaller cells, or polygons over the mask's data."
        )
    return plan


def _cell_area(cells: Cells, x: Floats, y: Floats) -> float:
    """Square metres on the ellipsoid of a cell, from a square that is large enough to be measured, in the middle."""
    left, bottom = float(np.mean((x.min(), x.max()))) - SQUARE / 2, float(np.mean((y.min(), y.max()))) - SQUARE / 2
    whole = Ground(cells.crs, Affine.identity()).area(left, bottom, SQUARE, SQUARE)
    return whole / SQUARE**2 * cells.size**2


def _write(files: list[PlanFile], plan: Plan, tags: Mapping[str, str], step: Callable[[str, float], None]) -> None:
    """Write all files, then put them in their places."""
    with ExitStack() as stack:
        for file in files:
            file.check_plan(plan)
        for done, file in enumerate(files):
            step("Writing", done / len(files))
            sweep(file.output.resolve().parent)
            stack.callback(file.drop)
            file.write(plan, tags)
        step("Writing", 1.0)
        for file in files:
            file.place()

"""Scenes: a raster cut into squares, or what lies about polygons, each labelled whole by a model of scenes.

The squares are those of the model's grid, anchored at the raster's origin: a part of the raster has the scenes of the
whole. They are read and labelled batch by batch, and written as they come, so that memory does not grow with them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from rotacube.errors import JobCancelled, OptionsRefused, RasterEmpty
from rotacube.inference.device import Place, choose_place
from rotacube.inference.engine import Engine
from rotacube.inference.request import provenance
from rotacube.logits import class_ids, probabilities
from rotacube.models.card import CardClass, ModelCard
from rotacube.models.store import LoadedModel, labels_of
from rotacube.raster.destination import Destination, check_output, sweep, unwritable
from rotacube.raster.file_source import CACHE_BYTES, FileSource
from rotacube.raster.gdal import GDAL_ERRORS
from rotacube.raster.grid import Box
from rotacube.raster.reading import AS_THE_FILE_SAYS, Reading
from rotacube.texts import check_crs, check_output_name, check_raster
from rotacube.vector.layers import moved, read_polygons
from rotacube.vector.writing import LayerWriter, field_names

DRIVERS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf"}
LARGEST = 2048
"""Pixels a side of the largest scene."""
MOST = 2_000_000
"""Squares of the largest raster, those without data included."""
PART = 1000
"""Scenes that are written at once."""
LONGEST = 60
"""Letters of a field's name."""


@dataclass(frozen=True)
class SceneRequest:
    """What to label.

    Attributes:
        raster: what GDAL opens; or rasters that are one, see `members_of`.
        model: a model's name, or its folder.
        output: the layer, .gpkg or .fgb.
        size: metres of a square's side; the model's tile if None. Not with `cells`.
        cells: a layer of polygons, as `read_polygons` takes it, each of which is a scene: what lies in the square about
            it; squares all over the raster if empty.
        cell_field: the field with the polygons' names; they are numbered alone if empty.
        bounds: left, bottom, right, top: squares that touch them; all of them if None. Not with `cells`.
        bounds_crs: of the bounds; the raster's own if None.
        least: percent of a scene that must have data; scenes with less are left out.
        reading: the raster's bands, its validity, and what else its file does not say.
        overwrite: whether a file that is there may be replaced.
    """

    raster: str
    model: str
    output: Path
    size: float | None = None
    cells: str = ""
    cell_field: str = ""
    bounds: tuple[float, float, float, float] | None = None
    bounds_crs: str | None = None
    least: float = 50.0
    reading: Reading = AS_THE_FILE_SAYS
    overwrite: bool = False


@dataclass
class SceneTotal:
    """How many scenes are of a class, and their square metres."""

    info: CardClass
    scenes: int = 0
    area_m2: float = 0.0


@dataclass
class SceneResult:
    """What was found.

    Attributes:
        classes: a total of each.
        left_out: scenes with too little data.
        notes: sentences that a person should know.
        place: where the network ran.
    """

    classes: list[SceneTotal]
    left_out: int = 0
    notes: list[str] = field(default_factory=list)
    place: str = ""

    @property
    def scenes(self) -> int:
        """All that were labelled."""
        return sum(total.scenes for total in self.classes)


@dataclass(frozen=True)
class _Scene:
    """A scene: its number from 1, its name, the square that is seen, and its outline, both in pixels of the grid."""

    number: int
    name: str
    box: Box
    shape: BaseGeometry


def classify_scenes(
    request: SceneRequest,
    model: LoadedModel,
    *,
    place: Place | None = None,
    on_scene: Callable[[int, int, float | None], None] = lambda done, total, seconds_left: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> SceneResult:
    """Label scenes, and write them as a layer of polygons: class, its probability, that of each class, area in square
    metres on the ellipsoid, the share of the square that has data.

    Args:
        request: what to label.
        model: of scenes, loaded.
        place: where it runs; as `choose_place` says if None.
        on_scene: called after each batch with how many are done, of how many, and the seconds that are left.
        cancelled: asked before each batch.

    Raises:
        RotacubeError: a subclass that says what is wrong; nothing is left behind.
        JobCancelled: `cancelled` said so; nothing is left behind.
    """
    _check(request, model.card)
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
        FileSource(request.raster, model.card, request.reading) as source,
    ):
        total, scenes = _scenes(request, source, model)
        check_output(request.output, request.overwrite, source.files, tuple(DRIVERS))
        sweep(request.output.resolve().parent)
        engine = Engine.of(model, place or choose_place())
        result = SceneResult([SceneTotal(c) for c in model.card.classes], place=str(engine.place))
        destination = Destination(request.output, request.overwrite)
        try:
            part = destination.part("scenes", request.output.suffix.lower())
            _write(request, source, engine, (total, scenes), (part, result), on_scene, cancelled)
            destination.place(part)
        finally:
            destination.drop()
        result.notes += source.notes
    return result


def check_labels_scenes(card: ModelCard) -> None:
    """Check that a model labels whole images.

    Raises:
        OptionsRefused: it labels pixels.
        ModelDamaged: the card names a network that there is not.
    """
    if labels_of(card) != "images":
        raise OptionsRefused(f"The model '{card.name}' labels pixels, not whole images: choose a model of scenes.")


def _check(request: SceneRequest, card: ModelCard) -> None:
    """What can be judged without the raster."""
    check_raster(request.raster)
    check_output_name(str(request.output))
    check_labels_scenes(card)
    if request.bounds_crs is not None:
        check_crs(request.bounds_crs)
    if not 0 <= request.least <= 100:
        raise OptionsRefused(f"{request.least:g} % of data is none. Give a share from 0 to 100.")
    if request.size is not None and not (math.isfinite(request.size) and request.size > 0):
        raise OptionsRefused(f"A scene of {request.size:g} m is none. Give its side in metres, such as 50.")
    if request.cells and (request.size is not None or request.bounds is not None):
        raise OptionsRefused("Polygons say themselves where the scenes are: give no size and no bounds with them.")


def _scenes(request: SceneRequest, source: FileSource, model: LoadedModel) -> tuple[int, Iterator[_Scene]]:
    """How many scenes there are, and the scenes."""
    smallest = int(getattr(model.network, "smallest", 1))
    if request.cells:
        scenes = list(_of_polygons(request, source, smallest))
        return len(scenes), iter(scenes)
    gsd = model.card.gsd
    side = model.card.tile if request.size is None else round(request.size / gsd)
    if not smallest <= side <= LARGEST:
        raise OptionsRefused(
            f"A scene of {request.size:g} m has {side:,} of the model's pixels a side; it takes {smallest} to "
            f"{LARGEST:,}. Choose a size from {smallest * gsd:g} to {LARGEST * gsd:g} m."
        )
    grid = source.grid
    area = grid.box_of_bounds(request.bounds, request.bounds_crs) if request.bounds else grid.extent
    rows = range(area.top // side, math.ceil(area.bottom / side))
    columns = range(area.left // side, math.ceil(area.right / side))
    if len(rows) * len(columns) > MOST:
        raise OptionsRefused(
            f"Scenes of {side * gsd:g} m are {len(rows) * len(columns):,}, more than {MOST:,}. Choose larger ones, or "
            "a smaller area."
        )
    across = math.ceil(grid.width / side)

    def squares() -> Iterator[_Scene]:
        for row in rows:
            for column in columns:
                box = Box(row * side, column * side, (row + 1) * side, (column + 1) * side)
                shape = shapely.box(box.left, box.top, box.right, box.bottom)
                yield _Scene(row * across + column + 1, "", box, shape)

    return len(rows) * len(columns), squares()


def _of_polygons(request: SceneRequest, source: FileSource, smallest: int) -> Iterator[_Scene]:
    """The squares about polygons, which are large enough for the network."""
    found = read_polygons(request.cells, source.grid.crs, request.cell_field or None)
    shapes = moved(np.array(found.shapes, object), ~source.grid.transform)
    for number, (shape, name) in enumerate(zip(shapes, found.values, strict=True), 1):
        left, top, right, bottom = shape.bounds
        side = max(smallest, math.ceil(max(right - left, bottom - top)))
        if side > LARGEST:
            raise OptionsRefused(
                f"Polygon {number} of '{request.cells}' is {side * source.grid.gsd[0]:,.0f} m wide; a scene may have "
                f"{LARGEST:,} of the model's pixels, {LARGEST * source.grid.gsd[0]:,.0f} m. Choose smaller polygons."
            )
        first = round((top + bottom - side) / 2), round((left + right - side) / 2)
        yield _Scene(number, name, Box(*first, first[0] + side, first[1] + side), shape)


def _write(
    request: SceneRequest,
    source: FileSource,
    engine: Engine,
    scenes: tuple[int, Iterator[_Scene]],
    into: tuple[Path, SceneResult],
    on_scene: Callable[[int, int, float | None], None],
    cancelled: Callable[[], bool],
) -> None:
    (total, each), (path, result), card = scenes, into, source.card
    tags = provenance(request.raster, card)
    kind = "MultiPolygon" if request.cells else "Polygon"
    writer = LayerWriter(path, DRIVERS[path.suffix], "scenes", source.grid.crs, tags, kind)
    begun, done = time.monotonic(), 0
    held: list[tuple[_Scene, NDArray[np.float32], float]] = []
    try:
        writer.add(*_rows(request, source, held))
        # squares of one size go together; those about polygons have sizes of their own
        while batch := list(islice(each, 1 if request.cells else engine.place.batch)):
            if cancelled():
                raise JobCancelled("Cancelled; nothing was written.")
            seen = [(scene, *source.read(scene.box)) for scene in batch]
            kept = [(s, values, valid.mean()) for s, values, valid in seen if _enough(valid, request.least)]
            result.left_out += len(batch) - len(kept)
            if kept:
                logits = engine.infer([values for _, values, _ in kept])
                held += [(s, logits[k], float(share)) for k, (s, _, share) in enumerate(kept)]
            if len(held) >= PART:
                _add(writer, request, source, held, result)
            done += len(batch)
            on_scene(done, total, (time.monotonic() - begun) / done * (total - done))
        _add(writer, request, source, held, result)
        writer.finish()
    except (*GDAL_ERRORS, RuntimeError) as error:
        raise unwritable(request.output, error) from error
    finally:
        writer.drop()
    if not result.scenes:
        raise RasterEmpty(
            f"No scene has data on {request.least:g} % of it. Choose smaller scenes, another area, or a smaller share."
        )


def _enough(valid: NDArray[np.bool_], least: float) -> bool:
    return bool(valid.any()) and float(valid.mean()) >= least / 100


def _add(
    writer: LayerWriter,
    request: SceneRequest,
    source: FileSource,
    held: list[tuple[_Scene, NDArray[np.float32], float]],
    result: SceneResult,
) -> None:
    """Write what is held, count it, and hold nothing."""
    shapes, fields = _rows(request, source, held)
    writer.add(shapes, fields)
    for id_, area in zip(fields["class_id"], fields["area_m2"], strict=True):
        result.classes[id_].scenes += 1
        result.classes[id_].area_m2 += float(area)
    held.clear()


def _rows(
    request: SceneRequest, source: FileSource, held: list[tuple[_Scene, NDArray[np.float32], float]]
) -> tuple[NDArray[np.object_], dict[str, NDArray[Any]]]:
    """Polygons in the raster's CRS, and their fields."""
    card, grid = source.card, source.grid
    logits = np.array([found for _, found, _ in held], np.float32).reshape(len(held), card.outputs).T
    ids, chances = class_ids(logits, card.threshold).astype(np.int32), probabilities(logits)
    shapes = np.array([scene.shape for scene, _, _ in held], object)
    names = np.array([c.name for c in card.classes], object)
    area = [shapely.area(scene.shape) * grid.pixel_area(scene.box) for scene, _, _ in held]
    fields: dict[str, NDArray[Any]] = {"number": np.array([scene.number for scene, _, _ in held], np.int64)}
    if request.cell_field:
        fields["name"] = np.array([scene.name for scene, _, _ in held], object)
    fields |= {
        "class": names[ids],
        "class_id": ids,
        "probability": chances[ids, np.arange(len(held))].astype(np.float64).round(4),
    }
    of_each = field_names([c.name for c in card.classes], LONGEST, "p_")
    fields |= {name: row.astype(np.float64).round(4) for name, row in zip(of_each, chances, strict=True)}
    fields |= {"area_m2": np.array(area, np.float64).round(2)}
    fields |= {"valid": np.array([share for _, _, share in held], np.float64).round(4)}
    placed: NDArray[np.object_] = moved(shapes, grid.transform) if len(shapes) else shapes
    if request.cells:
        placed = np.array([shapely.multipolygons(shapely.get_parts(shape)) for shape in placed], object)
    return placed, fields

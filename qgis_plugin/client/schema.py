"""What passes between plugin and backend, as dataclasses; a test compares them with the backend's OpenAPI document.

Lengths are metres, areas square metres, times seconds, bands count from 1, colours are `#rrggbb`. Addresses are
relative to the backend's base URL. Fields that a newer backend adds are ignored; a field that is missing is an error.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple, Type, TypeVar

FINAL_STATES = ("finished", "failed", "cancelled")
MASK = "mask"
ON_MODEL, ON_SOURCE = "model", "source"
"""Whose grid mask and probability are delivered on: the model's, or the raster's own."""
Corner = Tuple[float, float]
T = TypeVar("T")


class BackendError(Exception):
    """An error of the backend or of the way to it: a stable code, a sentence for a person."""

    def __init__(self, code: str, message: str, status: int = 0):
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True)
class ErrorBody:
    """An error as the backend words it."""

    code: str
    message: str


@dataclass(frozen=True)
class OperatorInfo:
    """Which path an operator takes, and why."""

    name: str
    path: str
    why: str


@dataclass(frozen=True)
class Info:
    """What the backend runs on."""

    version: str
    torch: str
    device: str
    device_why: str
    threads: int
    operators: List[OperatorInfo]
    model_folders: List[str]


@dataclass(frozen=True)
class ClassInfo:
    """One class of a model."""

    id: int
    name: str
    color: str


@dataclass(frozen=True)
class ModelInfo:
    """What a model's card says; `threshold` is None where there are more than two classes."""

    name: str
    title: str
    task: str
    architecture: str
    bands: List[str]
    gsd: float
    gsd_range: Tuple[float, float]
    tile: int
    overlap: int
    classes: List[ClassInfo]
    threshold: Optional[float]
    smallest: float
    notice: str
    licence: str
    attribution: str
    training_data: str
    accuracy: Dict[str, float]
    parameters: int
    sha256: str


@dataclass(frozen=True)
class ProductRequest:
    """A file that a job is to write."""

    path: str
    kind: str = MASK
    format: str = "cog"


@dataclass(frozen=True)
class NodataRange:
    """Values that mean nodata, low to high: of a band, or of every band that is read where none is named."""

    low: float
    high: float
    band: Optional[int] = None


@dataclass(frozen=True)
class JobRequest:
    """Map one raster with one model."""

    raster: str
    model: str
    products: List[ProductRequest]
    bounds: Optional[Tuple[float, float, float, float]] = None
    bounds_crs: Optional[str] = None
    bands: Optional[List[int]] = None
    nodata: List[NodataRange] = dataclasses.field(default_factory=list)
    declared_nodata: bool = True
    alpha_band: Optional[int] = None
    any_resolution: bool = False
    allow_network: bool = False
    overwrite: bool = False
    threshold: Optional[float] = None
    smallest: Optional[float] = None
    within: str = ""
    zones: str = ""
    zone_field: str = ""
    resume: bool = False
    turns: int = 1
    grid: str = ON_MODEL

    def to_json(self) -> Dict[str, Any]:
        """The body of the request, without what is left to the backend."""
        return _set(dataclasses.asdict(self))


@dataclass(frozen=True)
class ClassArea:
    """How much of the mapped area a class covers; `share` is 0 to 1, without nodata."""

    id: int
    name: str
    color: str
    pixels: int
    area_m2: float
    share: float


@dataclass(frozen=True)
class Product:
    """A file that a job has written; it can be fetched from `href`."""

    kind: str
    format: str
    path: str
    href: str


@dataclass(frozen=True)
class JobResult:
    """What a finished job left; `gsd` is metres along a row and along a column of the mask's pixels."""

    products: List[Product]
    width: int
    height: int
    gsd: Tuple[float, float]
    classes: List[ClassArea]
    nodata_pixels: int
    seconds: float
    device: str
    notes: List[str]

    def product(self, kind: str) -> Product:
        """The product of a kind.

        Raises:
            BackendError: if there is none.
        """
        for product in self.products:
            if product.kind == kind:
                return product
        raise BackendError("protocol", f"The backend finished without a {kind}.")


@dataclass(frozen=True)
class JobInfo:
    """A job as it stands."""

    id: str
    state: str
    request: JobRequest
    tiles_done: int = 0
    tiles_total: int = 0
    seconds_left: Optional[float] = None
    step: str = ""
    step_share: float = 0.0
    result: Optional[JobResult] = None
    error: Optional[ErrorBody] = None


@dataclass(frozen=True)
class InterruptedJob:
    """A job that ended before its time; `share` of its map is kept, 0 to 1."""

    id: str
    request: JobRequest
    share: float


@dataclass(frozen=True)
class DiskNeed:
    """What a run needs in a folder until it is done, at most, and what is free there."""

    folder: str
    bytes: int
    free: int


@dataclass(frozen=True)
class Estimate:
    """What a job would come to; tiles without data take next to no time."""

    tiles: int
    width: int
    height: int
    disks: List[DiskNeed]


@dataclass(frozen=True)
class TileEvent:
    """One finished tile; corners are x, y in `crs`: upper left, upper right, lower right, lower left.

    `preview` is the address of its picture, None where there is none.
    """

    n: int
    done: int
    total: int
    seconds_left: Optional[float]
    crs: str
    corners: Tuple[Corner, Corner, Corner, Corner]
    counts: Dict[int, int]
    preview: Optional[str] = None


@dataclass(frozen=True)
class RasterReading:
    """A raster that the backend reads itself, and how; the fields mean what those of a `JobRequest` do."""

    path: str
    bands: Optional[List[int]] = None
    nodata: List[NodataRange] = dataclasses.field(default_factory=list)
    declared_nodata: bool = True
    alpha_band: Optional[int] = None
    any_resolution: bool = False
    allow_network: bool = False


@dataclass(frozen=True)
class ViewRequest:
    """A raster to look at, place by place; without one the plugin sends the pixels, in `crs`, about `near`."""

    model: str
    raster: Optional[RasterReading] = None
    crs: Optional[str] = None
    near: Optional[Corner] = None

    def to_json(self) -> Dict[str, Any]:
        """The body of the request, without what is left to the backend."""
        return _set(dataclasses.asdict(self))


@dataclass(frozen=True)
class ViewInfo:
    """A view and its grid, in its own CRS; `cell` pixels a side of a cell, `pixel` a pixel along x and y."""

    id: str
    crs: str
    gsd: float
    origin: Corner
    pixel: Corner
    cell: int
    threshold: float = 0.5


@dataclass(frozen=True)
class RoofInfo:
    """A roof: GeoJSON in the view's CRS, measures in metres on the ellipsoid, an id that is its own in every view."""

    id: str
    geometry: Dict[str, Any]
    area: float
    perimeter: float
    confidence: float
    axis: Optional[float]
    outline: str


@dataclass(frozen=True)
class RoofsFound:
    """The roofs of a place; cells whose pixels are missing; how many roofs reach beyond what is known."""

    roofs: List[RoofInfo]
    needs: List[Tuple[int, int]] = dataclasses.field(default_factory=list)
    cut: int = 0


@dataclass(frozen=True)
class RoofGrown:
    """A roof about a point, or why there is none."""

    roof: Optional[RoofInfo]
    why: Optional[str] = None
    needs: List[Tuple[int, int]] = dataclasses.field(default_factory=list)


_NESTED = {
    (Info, "operators"): [OperatorInfo],
    (ModelInfo, "classes"): [ClassInfo],
    (JobRequest, "products"): [ProductRequest],
    (JobRequest, "nodata"): [NodataRange],
    (JobResult, "products"): [Product],
    (JobResult, "classes"): [ClassArea],
    (Estimate, "disks"): [DiskNeed],
    (JobInfo, "request"): JobRequest,
    (JobInfo, "result"): JobResult,
    (InterruptedJob, "request"): JobRequest,
    (JobInfo, "error"): ErrorBody,
    (RoofsFound, "roofs"): [RoofInfo],
    (RoofGrown, "roof"): RoofInfo,
}
_PAIRS = {(JobResult, "gsd"), (ModelInfo, "gsd_range"), (ViewInfo, "origin"), (ViewInfo, "pixel")}


def parse(kind: Type[T], data: Any) -> T:
    """Turn decoded JSON into a dataclass.

    Raises:
        BackendError: with code `protocol`, when the data does not have the shape agreed upon.
    """
    try:
        values = {}
        for field in dataclasses.fields(kind):
            if field.name in data:
                values[field.name] = _value(kind, field.name, data[field.name])
        return kind(**values)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BackendError("protocol", f"The backend's answer does not fit {kind.__name__}: {error}") from error


def parse_list(kind: Type[T], data: Any) -> List[T]:
    """Turn a decoded JSON list into dataclasses."""
    if not isinstance(data, list):
        raise BackendError("protocol", f"The backend's answer is not a list of {kind.__name__}.")
    return [parse(kind, item) for item in data]


def _value(kind: type, name: str, value: Any) -> Any:
    if kind is TileEvent and name == "corners":
        return tuple(_pair(corner) for corner in value)
    if (kind, name) in _PAIRS:
        return _pair(value)
    if name == "needs":
        return [(int(col), int(row)) for col, row in value]
    nested = _NESTED.get((kind, name))
    if nested is None or value is None:
        return value
    if isinstance(nested, list):
        return parse_list(nested[0], value)
    return parse(nested, value)


def _set(data: Any) -> Any:
    """Without what is None."""
    if not isinstance(data, dict):
        return data
    return {key: _set(value) for key, value in data.items() if value is not None}


def _pair(value: Any) -> Tuple[float, float]:
    first, second = value
    return float(first), float(second)

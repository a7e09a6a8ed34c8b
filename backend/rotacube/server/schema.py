"""What passes between the backend and whoever drives it: the contract, published as OpenAPI.

Lengths are metres, areas square metres on the ellipsoid, times seconds, bands count from 1, colours are `#rrggbb`.
Addresses are relative to the server's own, so that they hold wherever it is reached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rotacube.texts import trouble, trouble_of_crs, trouble_of_raster


def _rule(trouble: Callable[[str], str | None]) -> AfterValidator:
    def checked(text: str) -> str:
        if wrong := trouble(text):
            raise ValueError(f"it {wrong}")
        return text

    return AfterValidator(checked)


RasterName = Annotated[str, _rule(trouble_of_raster)]
FileName = Annotated[str, _rule(trouble)]
Line = Annotated[str, Field(max_length=500)]
CrsText = Annotated[str, _rule(trouble_of_crs)]
BandNumber = Annotated[int, Field(ge=-(2**31), lt=2**31)]
JobState = Literal["queued", "running", "finished", "failed", "cancelled"]
ProductKind = Literal["mask", "probability", "polygons", "statistics"]
ProductFormat = Literal["cog", "gpkg", "fgb", "parquet", "csv", "json"]


class ErrorBody(BaseModel):
    """An error: a stable code for programs, a sentence for a person."""

    code: str
    message: str


class ErrorAnswer(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorBody


class Health(BaseModel):
    """A sign of life."""

    status: Literal["ok"] = "ok"
    version: str
    pid: int
    uptime_s: float


class OperatorInfo(BaseModel):
    """Which path an operator takes, and why, in words."""

    name: str
    path: Literal["compiled", "reference"]
    why: str


class Info(BaseModel):
    """What the backend runs on."""

    version: str
    torch: str
    device: str
    device_why: str
    threads: int
    operators: list[OperatorInfo]
    model_folders: list[str]


class ClassInfo(BaseModel):
    """One class of a model."""

    id: int
    name: str
    color: str


class ModelInfo(BaseModel):
    """What a model's card says."""

    name: str
    title: str
    task: str
    architecture: str
    bands: list[str]
    gsd: float = Field(description="ground sample distance in metres")
    gsd_range: tuple[float, float] = Field(description="finest and coarsest raster that it is made for, metres a pixel")
    tile: int
    overlap: int
    classes: list[ClassInfo]
    threshold: float | None = Field(
        description="probability from which on a pixel is of class 1; null where there are more than two classes"
    )
    smallest: float = Field(description="square metres of the smallest roof or patch")
    notice: str = Field(description="what has to be known before the model is used; empty where there is nothing")
    licence: str
    attribution: str
    training_data: str
    accuracy: dict[str, float]
    parameters: int
    sha256: str


class ProductRequest(BaseModel):
    """A file that a job shall make."""

    model_config = ConfigDict(extra="forbid")

    kind: ProductKind = Field(
        description="what the file holds: `mask`, a class id a pixel; `probability` of each class but the first, in "
        "254ths; `polygons`, each roof or patch; `statistics`, area and share of each class with 95% intervals"
    )
    format: ProductFormat = Field(
        description="`cog`, a Cloud Optimized GeoTIFF, of `mask` and `probability`; `gpkg`, `fgb` or `parquet` "
        "of `polygons`; `csv` or `json` of `statistics`"
    )
    path: FileName = Field(description="where it is written, on the backend's machine")


class NodataRange(BaseModel):
    """Values that mean nodata beside those that the file declares, low to high inclusive."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    low: float
    high: float
    band: BandNumber | None = Field(
        default=None,
        description="from 1; nodata where this one has such a value, or if absent, every one that is read",
    )


class JobRequest(BaseModel):
    """Map one raster with one model."""

    model_config = ConfigDict(extra="forbid")

    raster: RasterName = Field(
        description="what GDAL opens: a path; or a folder of rasters, a list of them (.txt, a path a line), a STAC "
        "item collection (.json), which are mapped as one"
    )
    model: FileName = Field(description="a model's name, or the folder that holds its card")
    products: list[ProductRequest] = Field(min_length=1, max_length=16, description="the files that it shall make")
    bounds: tuple[float, float, float, float] | None = Field(
        default=None, description="left, bottom, right, top; the whole raster if absent"
    )
    bounds_crs: CrsText | None = Field(default=None, description="CRS of the bounds; the raster's own if absent")
    bands: list[BandNumber] | None = Field(default=None, description="the raster's bands in the model's order, from 1")
    nodata: list[NodataRange] = Field(default=[], max_length=256, description="further values that mean nodata")
    declared_nodata: bool = Field(default=True, description="whether the nodata values that the file declares count")
    alpha_band: BandNumber | None = Field(
        default=None, ge=0, description="the band of opacity, from 1; 0 for none; the file's own if absent"
    )
    any_resolution: bool = Field(default=False, description="take a resolution outside of the model's `gsd_range`")
    allow_network: bool = Field(default=False, description="let the raster make requests over the network")
    overwrite: bool = Field(default=False, description="replace files that are there")
    threshold: float | None = Field(
        default=None, gt=0, lt=1, description="probability from which on a pixel is of class 1; the model's if absent"
    )
    smallest: float | None = Field(
        default=None, ge=0, le=1e4, description="square metres of the smallest roof or patch; the model's if absent"
    )
    within: FileName = Field(default="", description="a layer of polygons, outside of which all is nodata")
    zones: FileName = Field(default="", description="a layer of polygons, in each of which statistics are wanted too")
    zone_field: Line = Field(default="", description="the field with the names of the zones; numbers if empty")
    turns: Literal[1, 2, 4, 8] = Field(default=1, description="how often each tile is looked at, turned and mirrored")
    grid: Literal["model", "source"] = Field(
        default="model", description="that `mask` and `probability` are delivered on: the model's, or the raster's own"
    )
    resume: bool = Field(default=False, description="go on with what the same request has left when it was cut off")


class DiskNeed(BaseModel):
    """What a run needs in a folder until it is done, at most, and what is free there."""

    folder: str
    bytes: int
    free: int


class Estimate(BaseModel):
    """What a job would come to."""

    tiles: int = Field(description="that are looked at; those without data take next to no time")
    width: int
    height: int
    disks: list[DiskNeed]


class RasterReading(BaseModel):
    """A raster that is looked at, and how it is read; the fields mean what those of a job do."""

    model_config = ConfigDict(extra="forbid")

    path: RasterName
    bands: list[BandNumber] | None = None
    nodata: list[NodataRange] = Field(default=[], max_length=256)
    declared_nodata: bool = True
    alpha_band: BandNumber | None = Field(default=None, ge=0)
    any_resolution: bool = False
    allow_network: bool = False


class ViewRequest(BaseModel):
    """Look at a raster with a model that finds roofs; without one, at pixels that the client sends."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: FileName
    raster: RasterReading | None = None
    crs: CrsText | None = Field(default=None, description="of the pixels that the client sends")
    near: tuple[float, float] | None = Field(
        default=None, description="x, y of a place about which these pixels have the model's ground sample distance"
    )


class ViewInfo(BaseModel):
    """A view and its grid. Cell (column, row) begins at `origin` + `cell` x (column, row) x `pixel`."""

    id: str
    crs: str
    gsd: float
    origin: tuple[float, float]
    pixel: tuple[float, float] = Field(description="along x and y in units of the CRS; the second one is negative")
    cell: int = Field(description="pixels a side of a cell")
    threshold: float = Field(description="the model's own")


class ViewUse(BaseModel):
    """What a view holds."""

    tiles: int
    cells: int
    bytes: int


class RoofsRequest(BaseModel):
    """Which roofs are wanted."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    bounds: tuple[float, float, float, float] = Field(description="left, bottom, right, top in the view's CRS")
    ring: float = Field(default=0, ge=0, le=1, description="share of their size by which is inferred ahead afterwards")
    threshold: float | None = Field(default=None, gt=0, lt=1)
    smallest: float | None = Field(default=None, ge=0, le=1e4)
    ticket: str = Field(max_length=100, description="names this piece of work, to cancel it")


class RoofInfo(BaseModel):
    """A roof: GeoJSON in the view's CRS, measures in metres on the ellipsoid."""

    id: str
    geometry: dict[str, Any]
    area: float
    perimeter: float
    confidence: float
    axis: float | None
    outline: Literal["regularised", "as found"]


class RoofsFound(BaseModel):
    """The roofs of a place."""

    roofs: list[RoofInfo]
    needs: list[tuple[int, int]] = Field(description="cells, column and row, whose pixels have to be sent first")
    cut: int = Field(description="how many roofs are larger than can be seen at once, and left out")


class GrowRequest(BaseModel):
    """A place where a roof was missed."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    point: tuple[float, float]
    threshold: float | None = Field(default=None, gt=0, lt=1)


class RoofGrown(BaseModel):
    """A roof about a place, or why there is none."""

    roof: RoofInfo | None
    why: str | None
    needs: list[tuple[int, int]]


class ClassArea(BaseModel):
    """How much of the mapped area a class covers."""

    id: int
    name: str
    color: str
    pixels: int
    area_m2: float
    share: float = Field(description="of the mapped area without nodata, 0 to 1")


class Product(BaseModel):
    """A file that a job has made."""

    kind: ProductKind
    format: ProductFormat
    path: str = Field(description="where it lies, on the backend's machine")
    href: str = Field(description="its address, relative to the server's, while the job is remembered")


class JobResult(BaseModel):
    """What a finished job left."""

    products: list[Product]
    width: int
    height: int
    gsd: tuple[float, float] = Field(description="metres along a row and along a column of the map's pixels")
    classes: list[ClassArea]
    nodata_pixels: int
    seconds: float
    device: str
    notes: list[str] = Field(description="sentences: what a person should know about how the raster was read")


class JobInfo(BaseModel):
    """A job as it stands."""

    id: str
    state: JobState
    request: JobRequest
    tiles_done: int = 0
    tiles_total: int = 0
    seconds_left: float | None = None
    step: str = Field(default="", description="what is done after the last tile, in words; empty before")
    step_share: float = Field(default=0.0, description="the share of that step that is done, 0 to 1")
    result: JobResult | None = None
    error: ErrorBody | None = None


class InterruptedJob(BaseModel):
    """A job that ended before its time, and can be gone on with."""

    id: str = Field(description="not that of the job that it was: it holds over restarts")
    request: JobRequest
    share: float = Field(description="of the map that is kept, 0 to 1")


class TileEvent(BaseModel):
    """One finished tile. Corners are x, y in `crs`: upper left, upper right, lower right, lower left of the preview."""

    n: int
    done: int
    total: int
    seconds_left: float | None
    crs: str = Field(description="WKT")
    corners: tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
    counts: dict[int, int] = Field(description="pixels per class id")
    preview: str | None = Field(description="address of its picture, relative to the server's; null if it has none")

"""What to map of drone frames, in plain values, and where it goes, checked before any work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rotacube.errors import OptionsRefused, OutputUnwritable
from rotacube.inference.footprints import check_footprints
from rotacube.inference.request import check_labels_pixels, with_cuts
from rotacube.inference.store import folder_of, placed_by
from rotacube.models.card import ModelCard
from rotacube.raster.destination import check_output, sweep
from rotacube.raster.matches import check_matching
from rotacube.raster.references import References

PRODUCTS = {
    "mask": "mask.tif",
    "probability": "probability.tif",
    "rgb": "rgb.tif",
    "agreement": "agreement.tif",
    "statistics": "shares.csv",
}
"""The files of a map of frames, by what they hold; the first gives the run's folder its name."""
FINEST, COARSEST = 1e-3, 1e3


@dataclass(frozen=True)
class FramesRequest:
    """What to map, in plain values.

    Attributes:
        folder: with the frames.
        output: the folder of the products, which is made if there is none.
        model: a model's name, or its folder.
        gsd: metres of the map's pixels; the model's if None.
        ground: elevation of the ground above the sea, metres, for frames that do not say their height above it; with a
            terrain model that of where the drone took off.
        threshold: the probability from which on a pixel is of class 1, of two classes; the model's own if None.
        any_resolution: whether frames far from the resolution that the model is made for are mapped.
        overwrite: whether files that are there may be replaced.
        resume: whether what a run that was cut off has left is gone on with.
        refine: whether the frames' poses are refined by what neighbours both show.
        calibration: a JSON file that says how the camera's lens bends lines; what the frames' tags say if None.
        dem: a terrain model that GDAL reads, heights above the sea; the ground is flat if None.
        footprints: a layer of the ground that each mapped frame shows, .gpkg or .fgb; none if None.
    """

    folder: Path
    output: Path
    model: str
    gsd: float | None = None
    ground: float | None = None
    threshold: float | None = None
    any_resolution: bool = False
    overwrite: bool = False
    resume: bool = False
    refine: bool = False
    calibration: Path | None = None
    dem: str | None = None
    footprints: Path | None = None

    def path(self, product: str) -> Path:
        """Where a product goes, a key of `PRODUCTS`."""
        return self.output / PRODUCTS[product]


def checked(request: FramesRequest, card: ModelCard) -> ModelCard:
    """The card as the request changes it; all that can be judged without the frames is."""
    if request.gsd is not None and not FINEST <= request.gsd <= COARSEST:
        raise OptionsRefused(f"Pixels of {request.gsd:g} m make no map: choose {FINEST:g} to {COARSEST:,.0f} m.")
    if request.refine:
        check_matching()
    check_labels_pixels(card)
    return with_cuts(card, request.threshold, None)


@contextlib.contextmanager
def folder_for(request: FramesRequest) -> Iterator[None]:
    """The products' folder, made where there is none, and removed again where nothing came into it."""
    made = not request.output.exists()
    try:
        request.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(
            f"The folder '{request.output}' cannot be made ({error.strerror}). Choose another place."
        ) from error
    try:
        for product in PRODUCTS:
            path = request.path(product)
            check_output(path, may_replace_product(request, path), References(), (path.suffix,))
        if request.footprints is not None:
            check_footprints(request.footprints, may_replace_product(request, request.footprints))
        sweep(request.output.resolve())
        yield
    finally:
        if made:
            with contextlib.suppress(OSError):
                request.output.rmdir()


def may_replace_product(request: FramesRequest, path: Path) -> bool:
    """Whether what lies at a path may be replaced: somebody said so, or the run that is resumed has put it there."""
    return request.overwrite or (request.resume and placed_by(folder_of(request.path("mask")), path))

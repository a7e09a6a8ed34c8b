"""The footprints of a flight's frames as a layer of polygons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import shapely

from rotacube import __version__
from rotacube.inference.outputs.polygons import DRIVERS
from rotacube.raster.destination import Destination, check_output, sweep, unwritable
from rotacube.raster.frames import Flight
from rotacube.raster.gdal import GDAL_ERRORS
from rotacube.raster.references import References
from rotacube.vector.writing import LayerWriter


def check_footprints(output: Path, overwrite: bool) -> str:
    """The format of a layer that can be written there, a key of `DRIVERS`.

    Raises:
        OutputUnwritable: it cannot, or its name has another end.
    """
    check_output(output, overwrite, References(), tuple(f".{form}" for form in DRIVERS))
    return output.suffix.lower()[1:]


def write_footprints(
    flight: Flight,
    output: Path,
    overwrite: bool = False,
    note: Callable[[Path, Path], object] = lambda output, part: None,
) -> None:
    """Write the ground that each frame shows, with what is known of its camera.

    Args:
        flight: the frames.
        output: .gpkg or .fgb.
        overwrite: whether a file that is there may be replaced.
        note: is told the path and the part that is about to take it.

    Raises:
        OutputUnwritable: the layer cannot be written.
    """
    form = check_footprints(output, overwrite)
    sweep(output.resolve().parent)
    destination = Destination(output, overwrite, note)
    try:
        part = destination.part("polygons", f".{form}")
        writer = LayerWriter(part, DRIVERS[form], "frames", flight.crs, {"ROTACUBE_VERSION": __version__})
        poses = [frame.pose for frame in flight.frames]
        shapes = np.array([shapely.Polygon(frame.outline) for frame in flight.frames])
        fields = {
            "frame": np.array([frame.path.name for frame in flight.frames], object),
            "longitude": np.array([pose.longitude for pose in poses]),
            "latitude": np.array([pose.latitude for pose in poses]),
            "height_m": np.array([pose.height for pose in poses]),
            "yaw_deg": np.array([pose.yaw for pose in poses]),
            "tilt_deg": np.array([pose.tilt for pose in poses]),
            "gsd_m": np.array([pose.gsd for pose in poses]),
        }
        try:
            writer.add(shapes, fields)
            writer.finish()
        except (*GDAL_ERRORS, RuntimeError) as error:
            raise unwritable(output, error) from error
        destination.place(part)
    finally:
        destination.drop()

"""What a run over a flight needs, what it depends on, and what its products say of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import shapely

from rotacube import __version__
from rotacube.inference.device import Place
from rotacube.inference.frames_request import PRODUCTS, FramesRequest
from rotacube.inference.needs import Needs, needs_of_frames
from rotacube.inference.store import FRAMES, folder_of, left_of
from rotacube.models.card import ModelCard
from rotacube.raster.frames import Flight, LeftOut
from rotacube.raster.map_grid import MapGrid

NAMED = 20
"""Frames that were left out whose names stand in the products."""


def needs_of_flight(request: FramesRequest, flight: Flight, grid: MapGrid, card: ModelCard) -> Needs:
    """What the run needs on the disk, by the ground that the frames show."""
    outlines = shapely.polygons([frame.corners for frame in flight.frames])
    pixel = abs(grid.transform.determinant)
    seen, covered = (float(area) / pixel for area in (shapely.area(outlines).sum(), shapely.union_all(outlines).area))
    kept = left_of(folder_of(request.path("mask"))).size
    return needs_of_frames(request.output.resolve(), PRODUCTS, seen, covered, len(card.classes) - 1, kept)


def tags_of(flight: Flight, left_out: Sequence[LeftOut]) -> dict[str, str]:
    """How many frames the map is of, and which were left out; of many the first ones."""
    lost = sorted(frame.path.name for frame in left_out)
    used = len(flight.frames) + len(flight.left_out) - len(lost)
    more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    named = {"ROTACUBE_FRAMES_LEFT_OUT": f"{len(lost)}: {', '.join(lost[:NAMED])}{more}"} if lost else {}
    return {"ROTACUBE_FRAMES": str(used), **named}


def manifest_of(
    request: FramesRequest,
    flight: Flight,
    grid: MapGrid,
    card: ModelCard,
    place: Place,
    names: list[str],
) -> dict[str, Any]:
    """All that is kept depends on, under names that a person knows."""
    frames = {
        frame.path.name: [
            *(frame.path.stat().st_size, frame.path.stat().st_mtime_ns),
            *map(str, [*frame.to_map.ravel(), frame.pose.lens]),
        ]
        for frame in flight.frames
    }
    changed = card.model_dump(mode="json", exclude={"accuracy"})
    return {
        "version": __version__,
        "the raster": [str(request.folder.resolve()), frames, grid.crs, list(grid.transform)],
        FRAMES: len(flight.frames),
        "how it is read": request.any_resolution,
        "the area": [0, 0, grid.height, grid.width],
        "the model": changed,
        "where it runs": str(place),
        "what is kept": names,
    }

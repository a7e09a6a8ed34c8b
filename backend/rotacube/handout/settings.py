"""How a map came about, as its tags and its grid say it."""

from __future__ import annotations

from pathlib import Path

from pyproj import CRS

from rotacube.raster.map_grid import metres
from rotacube.raster.mask_source import MaskSource


def title_of(mask: str) -> str:
    """What a map is called that nobody named: as its file, or as the folder of a map of frames."""
    path = Path(mask)
    folder = path.resolve().parent.name
    return folder if path.stem == "mask" and folder else path.stem or mask


def settings_of(source: MaskSource) -> list[tuple[str, str]]:
    """Names and values for a person: model, version, source, pixels, and what a map of frames says beside it."""
    tags, grid = source.tags, source.grid
    model = tags.get("ROTACUBE_MODEL", "")
    digest = tags.get("ROTACUBE_MODEL_SHA256", "")[:12]
    rows = [
        ("Model", f"{model} (weights {digest})" if model and digest else model or "not said by the mask"),
        ("Made by", f"Rotacube {tags['ROTACUBE_VERSION']}" if "ROTACUBE_VERSION" in tags else ""),
        ("Source", tags.get("ROTACUBE_RASTER", "")),
        ("Threshold", tags.get("ROTACUBE_THRESHOLD", "")),
        ("Frames", tags.get("ROTACUBE_FRAMES", "")),
        ("Frames left out", tags.get("ROTACUBE_FRAMES_LEFT_OUT", "")),
        ("Pixel size", metres(grid.gsd)),
        ("Map", f"{grid.width:,} x {grid.height:,} pixels, {CRS.from_wkt(grid.crs).name}"),
        ("Mask", source.path),
    ]
    return [(name, value) for name, value in rows if value]


def terms_of(source: MaskSource) -> list[tuple[str, str]]:
    """The model's notice, licence and attribution."""
    names = {
        "Notice": "ROTACUBE_NOTICE",
        "Licence of the model": "ROTACUBE_LICENCE",
        "Attribution": "ROTACUBE_ATTRIBUTION",
    }
    return [(name, source.tags[tag]) for name, tag in names.items() if source.tags.get(tag)]

"""The pages of a KMZ, as KML 2.2 (OGC 07-147r2)."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from rotacube.errors import printable

Bounds = tuple[float, float, float, float]
"""West, south, east, north, degrees."""
TILE = 512
"""Pixels a side of a square's picture."""
FADE = TILE // 2
"""Pixels a side on the screen from which on a square is shown in place of the one above."""
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2">\n<Document>\n'
_HIDDEN = (
    '<Style id="squares"><ListStyle><listItemType>checkHideChildren</listItemType></ListStyle></Style>\n'
    "<styleUrl>#squares</styleUrl>\n"
)
_TAIL = "</Document>\n</kml>\n"


class Link(NamedTuple):
    """A layer of squares: what it is called, the square that shows all, and its page."""

    name: str
    bounds: Bounds
    page: str


def escape(text: str) -> str:
    """A text as XML takes it."""
    return html.escape(printable(text))


def root_page(
    title: str, about: str, seen: tuple[float, float, float], links: Sequence[Link], legend: tuple[str, int, int]
) -> str:
    """The page that a viewer opens.

    Args:
        title: what it is called.
        about: what is said of it, lines.
        seen: longitude and latitude that is looked at, degrees, and from how far, metres.
        links: the layers.
        legend: a picture, its width and height in pixels.
    """
    longitude, latitude, distance = seen
    picture, width, height = legend
    lines = "<br/>".join(escape(line) for line in about.splitlines())
    return (
        f"{_HEAD}<name>{escape(title)}</name>\n<description>{escape(lines)}</description>\n<open>1</open>\n"
        f"<LookAt><longitude>{longitude:.8f}</longitude><latitude>{latitude:.8f}</latitude><altitude>0</altitude>"
        f"<heading>0</heading><tilt>0</tilt><range>{distance:.1f}</range></LookAt>\n"
        + "".join(_link(link.bounds, link.page, 1, link.name) for link in links)
        + f"<ScreenOverlay><name>Legend</name><Icon><href>{picture}</href></Icon>\n"
        '<overlayXY x="0" y="1" xunits="fraction" yunits="fraction"/>'
        '<screenXY x="0.01" y="0.98" xunits="fraction" yunits="fraction"/>\n'
        f'<size x="{width}" y="{height}" xunits="pixels" yunits="pixels"/></ScreenOverlay>\n{_TAIL}'
    )


def tile_page(
    bounds: Bounds, picture: str, order: int, seen: tuple[int, int], below: Sequence[tuple[Bounds, str]]
) -> str:
    """The page of a square.

    Args:
        bounds: of the square.
        picture: the file's name; none if empty.
        order: what is drawn over what: higher over lower.
        seen: from how many pixels a side on the screen on it is shown, and to how many; -1 is without end.
        below: bounds and pages of the quarters that show anything.
    """
    shown = ""
    if picture:
        shown = (
            f"<GroundOverlay><drawOrder>{order}</drawOrder><Icon><href>{picture}</href></Icon>"
            f"<LatLonBox>{_sides(bounds)}</LatLonBox></GroundOverlay>\n"
        )
    links = "".join(_link(part, page, FADE) for part, page in below)
    return f"{_HEAD}{_HIDDEN}{_region(bounds, *seen)}{shown}{links}{_TAIL}"


def _link(bounds: Bounds, page: str, least: int, name: str = "") -> str:
    named = f"<name>{escape(name)}</name><Style><ListStyle><listItemType>checkHideChildren</listItemType></ListStyle>"
    return (
        f"<NetworkLink>{named + '</Style>' if name else ''}\n{_region(bounds, least, -1)}"
        f"<Link><href>{page}</href><viewRefreshMode>onRegion</viewRefreshMode></Link></NetworkLink>\n"
    )


def _region(bounds: Bounds, least: int, most: int) -> str:
    return (
        f"<Region><LatLonAltBox>{_sides(bounds)}</LatLonAltBox>"
        f"<Lod><minLodPixels>{least}</minLodPixels><maxLodPixels>{most}</maxLodPixels></Lod></Region>\n"
    )


def _sides(bounds: Bounds) -> str:
    west, south, east, north = (f"{value:.10f}" for value in bounds)
    return f"<north>{north}</north><south>{south}</south><east>{east}</east><west>{west}</west>"

"""`rotacube kmz`: an overlay for Google Earth of a mask that is there already, whoever made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rotacube.cli.map import show_share
from rotacube.cli.polygons import BAND, CLASSES, MASK, OVERWRITE, class_list
from rotacube.cli.terminal import progress, say, stop_event, tell

if TYPE_CHECKING:
    from rotacube.handout.kmz import KmzRequest

PHOTO = typer.Option(help="A raster whose colours lie under the classes, such as the one that was mapped.")
TITLE = typer.Option(help="What it is called; the mask's name if absent.", show_default=False)


def kmz(
    mask: Annotated[str, MASK],
    output: Annotated[Path, typer.Argument(help="The overlay: .kmz.")],
    photo: Annotated[str, PHOTO] = "",
    opacity: Annotated[
        float | None, typer.Option(help="Percent of the classes; 100 if absent, 60 over a photo.", show_default=False)
    ] = None,
    title: Annotated[str, TITLE] = "",
    classes: Annotated[str, CLASSES] = "",
    band: Annotated[int, BAND] = 1,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Make an overlay for Google Earth of a mask: the classes in their colours, a legend, and a photo below."""
    from rotacube.handout.kmz import KmzRequest

    make_kmz(KmzRequest(mask, output, photo, opacity, class_list(classes), title, band, overwrite))


def make_kmz(request: KmzRequest) -> None:
    """Make an overlay, with a bar."""
    from rotacube.handout.kmz import kmz_of

    stop = stop_event()
    with progress() as show:
        size = kmz_of(request, on_step=show_share(show), cancelled=stop.is_set)
    say(f"{request.output} is written, {size / 1e6:,.1f} MB.")
    tell(result={"bytes": size})

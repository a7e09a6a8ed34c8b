"""`rotacube report`: a page of a mask that is there already, whoever made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rotacube.cli.kmz import PHOTO, TITLE
from rotacube.cli.map import show_share
from rotacube.cli.polygons import BAND, CLASSES, MASK, OVERWRITE, class_list
from rotacube.cli.terminal import progress, say, stop_event

if TYPE_CHECKING:
    from rotacube.handout.report import ReportRequest


def report(
    mask: Annotated[str, MASK],
    output: Annotated[Path, typer.Argument(help="The report: .pdf or .html.")],
    photo: Annotated[str, PHOTO] = "",
    statistics: Annotated[
        Path | None,
        typer.Option(help="The mask's statistics, .csv or .json; they are made if absent.", show_default=False),
    ] = None,
    title: Annotated[str, TITLE] = "",
    classes: Annotated[str, CLASSES] = "",
    band: Annotated[int, BAND] = 1,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Write a report of one page: the map, shares of the classes with 95% intervals, and how it all came about."""
    from rotacube.handout.report import ReportRequest

    make_report(ReportRequest(mask, output, photo, statistics, class_list(classes), title, band, overwrite))


def make_report(request: ReportRequest) -> None:
    """Write a report, with a bar."""
    from rotacube.handout.report import report_of

    stop = stop_event()
    with progress() as show:
        report_of(request, on_step=show_share(show), cancelled=stop.is_set)
    say(f"{request.output} is written.")

"""`rotacube grid`: a treatment grid of a mask that is there already, whoever made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rotacube.cli.map import show_share
from rotacube.cli.polygons import BAND, CLASSES, MASK, OVERWRITE, class_list
from rotacube.cli.terminal import progress, say, stop_event, tell

if TYPE_CHECKING:
    from rotacube.treatment.plan import Plan


def grid(
    mask: Annotated[str, MASK],
    output: Annotated[
        Path, typer.Argument(help="The cells: .gpkg, .fgb, .shp, .kml; .zip is ISOXML, the task of a machine.")
    ],
    cell: Annotated[float, typer.Option(help="Metres of a cell's side.")],
    classes: Annotated[str, CLASSES] = "",
    share: Annotated[float, typer.Option(help="Percent of a cell from which on a class in it is treated.")] = 5.0,
    least: Annotated[
        float, typer.Option(help="Percent of a cell that must have data; cells with less are left out.")
    ] = 10.0,
    angle: Annotated[
        str,
        typer.Option(help="Of the grid, degrees clockwise from north; auto is along the longest side of the area."),
    ] = "0",
    within: Annotated[
        str, typer.Option(help="A layer of polygons outside of which nothing counts.", show_default=False)
    ] = "",
    rate: Annotated[
        float | None, typer.Option(help="Litres a hectare in cells that are treated; 0 in the others.")
    ] = None,
    by_share: Annotated[
        bool, typer.Option("--by-share", help="The rate is for cells that are covered wholly; others get less.")
    ] = False,
    also: Annotated[
        list[Path] | None, typer.Option(help="Another file of the same cells; may be given more than once.")
    ] = None,
    band: Annotated[int, BAND] = 1,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Lay square cells over a mask, and say where a class passes a share: what is to be treated."""
    from rotacube.treatment.grid import GridRequest, grid_of
    from rotacube.treatment.plan import Dose

    if by_share and rate is None:
        raise typer.BadParameter("--by-share needs --rate", param_hint="--by-share")
    request = GridRequest(
        mask,
        (output, *(also or ())),
        cell,
        class_list(classes),
        share,
        least,
        _degrees(angle),
        within,
        None if rate is None else Dose(rate, by_share),
        band,
        overwrite,
    )
    stop = stop_event()
    with progress() as show:
        plan = grid_of(request, on_step=show_share(show), cancelled=stop.is_set)
    _show(plan, request.outputs)


def _show(plan: Plan, outputs: tuple[Path, ...]) -> None:
    area, treated = float(plan.areas.sum()), float(plan.areas[plan.treat].sum())
    say(
        f"{len(plan.numbers):,} cells of {plan.cells.size:g} m, turned by {plan.cells.angle:g}°: "
        f"{plan.treat.sum():,} are to be treated, {treated:,.1f} of {area:,.1f} m²."
    )
    amount = None if plan.rate is None else float(plan.rate @ plan.areas) / 1e4
    if amount is not None:
        say(f"That takes {amount:,.{1 if amount >= 10 else 3}f} litres.")
    for output in outputs:
        say(f"{output} is written.")
    tell(
        result={
            "cells": len(plan.numbers),
            "treated": int(plan.treat.sum()),
            "area_m2": round(area, 2),
            "treated_m2": round(treated, 2),
            "angle_deg": plan.cells.angle,
            "litres": None if amount is None else round(amount, 2),
        }
    )


def _degrees(text: str) -> float | None:
    if text.strip().lower() == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is neither a number nor auto", param_hint="--angle") from None

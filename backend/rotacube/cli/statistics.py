"""`rotacube statistics`: area and share of each class of a mask that is there already, whoever made it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rotacube.cli.polygons import BAND, CLASSES, MASK, OVERWRITE, class_list, make


def statistics(
    mask: Annotated[str, MASK],
    output: Annotated[Path, typer.Argument(help="The table: .csv or .json.")],
    zones: Annotated[
        str, typer.Option(help="A layer of polygons, in each of which statistics are wanted too.", show_default=False)
    ] = "",
    zone_field: Annotated[str, typer.Option(help="The field with the zones' names.", show_default=False)] = "",
    classes: Annotated[str, CLASSES] = "",
    band: Annotated[int, BAND] = 1,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Measure a mask's classes, also in zones; with 95% intervals where the model that made it is known."""
    from rotacube.inference.of_mask import STATISTICS, MaskRequest

    wanted = class_list(classes)
    make(MaskRequest(mask, STATISTICS, output, band, wanted, None, None, zones, zone_field, overwrite))

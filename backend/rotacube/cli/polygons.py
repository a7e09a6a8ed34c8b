"""`rotacube polygons`: polygons of a mask that is there already, whoever made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rotacube.cli.map import show_classes, show_share
from rotacube.cli.terminal import progress, say, stop_event, tell

if TYPE_CHECKING:
    from rotacube.inference.of_mask import MaskRequest

MASK = typer.Argument(help="What GDAL opens: whole numbers that stand for classes, 0 for the background.")
BAND = typer.Option(help="The band with the classes, from 1.")
CLASSES = typer.Option(
    "--classes", "--class", help="Names or values of the classes that count, such as roof or 1,4.", show_default=False
)
OVERWRITE = typer.Option("--overwrite", help="Replace a file that is there.")


def polygons(
    mask: Annotated[str, MASK],
    output: Annotated[Path, typer.Argument(help="The layer: .gpkg, .fgb or .parquet.")],
    classes: Annotated[str, CLASSES] = "",
    smallest: Annotated[
        float | None, typer.Option(help="Square metres of the smallest polygon; the model's own, or 2, if absent.")
    ] = None,
    regularise: Annotated[
        bool | None,
        typer.Option(
            "--regularise/--no-regularise",
            help="Straight walls, as roofs have, or outlines as found; if absent straight but for maps of plants.",
        ),
    ] = None,
    band: Annotated[int, BAND] = 1,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Make polygons of a mask, with straight walls that neighbours share; by whatever program it was made."""
    from rotacube.inference.of_mask import POLYGONS, MaskRequest

    wanted = class_list(classes)
    make(MaskRequest(mask, POLYGONS, output, band, wanted, smallest, regularise, overwrite=overwrite))


def class_list(text: str) -> tuple[str, ...]:
    """The classes that a text names, parted by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def make(request: MaskRequest) -> None:
    """Make a product of a mask, with a bar, and print what was found."""
    from rotacube.inference.of_mask import of_mask

    stop = stop_event()
    with progress() as show:
        result = of_mask(request, on_step=show_share(show), cancelled=stop.is_set)
    show_classes([total for _, total in result.classes])
    say(f"{request.output} is written.")
    for note in result.notes:
        say(note)
    whole = sum(total.area_m2 for _, total in result.classes)
    tell(
        result={
            "classes": [
                {
                    "id": value,
                    "name": total.info.name,
                    "color": total.info.color,
                    "pixels": total.pixels,
                    "area_m2": round(total.area_m2, 2),
                    "share": round(total.area_m2 / whole, 6) if whole else 0.0,
                }
                for value, total in result.classes
            ],
            "notes": result.notes,
        }
    )

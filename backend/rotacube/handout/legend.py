"""A legend as a picture: the colours of classes beside their names."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from rotacube.errors import printable
from rotacube.handout.layers import rgb_of
from rotacube.raster.mask_source import MaskClass

SIZE, LINE, EDGE, SWATCH = 15, 24, 10, 16
"""Pixels: of letters, from line to line, about all, of a colour's square."""
LONGEST = 48
"""Characters of a name; of a longer one the end is left out."""
MOST = 24
"""Classes that are shown."""


def legend_picture(title: str, classes: Sequence[MaskClass]) -> tuple[bytes, int, int]:
    """A PNG, its width and its height in pixels.

    Args:
        title: above the classes.
        classes: those that are shown.
    """
    rows = [(rgb_of(known.color), shortened(known.name)) for known in classes[:MOST]]
    if len(classes) > MOST:
        rows.append(((255, 255, 255), f"and {len(classes) - MOST} more"))
    title, font = shortened(title), _font()
    wide = max([font.getlength(title), *(SWATCH + EDGE + font.getlength(name) for _, name in rows)])
    width, height = round(wide) + 2 * EDGE, LINE * (1 + len(rows)) + 2 * EDGE
    image = Image.new("RGBA", (width, height), (255, 255, 255, 235))
    draw = ImageDraw.Draw(image)
    draw.text((EDGE, EDGE + LINE / 2), title, "black", font, anchor="lm")
    for number, (colour, name) in enumerate(rows, 1):
        middle = EDGE + LINE * (number + 0.5)
        corners = (EDGE, middle - SWATCH / 2, EDGE + SWATCH, middle + SWATCH / 2)
        draw.rectangle(corners, (*colour, 255), (90, 90, 90, 255))
        draw.text((2 * EDGE + SWATCH, middle), name, "black", font, anchor="lm")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue(), width, height


def shortened(text: str, longest: int = LONGEST) -> str:
    """A name that is not too long for its place."""
    text = printable(text)
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Matplotlib's, which has Greek and Cyrillic letters, where it is installed; else Pillow's own."""
    found = find_spec("matplotlib")
    if found is not None and found.origin:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), SIZE)
    return ImageFont.load_default(SIZE)

"""Which bands of a raster are read as the model's, and how their values become colours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rotacube.errors import RasterBands
from rotacube.models.card import ModelCard

PRINTING = ("cyan", "magenta", "yellow", "black")
COLOURS = {"red", "green", "blue"}
_OTHER_SPACES = {"hue", "saturation", "lightness", "Y", "Cb", "Cr"}
_SHORT = {"r": "red", "g": "green", "b": "blue", "n": "nir"}


@dataclass(frozen=True)
class BandFacts:
    """What a file says about its bands.

    Attributes:
        dtypes: of each band.
        interpretations: names of GDAL's colour interpretations.
        descriptions: of each band, empty where there is none.
        palettes: by band, from 1: (256 or more, 4) uint8 of red, green, blue, opacity.
    """

    dtypes: tuple[str, ...]
    interpretations: tuple[str, ...]
    descriptions: tuple[str, ...]
    palettes: dict[int, NDArray[np.uint8]]


@dataclass(frozen=True)
class Choice:
    """The bands that are read, and what is made of them.

    Attributes:
        bands: from 1; those of the model, or those that its colours are made of.
        dtypes: of what comes out, one a band of the model.
        kind: "plain" where the bands are the model's own.
        palette: of the one band, where `kind` is "palette".
        note: a sentence where the choice is not the obvious one.
    """

    bands: tuple[int, ...]
    dtypes: tuple[str, ...]
    kind: Literal["plain", "printing", "palette"] = "plain"
    palette: NDArray[np.uint8] | None = None
    note: str | None = None

    def decode(
        self, values: NDArray[np.generic], valid: NDArray[np.bool_]
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """The model's bands (n, H, W) of the bands that were read, and the validity less what a palette hides."""
        if self.kind == "printing":
            ink = 255 - values.astype(np.uint16)
            return ((ink[:3] * ink[3:] + 127) // 255).astype(np.uint8), valid
        if self.palette is not None:
            entries = np.minimum(values[0].astype(np.int64), len(self.palette) - 1)
            colours = self.palette[entries]
            return np.ascontiguousarray(colours[..., :3].transpose(2, 0, 1)), valid & (colours[..., 3] > 0)
        return values, valid


def choose_bands(facts: BandFacts, card: ModelCard, given: Sequence[int] | None, name: str) -> Choice:
    """The bands that the model gets.

    Those that are given; else those that the descriptions name, or the colour interpretations; else the first ones but
    for opacity. Cyan, magenta, yellow and black, and a palette, are turned into the model's red, green and blue.

    Raises:
        RasterBands: there are too few, or what they hold is not what the model needs.
    """
    wanted, count = ", ".join(card.bands), len(facts.dtypes)
    if given is not None:
        if len(given) != len(card.bands) or not all(1 <= b <= count for b in given):
            raise RasterBands(
                f"'{card.name}' needs {len(card.bands)} bands ({wanted}) out of 1 to {count}; given: {list(given)}."
            )
        return _plain(facts, given, name)
    colours = card.bands if set(card.bands) <= COLOURS else []
    by_colour = _by_colour(facts.interpretations, card.bands)
    described = _by_description(facts.descriptions, card.bands)
    if described is not None:
        told = ", ".join(f"{n} ({facts.descriptions[n - 1]})" for n in described)
        note = f"Bands {told} are read as {wanted}, after their descriptions."
        return _plain(facts, described, name, None if described == by_colour else note)
    if by_colour is not None:
        return _plain(facts, by_colour, name)
    inks = _by_colour(facts.interpretations, PRINTING)
    if inks is not None and colours:
        if any(facts.dtypes[b - 1] != "uint8" for b in inks):
            raise RasterBands(f"'{name}' holds cyan, magenta, yellow and black of more than 8 bits. Convert it to RGB.")
        order = {"red": 0, "green": 1, "blue": 2}
        bands = tuple(inks[order[c]] for c in colours) + (inks[3],)
        return Choice(bands, ("uint8",) * len(colours), "printing", note="Cyan, magenta, yellow and black became RGB.")
    other = _OTHER_SPACES & set(facts.interpretations)
    if other and colours:
        raise RasterBands(
            f"'{name}' holds {', '.join(sorted(other))}, not red, green and blue. Convert it to RGB, or name the bands "
            "yourself."
        )
    usable = [n for n, interp in enumerate(facts.interpretations, 1) if interp != "alpha"]
    if len(usable) == 1 and usable[0] in facts.palettes and colours:
        palette = facts.palettes[usable[0]]
        columns = np.array([("red", "green", "blue").index(c) for c in colours] + [3])
        return Choice((usable[0],), ("uint8",) * len(colours), "palette", palette[:, columns])
    if len(usable) < len(card.bands):
        raise RasterBands(
            f"'{card.name}' needs {len(card.bands)} bands ({wanted}); '{name}' has {len(usable)}. Choose another "
            "raster, or name the bands yourself: one may stand for several."
        )
    return _plain(facts, usable[: len(card.bands)], name)


def _plain(facts: BandFacts, bands: Sequence[int], name: str, note: str | None = None) -> Choice:
    dtypes = tuple(facts.dtypes[b - 1] for b in bands)
    if any(d.startswith("complex") for d in dtypes):
        raise RasterBands(f"'{name}' holds complex numbers. Make real bands of it first.")
    return Choice(tuple(bands), dtypes, note=note)


def _by_colour(interpretations: Sequence[str], names: Sequence[str]) -> list[int] | None:
    """The first band of each name; None where one is missing."""
    named = {interp: n for n, interp in reversed(list(enumerate(interpretations, 1)))}
    return [named[b] for b in names] if all(b in named for b in names) else None


def _by_description(descriptions: Sequence[str], names: Sequence[str]) -> list[int] | None:
    """The one band whose description has each name as a word of its own; None where one is missing or not alone."""
    found = []
    for wanted in names:
        bands = [n for n, text in enumerate(descriptions, 1) if wanted.lower() in _words(text)]
        if len(bands) != 1:
            return None
        found += bands
    return found if len(set(found)) == len(found) else None


def _words(text: str) -> set[str]:
    """The words of a description; "red edge" is none that is red, and "R" alone stands for red."""
    plain = re.sub(r"red[\s_-]*edge", " ", text.lower())
    words = set(re.findall(r"[a-z]+", plain))
    return words | ({_SHORT[plain.strip()]} if plain.strip() in _SHORT else set())

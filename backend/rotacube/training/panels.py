"""Pictures of what a model finds: image, truth and prediction side by side, one colour a roof."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from rotacube.files import in_one_step
from rotacube.models.card import ModelCard
from rotacube.training.evaluate import Answer

GAP = 4
UNKNOWN = (128, 128, 128)


def panel(answer: Answer, card: ModelCard) -> NDArray[np.uint8]:
    """Image, true roofs, found roofs: (3, H, 3 W + 2 gaps); grey is roof of which nobody knows which one it is."""
    area = answer.area
    found = answer.roofs(card.threshold, card.separation)
    image = np.where(area.valid, area.image, 0)
    truth = coloured(image, area.ids)
    truth[:, area.roof & (area.ids == 0)] = np.array(UNKNOWN)[:, None]
    gap = np.full((3, image.shape[1], GAP), 255, np.uint8)
    return np.concatenate([image, gap, truth, gap, coloured(image, found)], 2).astype(np.uint8)


def coloured(image: NDArray[np.uint8], ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The image, darkened, with each roof in a colour of its own.

    Args:
        image: (3, H, W).
        ids: (H, W), a number a roof, 0 elsewhere.
    """
    rng = np.random.default_rng(0)
    colours = rng.integers(60, 256, (int(ids.max()) + 1, 3))
    colours[np.arange(len(colours)), rng.integers(0, 3, len(colours))] = 0  # none is grey
    shown = (0.35 * image).astype(np.uint8)
    roofs = ids > 0
    shown[:, roofs] = (0.3 * image[:, roofs] + 0.7 * colours[ids[roofs]].T).astype(np.uint8)
    return shown


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write (3, H, W) as PNG, or as JPEG where the name says so.

    Raises:
        OutputUnwritable: the file cannot be written.
    """
    _, height, width = picture.shape
    driver = "JPEG" if path.suffix == ".jpg" else "PNG"
    with (
        in_one_step(path, make_folder=True) as new,
        rasterio.open(new, "w", driver=driver, width=width, height=height, count=3, dtype="uint8") as target,
    ):
        target.write(picture)

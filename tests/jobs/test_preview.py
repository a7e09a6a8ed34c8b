"""The picture of a tile."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.io import MemoryFile

from rotacube.jobs.preview import draw_preview


@pytest.mark.parametrize(("shape", "size"), [((4, 7), (4, 7)), ((256, 256), (256, 256)), ((600, 100), (200, 34))])
def test_a_preview_has_the_colours_of_the_classes(shape, size, make_card):
    labels = np.full(shape, 255, np.uint8)
    labels[: shape[0] // 2] = 1
    labels[:, : shape[1] // 2] = 0
    with MemoryFile(draw_preview(labels, make_card().classes)) as memory, memory.open() as file:
        picture = file.read()
    assert picture.shape == (4, *size)
    assert picture[:, 0, -1].tolist() == [0xE6, 0x55, 0x0D, 255]
    assert picture[3, 0, 0] == 0 and picture[3, -1, -1] == 0

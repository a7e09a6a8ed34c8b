"""An image in memory gives what the same image in a file gives."""

from __future__ import annotations

import numpy as np
import pytest

from rotacube.raster.array_source import ArraySource
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import Box


@pytest.mark.parametrize("box", [(0, 0, 40, 50), (-7, -9, 20, 11), (30, 45, 64, 90), (50, 0, 60, 10), (3, 4, 5, 6)])
def test_a_window_is_that_of_the_same_image_in_a_file(box, tmp_path, write_raster, make_card):
    rng = np.random.default_rng(1)
    image, valid = rng.integers(0, 256, (3, 40, 50), np.uint8), rng.random((40, 50)) > 0.2
    path = write_raster(tmp_path / "a.tif", image, valid=valid)
    card = make_card()
    with FileSource(path, card) as file:
        want = file.read(Box(*box))
        source = ArraySource(image / np.float32(255), valid, card.normalisation)
        assert (source.height, source.width) == (file.height, file.width) == (40, 50)
    values, seen = source.read(Box(*box))
    np.testing.assert_array_equal(seen, want[1])
    np.testing.assert_allclose(values, want[0], atol=1e-6)

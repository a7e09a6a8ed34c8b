"""Network input in one compiled pass: the bits of NumPy's, and the values of an exact reference."""

from __future__ import annotations

import numpy as np
import pytest

from rotacube.models.card import Normalisation
from rotacube.raster import window
from rotacube.raster.radiometry import Radiometry
from rotacube.raster.resample import taps_of

RULE = Normalisation(scale=255.0, mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.3])
HEIGHT, WIDTH = 90, 131


def made(dtype: str, share: float):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 250, (3, HEIGHT, WIDTH)).astype(dtype)
    valid = rng.random((HEIGHT, WIDTH)) < share
    valid[:20, :30] &= share == 1
    low = np.array([0.0, 3.0, 10.0])[:, None, None]
    return image, valid, Radiometry(low, low + 200)


def taken(call, image, valid, radiometry, taps):
    shape = valid.shape if taps is None else tuple(t.index.shape[1] for t in taps)
    values, seen = np.full((*shape, 3), 7, np.float32).transpose(2, 0, 1), np.ones(shape, bool)
    call(image, valid, taps, radiometry, RULE, (values, seen))
    return values, seen


@pytest.mark.parametrize("scale", [None, (0.4, 0.7), (1.1528, 1.154), (1.5, 2.0), (3.7, 5.3)])
@pytest.mark.parametrize("share", [1.0, 0.9, 0.3, 0.02])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_compiled_and_numpy_are_the_same_bits(dtype, share, scale):
    if window._compiled() is None:
        pytest.skip("the compiled library is not there")
    image, valid, radiometry = made(dtype, share)
    taps = None
    if scale is not None:
        taps = tuple(taps_of(-1, int(n / s) + 2, s, n) for n, s in zip((HEIGHT, WIDTH), scale, strict=True))
    got = taken(window.network_input, image, valid, radiometry, taps)
    want = taken(window.in_numpy, image, valid, radiometry, taps)
    np.testing.assert_array_equal(got[1], want[1])
    np.testing.assert_array_equal(got[0].view(np.uint32), want[0].view(np.uint32))

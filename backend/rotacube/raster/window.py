"""From a raster's pixels to network input: scaled, resampled, normalised, in one compiled pass; else in NumPy.

Both give the same bits.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rotacube.models.card import Normalisation
from rotacube.ops import _library
from rotacube.raster.radiometry import Radiometry
from rotacube.raster.resample import Taps, resample

_KINDS = {"uint8": 0, "uint16": 1, "int16": 2, "float32": 3}
_P, _N = ctypes.c_void_p, ctypes.c_int64


class _Axis(ctypes.Structure):
    """As in csrc/cpu/window.h."""

    _fields_ = (("index", _P), ("weight", _P), ("count", _N), ("taps", _N))


class _Window(ctypes.Structure):
    """As in csrc/cpu/window.h."""

    _fields_ = (
        *(("valid", _P), ("bands", _N), ("height", _N), ("width", _N)),
        *(("low", _P), ("span", _P), ("mean", _P), ("deviation", _P), ("rows", _Axis), ("columns", _Axis)),
        *(("out", _P), ("out_band", _N), ("out_row", _N), ("out_column", _N), ("seen", _P), ("seen_row", _N)),
    )


def network_input(
    raw: NDArray[np.generic],
    valid: NDArray[np.bool_],
    taps: tuple[Taps, Taps] | None,
    radiometry: Radiometry,
    rule: Normalisation,
    out: tuple[NDArray[np.float32], NDArray[np.bool_]],
) -> None:
    """Fill in a window.

    Args:
        raw: (bands, H, W) of the source, finite where valid.
        valid: (H, W).
        taps: which rows and columns of `raw` the target's are made of; None where they are the same.
        radiometry: which values become 0 and 1.
        rule: the card's normalisation.
        out: network input (bands, rows, columns), zero where nodata, and its validity (rows, columns).
    """
    call = _compiled()
    if call is None:
        in_numpy(raw, valid, taps, radiometry, rule, out)
        return
    values, seen = out
    low, span = radiometry.low.astype(np.float32).ravel(), np.ones(len(raw), np.float32)
    if raw.dtype.name in _KINDS and raw.dtype.itemsize <= 2:
        span = radiometry.high.astype(np.float32).ravel() - low
    else:
        raw, low = radiometry.scale(raw), np.zeros_like(span)
    raw, valid = np.ascontiguousarray(raw), np.ascontiguousarray(valid)
    mean, deviation = np.array(rule.mean, np.float32), np.array(rule.std, np.float32)
    rows, columns = (_Axis(None, None, n, 1) for n in seen.shape)
    seen[:] = True
    if taps is not None:
        rows, columns = (_Axis(t.index.ctypes.data, t.weight.ctypes.data, t.index.shape[1], len(t.index)) for t in taps)
        np.logical_and(taps[0].inside[:, None], taps[1].inside, out=seen)
    pointers = (array.ctypes.data for array in (low, span, mean, deviation))
    strides = (stride // values.itemsize for stride in values.strides)
    window = _Window(
        *(None if valid.all() else valid.ctypes.data, *raw.shape, *pointers, rows, columns),
        *(values.ctypes.data, *strides, seen.ctypes.data, seen.strides[0]),
    )
    call(ctypes.byref(window), raw.ctypes.data, _KINDS[raw.dtype.name])


def in_numpy(
    raw: NDArray[np.generic],
    valid: NDArray[np.bool_],
    taps: tuple[Taps, Taps] | None,
    radiometry: Radiometry,
    rule: Normalisation,
    out: tuple[NDArray[np.float32], NDArray[np.bool_]],
) -> None:
    """`network_input` without the compiled library."""
    scaled = radiometry.scale(raw)
    scaled[:, ~valid] = 0
    values, seen = (scaled, valid) if taps is None else resample(scaled, valid, *taps)
    out[0][:], out[1][:] = rule.apply(values, seen), seen


@lru_cache(maxsize=1)
def _compiled() -> ctypes._NamedFuncPointer | None:
    """The compiled pass; None without a library that has it."""
    if not _library.CPU.loaded:
        return None
    call = ctypes.CDLL(str(_library.FOLDER / _library.CPU_FILE)).rotacube_network_input
    call.argtypes, call.restype = (_P, _P, ctypes.c_int32), None
    return call

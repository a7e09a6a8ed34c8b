"""What is known of a camera's lens: from the tags of a frame, or from a file of whoever has calibrated it.

| who | tags | what |
|---|---|---|
| DJI | `DewarpData`, where `DewarpFlag` is not 1 | date; fx, fy, cx, cy, k1, k2, p1, p2, k3: pixels, the centre against the image's middle |
| senseFly, Parrot (Pix4D's tags) | `PerspectiveFocalLength`, `PrincipalPoint`, `PerspectiveDistortion` | millimetres; the centre from the upper left; R1, R2, R3, T1, T2 |
"""  # noqa: E501

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rotacube.errors import FramesRefused, OptionsRefused
from rotacube.raster.lens import Lens

SHAPE = 0.005
"""By which share two images' sides may differ in their ratio, and still be of one shape."""
_COEFFICIENTS = ("dist_coefs", "dist_coeffs", "dist_coeff", "distortion_coefficients")
_HOW = (
    'Write it as OpenCV does: {"camera_matrix": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], "dist_coefs": [k1, k2, p1, p2, '
    'k3], "image_size": [columns, rows]}.'
)


def lens_of_tags(xmp: Mapping[str, str], per_millimetre: float | None, size: tuple[int, int], name: str) -> Lens | None:
    """The lens that a frame's tags say; None where they do not, it is straight, or what they say cannot be.

    Args:
        xmp: tags by name.
        per_millimetre: pixels of the sensor.
        size: columns and rows of the image.
        name: for sentences.

    Raises:
        FramesRefused: it is a fisheye.
    """
    if xmp.get("ModelType", "").lower() == "fisheye" or "FisheyePolynomial" in xmp:
        raise FramesRefused(
            f"'{name}' was taken with a fisheye, whose pictures bend too much for a quick map: make an orthomosaic."
        )
    lens = _dji(xmp, size) or _pix4d(xmp, per_millimetre, size)
    return lens if lens and _possible(lens) else None


def _dji(xmp: Mapping[str, str], size: tuple[int, int]) -> Lens | None:
    if xmp.get("DewarpFlag", "0").strip() == "1":
        return None
    found = _numbers(xmp.get("DewarpData", "").rpartition(";")[2])
    if len(found) != 9:
        return None
    fx, fy, cx, cy, k1, k2, p1, p2, k3 = found
    return Lens(size, (fx, fy), (size[0] / 2 + cx, size[1] / 2 + cy), (k1, k2, k3), (p1, p2))


def _pix4d(xmp: Mapping[str, str], per_millimetre: float | None, size: tuple[int, int]) -> Lens | None:
    focal, bends = (_numbers(xmp.get(f"Perspective{what}", "")) for what in ("FocalLength", "Distortion"))
    units = xmp.get("PerspectiveFocalLengthUnits", "mm").strip().lower()
    if len(focal) != 1 or len(bends) != 5 or not per_millimetre or units != "mm":
        return None
    centre = [value * per_millimetre for value in _numbers(xmp.get("PrincipalPoint", ""))]
    middle = (centre[0], centre[1]) if len(centre) == 2 else (size[0] / 2, size[1] / 2)
    pixels = focal[0] * per_millimetre
    return Lens(size, (pixels, pixels), middle, (bends[0], bends[1], bends[2]), (bends[3], bends[4]))


def _numbers(text: str) -> list[float]:
    """Numbers between commas; none where one is none."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return found if all(map(math.isfinite, found)) else []


def _possible(lens: Lens) -> bool:
    """Whether a camera may have such a lens."""
    (width, height), (x, y) = lens.size, lens.centre
    within = 0.25 * width < x < 0.75 * width and 0.25 * height < y < 0.75 * height
    sharp = (
        all(0.2 < focal / max(lens.size) < 20 for focal in lens.focal) and abs(lens.focal[0] / lens.focal[1] - 1) < 0.1
    )
    return within and sharp and not lens.folds


def read_calibration(path: Path) -> Lens:
    """The lens that a JSON file says: as OpenCV's samples and its FileStorage write it.

    A matrix may be nested, flat, or under `data`. OpenCV's pixel (0, 0) is the middle of the first one. Where the file
    does not say of which size the images were, `size` is (0, 0): of that of the frames.

    Raises:
        OptionsRefused: it cannot be read, says too little, or what no camera has.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionsRefused(f"The calibration '{path}' cannot be read as JSON ({error}). {_HOW}") from error
    if not isinstance(found, dict):
        raise OptionsRefused(f"The calibration '{path}' is no JSON object. {_HOW}")
    matrix = _flat(found.get("camera_matrix"))
    bends = next((_flat(found[name]) for name in _COEFFICIENTS if name in found), [])
    size = _flat(found.get("image_size")) or _flat([found.get("image_width"), found.get("image_height")])
    if len(matrix) != 9 or len(bends) not in (4, 5) or (size and (len(size) != 2 or min(size) < 1)):
        raise OptionsRefused(f"The calibration '{path}' lacks a camera matrix or four or five coefficients. {_HOW}")
    k1, k2, p1, p2, k3 = [*bends, 0.0][:5]
    across, down = (round(size[0]), round(size[1])) if size else (0, 0)
    lens = Lens((across, down), (matrix[0], matrix[4]), (matrix[2] + 0.5, matrix[5] + 0.5), (k1, k2, k3), (p1, p2))
    if size and not _possible(lens):
        raise OptionsRefused(f"The calibration '{path}' says what no camera has: look at its numbers. {_HOW}")
    return lens


def fitted(lens: Lens, size: tuple[int, int], name: str) -> Lens:
    """A calibrated lens for the frames of a size.

    Raises:
        FramesRefused: they have another shape than the calibration's images, or no camera has such a lens.
    """
    found = lens if lens.size[0] else Lens(size, lens.focal, lens.centre, lens.radial, lens.tangential)
    if abs(found.size[0] / found.size[1] * size[1] / size[0] - 1) > SHAPE:
        raise FramesRefused(
            f"'{name}' has {size[0]} x {size[1]} pixels, another shape than the calibration's images: put the frames "
            "of each camera into a folder of their own."
        )
    found = found.scaled(size)
    if not _possible(found):
        raise FramesRefused(
            f"The calibration does not fit '{name}' of {size[0]} x {size[1]} pixels: look at its numbers."
        )
    return found


def _flat(value: Any) -> list[float]:
    """The numbers of a matrix; none where it is none."""
    if isinstance(value, dict):
        value = value.get("data")
    if not isinstance(value, list):
        return []
    found = [number for part in value for number in (part if isinstance(part, list) else [part])]
    good = all(isinstance(number, (int, float)) and math.isfinite(number) for number in found)
    return [float(number) for number in found] if good else []

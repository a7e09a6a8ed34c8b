"""How a drone's camera hung, and where, when it took a frame: from the frame's EXIF and XMP.

XMP is read by the names of its tags, whatever the maker calls their namespace:

| who writes it | height above the ground | angles | what pitch means |
|---|---|---|---|
| DJI, Autel | `RelativeAltitude` | `GimbalYawDegree`, `GimbalPitchDegree`, `GimbalRollDegree` | -90 looks down |
| Parrot | `AboveGroundAltitude` | `CameraYawDegree`, `CameraPitchDegree`, `CameraRollDegree` | -90 looks down |
| senseFly, Parrot Sequoia (Pix4D's tags) | `AboveGroundAltitude` | `Yaw`, `Pitch`, `Roll` | 0 looks down |
| plain EXIF | `GPSAltitude` less the ground's | `GPSImgDirection`; taken to look down | - |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rotacube.errors import FramesRefused
from rotacube.raster.calibration import fitted, lens_of_tags
from rotacube.raster.lens import Lens

LARGEST_TILT = 20.0
"""Degrees from straight down up to which a frame is a map."""
FILM = math.hypot(36, 24)
"""Millimetres across the film of which `FocalLengthIn35mmFilm` speaks (CIPA DCG-001)."""
_EXIF, _GPS = 0x8769, 0x8825
_FOCAL, _FOCAL_35, _PLANE_X, _PLANE_UNIT = 0x920A, 0xA405, 0xA20E, 0xA210
_LATITUDE, _LONGITUDE, _BELOW, _ALTITUDE, _DIRECTION = (1, 2), (3, 4), 5, 6, 17
_SOFTWARE, _SAVED, _TAKEN = 0x0131, 0x0132, 0x9003
_MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""In each unit of the focal plane's resolution."""
_HANGING = (
    ("GimbalYawDegree", "GimbalPitchDegree", "GimbalRollDegree"),
    ("CameraYawDegree", "CameraPitchDegree", "CameraRollDegree"),
)
_MOUNTED = ("Yaw", "Pitch", "Roll")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """A camera in the air.

    Attributes:
        longitude, latitude: degrees, WGS 84.
        height: metres above the ground, which is taken for a plane.
        yaw: degrees clockwise from north to where the image's top lies.
        axes: (3, 3), the directions in east, north and up of the image's right, of its bottom, and of its middle.
        focal: pixels.
        size: columns and rows of the image.
        edited: the program that has saved the image again, after it was taken; empty where none has.
        lens: how it bends lines, where that is known and not taken out already.
        slope: metres by which the ground rises with a metre east and with a metre north.
        over: what the tags' height counts from: "ground", "takeoff" or "sea". A terrain model needs it; without one
            that is where the ground is.
    """

    longitude: float
    latitude: float
    height: float
    yaw: float
    axes: Array
    focal: float
    size: tuple[int, int]
    edited: str = ""
    lens: Lens | None = None
    slope: tuple[float, float] = (0.0, 0.0)
    over: str = "ground"

    @property
    def tilt(self) -> float:
        """Degrees between the view and straight down."""
        return math.degrees(math.acos(min(1.0, max(-1.0, -float(self.axes[2, 2])))))

    @property
    def gsd(self) -> float:
        """Ground sample distance in the middle of a view straight down, metres."""
        return self.height / self.focal

    def to_ground(self) -> Array:
        """The homography (3, 3) from pixels (column, row, 1) of the straight view to metres east and north of the point
        under the camera.

        A pixel's ray meets the plane z = slope . (x, y) - height; the image's corner is (0, 0), its middle that of the
        lens.
        """
        width, height = self.size
        lens = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, self.focal]])
        rays = self.axes.T @ lens
        ahead = np.array(self.slope) @ rays[:2] - rays[2]  # positive where it does
        return np.vstack([rays[:2] * self.height, ahead])


def hanging(yaw: float, pitch: float, roll: float) -> Array:
    """A gimbal's camera, which looks ahead at pitch 0: (3, 3), see `Pose.axes`; degrees."""
    right, ahead, up = _body(yaw, pitch, roll)
    return np.stack([right, -up, ahead])


def mounted(yaw: float, pitch: float, roll: float) -> Array:
    """A camera in a body, which looks down at pitch 0, the image's top ahead: (3, 3), see `Pose.axes`; degrees."""
    right, ahead, up = _body(yaw, pitch, roll)
    return np.stack([right, -ahead, -up])


def _body(yaw: float, pitch: float, roll: float) -> tuple[Array, Array, Array]:
    """Right, ahead and up of a body that was turned by yaw, then lifted by pitch, then rolled to the right."""
    (y, p, r) = (math.radians(angle) for angle in (yaw, pitch, roll))
    right = np.array([math.cos(y), -math.sin(y), 0.0])
    level = np.array([math.sin(y), math.cos(y), 0.0])
    up = np.array([0.0, 0.0, 1.0])
    ahead, above = level * math.cos(p) + up * math.sin(p), up * math.cos(p) - level * math.sin(p)
    return right * math.cos(r) - above * math.sin(r), ahead, above * math.cos(r) + right * math.sin(r)


def read_pose(
    image: Image.Image,
    name: str,
    ground: float | None = None,
    calibration: Lens | None = None,
    terrain: bool = False,
) -> Pose:
    """The pose that an image's tags say.

    Args:
        image: open; its pixels are not read.
        name: for sentences.
        ground: elevation of the ground above the sea, metres, for images that do not say their height above it.
        calibration: the camera's lens, where somebody knows it better than the tags.
        terrain: whether a terrain model will say how high it hung above the ground.

    Raises:
        FramesRefused: it has no position, no height, no direction or no focal length, looks too far ahead, or was taken
            with a fisheye or another camera than the calibrated one.
    """
    exif = image.getexif()
    tags, gps = exif.get_ifd(_EXIF), exif.get_ifd(_GPS)
    xmp = _xmp(image.info.get("xmp", b""))
    longitude, latitude = _position(gps, xmp, name)
    height, over = _height(gps, xmp, name, 0.0 if terrain else ground)
    if not terrain:
        check_height(height, name)
    yaw, axes = _direction(gps, xmp, name, str(exif.get(0x010F, "")))
    size = image.size
    lens = fitted(calibration, size, name) if calibration else lens_of_tags(xmp, _per_millimetre(tags), size, name)
    focal = lens.straight_focal if lens else _focal_length(tags, xmp, size, name)
    bent = lens if lens and lens.bends else None
    pose = Pose(longitude, latitude, height, yaw % 360, axes, focal, size, _edited(exif, tags), bent, over=over)
    if pose.tilt > LARGEST_TILT:
        raise FramesRefused(
            f"'{name}' looks {pose.tilt:.0f} degrees away from straight down; up to {LARGEST_TILT:g} make a map."
        )
    return pose


def _edited(exif: Mapping[int, Any], tags: Mapping[int, Any]) -> str:
    """The program that has saved an image later than it was taken, as its two dates say."""
    saved, taken = (str(value or "").strip("\x00 ") for value in (exif.get(_SAVED), tags.get(_TAKEN)))
    if not saved or not taken or saved[:16] == taken[:16]:  # cameras may need some seconds
        return ""
    return str(exif.get(_SOFTWARE) or "").strip("\x00 ") or "another program"


def _position(gps: Mapping[int, Any], xmp: Mapping[str, str], name: str) -> tuple[float, float]:
    """Longitude and latitude; XMP has more digits where both have them."""
    exact = _first(xmp, "GpsLongitude", "GpsLongtitude"), _first(xmp, "GpsLatitude")  # DJI has spelt it so
    longitude, latitude = exact if None not in exact else (_degrees(gps, _LONGITUDE), _degrees(gps, _LATITUDE))
    if longitude is None or latitude is None or (longitude, latitude) == (0, 0):
        raise FramesRefused(f"'{name}' has no GPS position in its EXIF, so nobody knows where it lies.")
    if not (abs(longitude) <= 180 and abs(latitude) <= 84):
        raise FramesRefused(
            f"'{name}' says that it was taken at {latitude:.5f}, {longitude:.5f}, which no UTM zone has."
        )
    return longitude, latitude


def _height(gps: Mapping[int, Any], xmp: Mapping[str, str], name: str, ground: float | None) -> tuple[float, str]:
    """Metres, and what they count from, see `Pose.over`; a height above the sea is one above `ground`."""
    for tag, over in (("RelativeAltitude", "takeoff"), ("AboveGroundAltitude", "ground")):
        height = _first(xmp, tag)
        if height is not None:
            return height, over
    altitude = _number(gps.get(_ALTITUDE))
    if altitude is None or ground is None:
        raise FramesRefused(
            f"'{name}' does not say how high above the ground it was taken. Give the ground's elevation above the sea "
            "(--ground), or a terrain model (--dem), where its GPS altitude is to be trusted."
        )
    return (-altitude if gps.get(_BELOW) in (1, b"\x01") else altitude) - ground, "sea"


def check_height(height: float, name: str) -> None:
    """Raise `FramesRefused` where a frame was not taken from above the ground."""
    if not 1 <= height <= 10_000:
        raise FramesRefused(
            f"'{name}' was taken {height:.1f} m above the ground, as it says: no map can be made of it."
        )


def _direction(gps: Mapping[int, Any], xmp: Mapping[str, str], name: str, make: str) -> tuple[float, Array]:
    """Yaw in degrees, and the camera's axes."""
    for names in _HANGING:
        yaw, pitch, roll = (_first(xmp, tag) for tag in names)
        if yaw is not None and pitch is not None:
            axes = hanging(yaw, pitch, roll or 0.0)
            return top_of(axes), axes
    yaw, pitch, roll = (_first(xmp, tag) for tag in _MOUNTED)
    if yaw is not None:
        left = make.strip().lower() == "sensefly"  # counts a roll to the left as positive
        axes = mounted(yaw, pitch or 0.0, -(roll or 0.0) if left else roll or 0.0)
        return top_of(axes), axes
    yaw = _number(gps.get(_DIRECTION))
    if yaw is None:
        raise FramesRefused(
            f"'{name}' does not say which way the camera's top lay (yaw), so it cannot be turned north."
        )
    return yaw, mounted(yaw, 0.0, 0.0)


def top_of(axes: Array) -> float:
    """Degrees clockwise from north to where an image's top lies."""
    return math.degrees(math.atan2(-axes[1, 0], -axes[1, 1]))


def _focal_length(tags: Mapping[int, Any], xmp: Mapping[str, str], size: tuple[int, int], name: str) -> float:
    """Pixels: as calibrated, else by the sensor's pixels, else by the 35 mm equivalent.

    That goes by diagonals (CIPA DCG-001). Drones' sensors are 4:3 or 3:2; an image that is wider was cut from one of
    4:3 at its full width.
    """
    wide, low = max(size), min(size)
    focal, of_film, per_millimetre = _number(tags.get(_FOCAL)), _number(tags.get(_FOCAL_35)), _per_millimetre(tags)
    found = [_first(xmp, "CalibratedFocalLength")]
    if focal and per_millimetre:
        found.append(focal * per_millimetre)
    if of_film:
        found.append(of_film / FILM * math.hypot(wide, max(low, 0.75 * wide if wide > 1.6 * low else low)))
    for pixels in found:
        if pixels is not None and 0.2 < pixels / wide < 20:
            return float(pixels)
    raise FramesRefused(
        f"'{name}' does not say its focal length (as 35 mm film, or with the size of the sensor's pixels)."
    )


def _per_millimetre(tags: Mapping[int, Any]) -> float | None:
    """Pixels in a millimetre of the sensor."""
    per_unit = _number(tags.get(_PLANE_X))
    return per_unit / _MILLIMETRES.get(tags.get(_PLANE_UNIT, 2), 25.4) if per_unit else None


def _degrees(gps: Mapping[int, Any], tags: tuple[int, int]) -> float | None:
    parts = gps.get(tags[1])
    if not isinstance(parts, tuple):
        return None
    numbers = [_number(part) for part in parts]
    if not numbers or None in numbers:
        return None
    value = sum((number or 0.0) / 60.0**place for place, number in enumerate(numbers))
    return -value if str(gps.get(tags[0], "")).strip().upper()[:1] in ("S", "W") else value


def _number(value: Any) -> float | None:
    """A tag's value, where it is a number; rationals of nothing are none."""
    try:
        number: float = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None


def _first(xmp: Mapping[str, str], *names: str) -> float | None:
    """The first of these tags that holds a number; a fraction is one."""
    for name in names:
        above, _, below = xmp.get(name, "").partition("/")
        number, by = _number(above), _number(below or 1)
        if number is not None and by:
            return number / by
    return None


def _xmp(packet: bytes | str) -> dict[str, str]:
    """The tags of an XMP packet by name, without their namespaces; none where it is damaged."""
    text = packet.encode() if isinstance(packet, str) else packet
    try:
        root = ElementTree.fromstring(text.strip(b"\x00 \r\n\t"))  # noqa: S314 - it names no file, and expat bounds its growth
    except (ElementTree.ParseError, ValueError):
        return {}
    found: dict[str, str] = {}
    for element in root.iter():
        for name, value in [(element.tag, element.text or ""), *element.attrib.items()]:
            if isinstance(name, str) and value.strip():
                found.setdefault(name.rpartition("}")[2], value.strip())
    return found


def open_image(path: Path) -> Image.Image:
    """Open a JPEG; its pixels are not read yet.

    Raises:
        FramesRefused: it is none.
    """
    try:
        return Image.open(path, formats=["JPEG"])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FramesRefused(f"'{path.name}' is no JPEG that can be read.") from error

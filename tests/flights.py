"""Drone flights drawn over a known map of three classes, with poses in the tags of every make.

Where a pixel lies on the ground is found here by SciPy's Euler angles and by geodesics on the ellipsoid, without a line
of what is tested.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from pyproj import Geod, Transformer
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial.transform import Rotation

SPACES = {
    "dji": "http://www.dji.com/drone-dji/1.0/",
    "parrot": "http://www.parrot.com/drone-parrot/1.0/",
    "camera": "http://pix4d.com/camera/1.0/",
    "autel": "http://www.alps.com/drone/1.0/",
}


@dataclass(frozen=True)
class Shot:
    """How a frame is taken: degrees and metres; pitch -90 looks down; `film` is the focal length as 35 mm film.

    The ground rises by `slope` with a metre east and with a metre north; `height` is above the point under the camera.
    """

    longitude: float = 9.9
    latitude: float = 47.3
    height: float = 40.0
    yaw: float = 0.0
    pitch: float = -90.0
    roll: float = 0.0
    size: tuple[int, int] = (320, 240)
    film: int = 24
    make: str = "dji"
    slope: tuple[float, float] = (0.0, 0.0)

    @property
    def focal(self) -> float:
        """Pixels, of an image of 4:3."""
        return self.film / np.hypot(36, 24) * np.hypot(*self.size)

    @property
    def gsd(self) -> float:
        """Metres a pixel in the middle."""
        return self.height / self.focal


def on_ground(shot, columns, rows, crs):
    """Coordinates of pixels in a CRS: rays through Euler angles, then along geodesics."""
    width, height = shot.size
    body = np.stack(np.broadcast_arrays(shot.focal, columns - width / 2, rows - height / 2), -1)
    angles = [shot.yaw, shot.pitch, shot.roll]
    north, east, down = Rotation.from_euler("ZYX", angles, degrees=True).apply(body.reshape(-1, 3)).T
    down = down + shot.slope[0] * east + shot.slope[1] * north
    north, east = north / down * shot.height, east / down * shot.height
    start = np.full_like(north, shot.longitude), np.full_like(north, shot.latitude)
    there = Geod(ellps="WGS84").fwd(*start, np.degrees(np.arctan2(east, north)), np.hypot(east, north))
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*there[:2])
    return x.reshape(body.shape[:-1]), y.reshape(body.shape[:-1])


def species(x, y):
    """The class at a place: 0, 1 or 2 in bands that wave, 14 and 8 metres wide."""
    first = np.sin(x / 4.5 + 1.5 * np.sin(y / 7)) > 0.25
    second = np.sin(y / 2.6 + np.cos(x / 9)) > 0.5
    return np.where(second, 2, np.where(first, 1, 0))


def picture(shot, crs, seed=0, bend=lambda columns, rows: (columns, rows)):
    """What the camera sees (H, W, 3): the class's colour, and noise. Geodesics are followed for every 16th pixel.

    `bend` says where a straight lens has what a pixel of the camera's shows.
    """
    width, height = shot.size
    columns, rows = np.linspace(0, width, width // 16 + 1), np.linspace(0, height, height // 16 + 1)
    known = on_ground(shot, *bend(*np.broadcast_arrays(columns, rows[:, None])), crs)
    every = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    x, y = (RegularGridInterpolator((rows, columns), values)(tuple(every)) for values in known)
    image = np.full((height, width, 3), 60.0)
    np.put_along_axis(image, species(x, y)[..., None], 190.0, 2)
    return np.clip(image + np.random.default_rng(seed).normal(0, 12, image.shape), 0, 255).astype(np.uint8)


def noise(shot):
    """A picture of nothing, and sharp."""
    return np.random.default_rng(0).integers(0, 255, (shot.size[1], shot.size[0], 3)).astype(np.uint8)


def exif_of(shot, **changes):
    """EXIF; `gps=None` leaves the position out, as do None values of `film` and `altitude`."""
    asked = {"taken": "", "gps": True, "altitude": 500.0 + shot.height, "film": shot.film, "direction": None, **changes}
    exif = Image.Exif()
    exif[0x010F] = {"dji": "DJI", "parrot": "Parrot", "camera": "senseFly", "autel": "Autel Robotics"}.get(
        shot.make, "X"
    )
    if asked["taken"]:
        exif[0x0131], exif[0x0132], exif.get_ifd(0x8769)[0x9003] = "A Viewer 1.0", "2024:05:01 18:00:00", asked["taken"]
    if asked["film"]:
        exif.get_ifd(0x8769)[0xA405] = asked["film"]
    gps = exif.get_ifd(0x8825)
    if asked["gps"]:
        for tag, value, names in ((1, shot.latitude, "NS"), (3, shot.longitude, "EW")):
            gps[tag] = names[int(value < 0)]
            gps[tag + 1] = (IFDRational(round(abs(value) * 1e9), 10**9), IFDRational(0), IFDRational(0))
        if asked["altitude"] is not None:
            gps[5], gps[6] = b"\x00", IFDRational(round(asked["altitude"] * 1000), 1000)
        if asked["direction"] is not None:
            gps[17] = IFDRational(round(asked["direction"] * 1000), 1000)
    return exif


def xmp_of(shot):
    """XMP as the shot's make writes it; none of a plain camera."""
    high = f"{shot.height:+.4f}"
    if shot.make in ("dji", "autel"):
        tags = {"RelativeAltitude": high}
        angles = {"GimbalYawDegree": shot.yaw, "GimbalPitchDegree": shot.pitch, "GimbalRollDegree": shot.roll}
    elif shot.make == "parrot":
        tags = {"AboveGroundAltitude": f"{round(shot.height * 1000)}/1000"}
        angles = {"CameraYawDegree": shot.yaw, "CameraPitchDegree": shot.pitch, "CameraRollDegree": shot.roll}
    elif shot.make == "camera":  # in a body: 0 looks down, and senseFly counts rolls the other way round
        tags = {"AboveGroundAltitude": high}
        angles = {"Yaw": shot.yaw, "Pitch": shot.pitch + 90, "Roll": -shot.roll}
    else:
        return b""
    tags |= {name: f"{value:+.4f}" for name, value in angles.items()}
    elements = shot.make in ("parrot", "autel")
    inside = "".join(f"<d:{k}>{v}</d:{k}>" for k, v in tags.items()) if elements else ""
    attributes = "" if elements else "".join(f' d:{k}="{v}"' for k, v in tags.items())
    space = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {space}><rdf:Description xmlns:d="{SPACES[shot.make]}"'
        f"{attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def save(path, shot, crs, pixels=None, xmp=None, **exif):
    """Write a frame."""
    image = Image.fromarray(picture(shot, crs, seed=len(path.name)) if pixels is None else pixels)
    tags = {"exif": exif_of(shot, **exif).tobytes(), "xmp": xmp_of(shot) if xmp is None else xmp}
    image.save(path, quality=95, subsampling=0, **{name: value for name, value in tags.items() if value})
    return path


def survey(first, lines=3, shots=4, forward=0.7, side=0.6):
    """Shots of a flight to and fro, which turns about at the end of every line."""
    high, wide = (side_ * first.gsd for side_ in (first.size[1], first.size[0]))
    found = []
    for line in range(lines):
        for number in range(shots):
            north, east = (
                (number - (shots - 1) / 2) * high * (1 - forward),
                (line - (lines - 1) / 2) * wide * (1 - side),
            )
            azimuth = first.yaw + np.degrees(np.arctan2(east, north))
            there = Geod(ellps="WGS84").fwd(first.longitude, first.latitude, azimuth, np.hypot(east, north))
            yaw = first.yaw + 180 * (line % 2)
            found.append(replace(first, longitude=there[0], latitude=there[1], yaw=yaw))
    return found

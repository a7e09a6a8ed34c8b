"""An overlay for Google Earth lies where the mask does, as GDAL's reader of superoverlays sees it."""

from __future__ import annotations

import io
import re
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from pyproj import Transformer

from rotacube.errors import JobCancelled, OptionsRefused, OutputUnwritable
from rotacube.handout.kmz import KmzRequest, kmz_of

UTM = "EPSG:32632"
RED, GREEN = (200, 30, 20, 255), (10, 140, 60, 255)
NAMES = {"CLASS_0": "bare <ground>", "CLASS_1": 'dock & "thistle"', "CLASS_2": "clover"}


@pytest.fixture
def write_mask(tmp_path):
    """A function that writes class ids with colours and names, and gives the path."""

    def write(values, crs=UTM, transform=None, name="mask.tif", **tags):
        path = tmp_path / name
        # Three degrees off the zone's middle meridian: north of the grid is two degrees off north.
        transform = transform or Affine(0.25, 0, 727_000, 0, -0.25, 5_240_000)
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 255, "tiled": True, "compress": "DEFLATE"}
        with rasterio.open(
            path, "w", height=values.shape[0], width=values.shape[1], crs=crs, transform=transform, **profile
        ) as file:
            file.write_colormap(1, {0: (80, 60, 40, 255), 1: RED, 2: GREEN, 255: (0, 0, 0, 0)})
            file.update_tags(1, **NAMES)
            file.update_tags(**tags)
            file.write(values, 1)
        return str(path)

    return write


def patches(height=900, width=1400):
    values = np.zeros((height, width), np.uint8)
    values[100:300, 200:500], values[600:840, 1000:1300] = 1, 2
    values[:, :20] = 255
    return values


def opened(path):
    """Red, green, blue, opacity of what GDAL reads, and its transform."""
    with rasterio.open(path) as file:
        assert file.driver == "KMLSUPEROVERLAY" and file.crs.to_epsg() == 4326
        return file.read(), file.transform


def pages(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def corner_error(path, mask, color, shape=(4,)):
    """Pixels of the mask between where corners of a patch are in it and in the overlay."""
    found, onto = opened(path)
    with rasterio.open(mask) as file:
        values, transform, crs = file.read(1), file.transform, file.crs
    move = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    seen = (found[3] > 0) & (np.abs(found[:3].astype(int) - np.array(color[:3])[:, None, None]).max(0) < 10)
    rows, columns = np.nonzero(seen)
    there = np.argwhere(values == {RED: 1, GREEN: 2}[color])
    errors = []
    for down, right in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        own = there[np.argmax(down * there[:, 0] + right * there[:, 1])] + 0.5
        longitude, latitude = move.transform(*(transform * (own[1], own[0])))
        u, v = ~onto * (longitude, latitude)
        near = np.hypot(columns + 0.5 - u, rows + 0.5 - v).min()
        errors.append(near)
        # Half a pixel beyond the corner nothing is seen any more.
        beyond = own + 1.5 * np.array([down, right])
        u, v = ~onto * move.transform(*(transform * (beyond[1], beyond[0])))
        assert not seen[int(v), int(u)]
    return max(errors)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, None),
        (UTM, Affine.translation(500_000, 5_200_000) @ Affine.rotation(33) @ Affine.scale(0.1, -0.1)),
        ("EPSG:4326", Affine(2e-6, 0, 9.9, 0, -1.5e-6, 47.3)),
        ("EPSG:3857", Affine(0.4, 0, 1_100_000, 0, -0.4, 5_990_000)),
        ("EPSG:3413", Affine(0.3, 0, 600_000, 0, -0.3, -900_000)),
        ("EPSG:32756", Affine(0.3, 0, 300_000, 0, -0.3, 6_250_000)),
    ],
    ids=["convergence", "rotated", "degrees", "Web Mercator", "polar", "south"],
)
def test_a_patch_lies_within_a_pixel_of_where_the_mask_has_it(crs, transform, write_mask, tmp_path):
    mask = write_mask(patches(), crs, transform)
    kmz_of(KmzRequest(mask, tmp_path / "a.kmz"))
    for color in (RED, GREEN):
        assert corner_error(tmp_path / "a.kmz", mask, color) < 1.0


def test_background_and_nodata_are_not_seen_and_shares_are_kept(write_mask, tmp_path):
    mask = write_mask(patches())
    kmz_of(KmzRequest(mask, tmp_path / "a.kmz"))
    found, onto = opened(tmp_path / "a.kmz")
    assert set(np.unique(found[3])) == {0, 255}
    metres = 111_194.9 * -onto.e, 111_194.9 * np.cos(np.radians(47.2)) * onto.a
    assert (found[3] > 0).sum() * np.prod(metres) == pytest.approx((300 * 200 + 240 * 300) * 0.25**2, rel=0.01)


def test_every_page_is_well_formed_every_link_leads_somewhere_and_names_are_escaped(write_mask, tmp_path):
    mask = write_mask(patches(2600, 2100), ROTACUBE_NOTICE="<b>only & for research</b>\x01", ROTACUBE_MODEL="m")
    kmz_of(KmzRequest(mask, tmp_path / "a.kmz", title="A & B <field>"))
    found = pages(tmp_path / "a.kmz")
    assert next(iter(found)) == "doc.kml"
    linked = {"doc.kml"}
    for name, text in found.items():
        if not name.endswith(".kml"):
            continue
        root = ElementTree.fromstring(text)
        folder = name.rpartition("/")[0]
        for href in root.iter("{http://www.opengis.net/kml/2.2}href"):
            parts = [part for part in f"{folder}/{href.text}".split("/") if part]
            while ".." in parts:
                at = parts.index("..")
                del parts[at - 1 : at + 1]
            linked.add("/".join(parts))
    assert linked == set(found)
    top = found["doc.kml"].decode()
    assert "A &amp; B &lt;field&gt;" in top and "only &amp;amp; for research" in top and "<b>" not in top
    assert "<ScreenOverlay>" in top
    with Image.open(io.BytesIO(found["legend.png"])) as image:
        colours = {pixel[:3] for _, pixel in image.convert("RGBA").getcolors(10_000)}
    assert {RED[:3], GREEN[:3]} <= colours and (80, 60, 40) not in colours
    levels = {int(re.match(r"classes/(\d+)/", name)[1]) for name in found if name.startswith("classes/")}
    assert levels == {0, 1, 2, 3}
    assert len(found) < 40  # squares that show nothing are not there


def test_a_photo_lies_under_the_classes(write_mask, tmp_path):
    mask = write_mask(patches(1800, 1800))
    photo = tmp_path / "photo.tif"
    rows, columns = np.mgrid[:900, :900]
    image = np.stack([rows // 4, columns // 4, np.full_like(rows, 90)]).astype(np.uint16) * 100
    transform = Affine(0.5, 0, 727_000, 0, -0.5, 5_240_000)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint16", "height": 900, "width": 900}
    with rasterio.open(photo, "w", crs=UTM, transform=transform, **profile) as file:
        file.write(image)
    told = []
    request = KmzRequest(mask, tmp_path / "a.kmz", str(photo))
    kmz_of(request, on_step=lambda what, share: told.append(share))
    found = pages(tmp_path / "a.kmz")
    ends = {name.rpartition(".")[2] for name in found if name.startswith("photo")}
    assert ends == {"kml", "png", "jpg"}
    name = next(name for name in sorted(found, reverse=True) if name.startswith("classes") and name.endswith("png"))
    with Image.open(io.BytesIO(found[name])) as image:
        assert {pixel[3] for _, pixel in image.convert("RGBA").getcolors()} == {0, 153}
    orders = [int(n) for text in found.values() for n in re.findall(rb"<drawOrder>(\d+)<", text)]
    assert max(n for n in orders if n < 100) == 2 and min(n for n in orders if n >= 100) == 100
    assert told[-1] == 1 and max(told) == 1
    far = tmp_path / "far.tif"
    with rasterio.open(far, "w", crs=UTM, transform=Affine.translation(9000, 0) @ transform, **profile) as file:
        file.write(np.ones((3, 900, 900), np.uint16))
    with pytest.raises(OptionsRefused, match="shows nothing of the mask"):
        kmz_of(KmzRequest(mask, tmp_path / "b.kmz", str(far)))
    assert not (tmp_path / "b.kmz").exists()


def test_the_meridian_of_180_degrees_parts_an_overlay_in_two(write_mask, tmp_path):
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32601", always_xy=True).transform(-180.0, -17.0)
    values = np.ones((400, 800), np.uint8)
    values[:, 400:] = 2
    mask = write_mask(values, "EPSG:32601", Affine(1, 0, x - 400, 0, -1, y + 200))
    kmz_of(KmzRequest(mask, tmp_path / "a.kmz"))
    found = pages(tmp_path / "a.kmz")
    sides = {}
    for folder in ("classes", "classes1"):
        text = found[f"{folder}/0/0/0.kml"].decode()
        west, east = (float(re.search(rf"<{side}>([-.0-9]+)<", text)[1]) for side in ("west", "east"))
        assert -180.0001 <= west < east <= 180.01
        sides[folder] = west
    assert sides["classes"] > 179.9 and sides["classes1"] == pytest.approx(-180)
    with zipfile.ZipFile(tmp_path / "a.kmz") as archive:
        shares = []
        for name in archive.namelist():
            if re.match(r"classes1?/0/.*png", name):
                with Image.open(io.BytesIO(archive.read(name))) as image:
                    pixels = np.asarray(image)
                    shares.append([(pixels == color).all(-1).sum() for color in (RED, GREEN)])
    assert shares[0][1] < 0.05 * shares[0][0] and shares[1][0] < 0.05 * shares[1][1]


@pytest.mark.parametrize(
    ("crs", "transform", "word"),
    [
        ("EPSG:3413", Affine(100, 0, -40_000, 0, -100, 40_000), "a pole lies in it"),
        ("EPSG:4326", Affine(0.2, 0, -100, 0, -0.05, 20), "90 degrees of longitude"),
    ],
)
def test_what_is_no_picture_in_degrees_is_a_sentence(crs, transform, word, write_mask, tmp_path):
    mask = write_mask(patches(800, 1400), crs, transform)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OptionsRefused, match=word):
        kmz_of(KmzRequest(mask, tmp_path / "a.kmz"))
    assert sorted(tmp_path.iterdir()) == before


def test_a_mask_of_the_background_alone_is_an_overlay_that_shows_nothing(write_mask, tmp_path):
    mask = write_mask(np.zeros((60, 60), np.uint8))
    kmz_of(KmzRequest(mask, tmp_path / "a.kmz"))
    assert set(pages(tmp_path / "a.kmz")) == {"doc.kml", "legend.png", "classes/0/0/0.kml"}


def test_cancelled_refused_or_there_already_leaves_all_as_it_was(write_mask, tmp_path):
    mask = write_mask(patches())
    before = sorted(tmp_path.iterdir())
    asked = iter([False] * 4 + [True] * 9)
    with pytest.raises(JobCancelled):
        kmz_of(KmzRequest(mask, tmp_path / "a.kmz"), cancelled=lambda: next(asked))
    for name, error in (("a.kml", OutputUnwritable), ("no/a.kmz", OutputUnwritable)):
        with pytest.raises(error):
            kmz_of(KmzRequest(mask, tmp_path / name))
    with pytest.raises(OptionsRefused, match="opacity"):
        kmz_of(KmzRequest(mask, tmp_path / "a.kmz", opacity=0))
    assert sorted(tmp_path.iterdir()) == before
    first = kmz_of(KmzRequest(mask, tmp_path / "a.kmz"))
    with pytest.raises(OutputUnwritable, match="is there already"):
        kmz_of(KmzRequest(mask, tmp_path / "a.kmz"))
    whole = (tmp_path / "a.kmz").read_bytes()
    assert kmz_of(KmzRequest(mask, tmp_path / "a.kmz", overwrite=True)) == first == len(whole)
    assert (tmp_path / "a.kmz").read_bytes() == whole

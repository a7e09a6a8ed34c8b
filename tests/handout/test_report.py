"""A report says what the mask and its statistics do, on one page, whatever the mask's shape and its names."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from pyproj import Geod, Proj, Transformer

from rotacube.errors import JobCancelled, LayerRefused, OptionsRefused, OutputUnwritable
from rotacube.handout import report as module
from rotacube.handout.content import LISTED, picture_of, scale_bar
from rotacube.handout.figures import area_text, share_text
from rotacube.handout.paper import EDGE, HEIGHT, WIDTH, Paper
from rotacube.handout.report import ReportRequest, report_of
from rotacube.inference.of_mask import MaskRequest, of_mask, opened_mask
from rotacube.inference.shares import Estimate
from rotacube.raster.picture import reduced

UTM = "EPSG:32632"
COLOURS = [(80, 60, 40), (200, 30, 20), (10, 140, 60), (30, 60, 200)]
NAMES = ["ground", 'dock & "thistle" <b>x</b>', "clover $x^2$", "Ζιζάνιο"]


@pytest.fixture
def write_mask(tmp_path):
    """A function that writes class ids with colours and names, and gives the path."""

    def write(values, crs=UTM, transform=None, names=NAMES, name="mask.tif", **tags):
        transform = transform or Affine(0.25, 0, 727_000, 0, -0.25, 5_240_000)
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 255}
        path = tmp_path / name
        with rasterio.open(
            path, "w", height=values.shape[0], width=values.shape[1], crs=crs, transform=transform, **profile
        ) as file:
            colours = {n: (*COLOURS[n % 4], 255) for n in range(len(names))}
            file.write_colormap(1, {**colours, 255: (0, 0, 0, 0)})
            file.update_tags(1, **{f"CLASS_{n}": text for n, text in enumerate(names)})
            file.update_tags(**tags)
            file.write(values, 1)
        return str(path)

    return write


def patches(height=400, width=600):
    values = np.zeros((height, width), np.uint8)
    values[: height // 4, : width // 2], values[height // 2 :, : width // 4], values[-9:, -9:] = 1, 2, 3
    values[:, -20:-10] = 255
    return values


class Reading(HTMLParser):
    """Rows of tables, texts, and addresses of a page."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.words, self.addresses, self._cell = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag):
        self._cell &= tag not in ("td", "th")

    def handle_data(self, data):
        self.words.append(data)
        if self._cell:
            self.rows[-1][-1] += data


def read(path):
    return Reading(path.read_text(encoding="utf-8"))


def picture_in(page):
    (address,) = page.addresses
    assert address.startswith("data:image/")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_page_says_what_the_statistics_say_and_needs_nothing_else(write_mask, tmp_path):
    mask = write_mask(patches(), ROTACUBE_NOTICE="research <i>only</i>", ROTACUBE_FRAMES="12")
    of_mask(MaskRequest(mask, "statistics", tmp_path / "s.csv"))
    with (tmp_path / "s.csv").open(encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    report_of(ReportRequest(mask, tmp_path / "a.html", title="A & <B>"))
    report_of(ReportRequest(mask, tmp_path / "b.html", statistics=tmp_path / "s.csv", title="A & <B>"))
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.html").read_text(encoding="utf-8")
    assert "http" not in text and "<b>x" not in text and "<i>only" not in text
    page = read(tmp_path / "a.html")
    table = [row for row in page.rows if len(row) == 7][1:]
    assert [row[0] for row in table] == NAMES
    for row, known in zip(table, rows, strict=True):
        assert 1e4 * float(row[1]) == pytest.approx(float(known["area_m2"]), abs=0.51)
        assert float(row[4]) == pytest.approx(100 * float(known["share"]), abs=0.051)
    said = "".join(page.words)
    for word in ("A & <B>", "research <i>only</i>", "which model made it", "12", "0.2499 m", "600 x 400 pixels"):
        assert word in said
    picture = picture_in(page)
    for number in (1, 2):
        share = (picture == COLOURS[number]).all(-1).mean()
        assert share == pytest.approx((patches() == number).mean(), abs=0.005)


def test_intervals_are_those_of_the_table(write_mask, tmp_path):
    mask = write_mask(np.tile(np.uint8([0, 1]), (60, 30)), names=NAMES[::2])
    columns = "zone,class_id,class,pixels,area_m2,area_best_m2,area_low_m2,area_high_m2,share,share_best,share_low"
    (tmp_path / "s.csv").write_text(
        f"{columns},share_high,assumptions\n"
        "whole map,0,ground,1800,112.5,100,90,110,0.5,0.4444,0.4,0.4889,Errors differ from place to place.\n"
        "whole map,1,clover $x^2$,1800,112.5,125,115,135,0.5,0.5556,0.5111,0.6,\n"
        "zone 1,1,dock,1800,1,2,3,4,0.1,0.2,0.3,0.4,\n"
    )
    for end in ("html", "pdf"):
        report_of(ReportRequest(mask, tmp_path / f"a.{end}", statistics=tmp_path / "s.csv"))
    page = read(tmp_path / "a.html")
    rows = [row[1:6] for row in page.rows if len(row) == 7][1:]
    assert rows[1] == ["112.5", "125.0", "115.0 to 135.0", "55.6", "51.1 to 60.0"]
    assert "Errors differ from place to place." in page.words
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert '<line x1="68.15%" y1="8" x2="80.00%" y2="8"' in text  # the axis ends at 75 %


@pytest.mark.parametrize(
    ("height", "width", "classes"), [(300, 500, 1), (500, 400, 8), (20, 4000, 3), (4000, 20, 3), (90, 90, 40)]
)
def test_every_mask_fits_one_page(height, width, classes, write_mask, tmp_path, monkeypatch):
    drawn, write = [], Paper.text

    def noted(self, x, y, text, size, *, bold=False, align="left", **more):
        long = self.length(text, size, bold)
        left = x - long * {"left": 0, "center": 0.5, "right": 1}[align]
        drawn.append((left, left + long, y, text))
        write(self, x, y, text, size, bold=bold, align=align, **more)

    monkeypatch.setattr(Paper, "text", noted)
    values = np.random.default_rng(0).integers(0, classes, (height, width)).astype(np.uint8)
    names = [f"class {n} " + "of a very long name " * 9 for n in range(classes)]
    terms = {f"ROTACUBE_{name}": "many words " * 99 for name in ("NOTICE", "LICENCE", "ATTRIBUTION")}
    mask = write_mask(values, names=names, ROTACUBE_RASTER="/long/path" * 30, **terms)
    of_mask(MaskRequest(mask, "statistics", tmp_path / "s.json"))
    table = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    table["assumptions"] = ["taken for granted " * 99]
    for row in table["rows"]:
        row |= {f"share_{end}": row["share"] for end in ("low", "high")}
        row |= {f"area_{end}_m2": row["area_m2"] for end in ("low", "high")}
    (tmp_path / "s.json").write_text(json.dumps(table), encoding="utf-8")
    report_of(ReportRequest(mask, tmp_path / "a.pdf", statistics=tmp_path / "s.json"))
    found = (tmp_path / "a.pdf").read_bytes()
    assert found.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b(?!s)", found)) == 1
    width, height = (float(n) for n in re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", found).groups())
    assert (width * 25.4 / 72, height * 25.4 / 72) == (pytest.approx(210, abs=0.1), pytest.approx(297, abs=0.1))
    assert b"/FontFile2" in found and b"/Type3" not in found
    left, right, foot, _ = zip(*drawn, strict=True)
    assert min(left) >= EDGE - 1 and max(right) <= WIDTH - EDGE + 1 and max(foot) <= HEIGHT - EDGE + 1
    lines = sorted((round(y, 2), x, end, text) for x, end, y, text in drawn if text)
    for (one, _, end, text), (other, start, _, after) in itertools.pairwise(lines):
        assert one != other or end <= start + 0.1, (text, after)
    report_of(ReportRequest(mask, tmp_path / "a.html"))
    rows = [row for row in read(tmp_path / "a.html").rows if len(row) == 7][1:]
    assert len(rows) == min(classes, LISTED)
    assert sum(float(row[4]) for row in rows) == pytest.approx(100, abs=0.5)
    picture = picture_in(read(tmp_path / "a.html"))
    assert picture.shape[1] >= picture.shape[0] / 2


def test_north_is_that_of_the_meridian_and_scale_that_of_geodesics(write_mask):
    crs, x, y = "EPSG:32632", 760_000, 7_000_000
    turned = Affine.translation(x, y) @ Affine.rotation(33) @ Affine.scale(0.5, -0.5)
    for transform, turn in ((Affine(0.5, 0, x, 0, -0.5, y), 0.0), (turned, 33.0)):
        mask = write_mask(patches(), crs, transform)
        with opened_mask(mask, 1, (), lambda what, share: None) as source:
            picture = picture_of(source, "", lambda share: None)
        longitude, latitude = Transformer.from_crs(crs, 4326, always_xy=True).transform(*(transform * (300, 200)))
        convergence = Proj(crs).get_factors(longitude, latitude).meridian_convergence
        assert (picture.north - (turn - convergence) + 180) % 360 - 180 == pytest.approx(0, abs=0.05)
        ends = Transformer.from_crs(crs, 4326, always_xy=True).transform(
            *np.array([transform * (0, 200), transform * (600, 200)]).T
        )
        metres = Geod(ellps="WGS84").inv(ends[0][0], ends[1][0], ends[0][1], ends[1][1])[2]
        assert picture.ground[0] == pytest.approx(metres, rel=1e-3)


def test_a_slender_map_lies_on_its_side_and_north_with_it(write_mask):
    mask = write_mask(patches(900, 200), "EPSG:32632", Affine(1, 0, 500_000, 0, -1, 5_200_000))
    with opened_mask(mask, 1, (), lambda what, share: None) as source:
        picture = picture_of(source, "", lambda share: None)
    assert picture.pixels.shape == (200, 900, 3) and picture.north == pytest.approx(90, abs=0.1)
    # The upper left corner, which is of class 1, is at the upper right.
    assert tuple(picture.pixels[5, -5]) == COLOURS[1] and tuple(picture.pixels[5, 5]) == COLOURS[2]


def test_reduced_is_the_most_frequent_class_of_each_square(write_mask):
    values = np.random.default_rng(1).choice(np.uint8([0, 1, 2, 3, 255]), (105, 173))
    mask = write_mask(values)
    with opened_mask(mask, 1, (), lambda what, share: None) as source:
        found = reduced(source, 7)
    assert found.shape == (15, 25)
    for row, column in np.ndindex(found.shape):
        square = values[7 * row : 7 * row + 7, 7 * column : 7 * column + 7]
        counts = np.bincount(square[square != 255], minlength=4)
        assert counts[found[row, column]] == counts.max()


def test_a_photo_lies_under_the_classes(write_mask, tmp_path):
    mask = write_mask(patches())
    blue = np.zeros((3, 200, 300), np.uint8)
    blue[2] = 200
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": 200, "width": 300, "crs": UTM}
    with rasterio.open(tmp_path / "p.tif", "w", transform=Affine(0.5, 0, 727_000, 0, -0.5, 5_240_000), **profile) as f:
        f.write(blue)
    report_of(ReportRequest(mask, tmp_path / "a.html", str(tmp_path / "p.tif")))
    picture = picture_in(read(tmp_path / "a.html"))
    assert np.abs(picture[150, 400] - (0, 0, 200)).max() < 12
    assert np.abs(picture[50, 100] - (0.6 * np.array(COLOURS[1]) + 0.4 * np.array([0, 0, 200]))).max() < 12
    with rasterio.open(tmp_path / "q.tif", "w", transform=Affine(0.5, 0, 720_000, 0, -0.5, 5_240_000), **profile) as f:
        f.write(blue)
    with pytest.raises(OptionsRefused, match="shows nothing of the mask"):
        report_of(ReportRequest(mask, tmp_path / "b.html", str(tmp_path / "q.tif")))


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "zone,class_id\nwhole map,x\n", "\x00\x01"])
def test_statistics_that_are_none_are_a_sentence(text, write_mask, tmp_path):
    mask = write_mask(patches())
    (tmp_path / "s.csv").write_text(text)
    (tmp_path / "s.json").write_text(text)
    for end in ("csv", "json"):
        with pytest.raises(LayerRefused, match=r"holds no statistics|another mask"):
            report_of(ReportRequest(mask, tmp_path / "a.html", statistics=tmp_path / f"s.{end}"))
    with pytest.raises(LayerRefused, match="cannot be read"):
        report_of(ReportRequest(mask, tmp_path / "a.html", statistics=tmp_path / "none.csv"))
    assert not (tmp_path / "a.html").exists()


def test_statistics_of_another_mask_are_refused(write_mask, tmp_path):
    other = write_mask(np.uint8([[0, 1], [1, 0]]), names=NAMES[:2], name="other.tif")
    of_mask(MaskRequest(other, "statistics", tmp_path / "s.json"))
    mask = write_mask(patches())
    with pytest.raises(LayerRefused, match="2 classes, the mask has 4"):
        report_of(ReportRequest(mask, tmp_path / "a.html", statistics=tmp_path / "s.json"))
    renamed = write_mask(np.uint8([[0, 1], [1, 0]]), names=["ground", "wheat"], name="renamed.tif")
    with pytest.raises(LayerRefused, match="no class 1 'dock"):
        report_of(ReportRequest(renamed, tmp_path / "a.html", statistics=tmp_path / "s.json"))


def test_cancelled_or_refused_leaves_all_as_it_was(write_mask, tmp_path, monkeypatch):
    mask = write_mask(patches())
    before = sorted(tmp_path.iterdir())
    asked = iter([False] * 3 + [True] * 9)
    with pytest.raises(JobCancelled):
        report_of(ReportRequest(mask, tmp_path / "a.pdf"), cancelled=lambda: next(asked))
    with pytest.raises(OutputUnwritable, match="does not end in"):
        report_of(ReportRequest(mask, tmp_path / "a.docx"))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(OptionsRefused, match=r"pip install 'rotacube\[report\]'"):
        report_of(ReportRequest(mask, tmp_path / "a.pdf"))
    assert sorted(tmp_path.iterdir()) == before
    report_of(ReportRequest(mask, tmp_path / "a.html"))  # needs no such package


def test_numbers_are_written_as_people_read_them():
    assert area_text(Estimate(12_345.6, 11_000, 9_000, 13_000), 2e4) == ("1.2346", "1.1000", "0.9000 to 1.3000")
    assert area_text(Estimate(12.34, 11), 99.0) == ("12.3", "11.0", "–")
    assert share_text(Estimate(0.5, 0.4444, 0.4, 0.4889)) == ("44.4", "40.0 to 48.9")
    for longest in (0.07, 1.0, 3.3, 49.0, 5000.0):
        length, label = scale_bar(longest)
        assert longest / 2.5 <= length <= longest and math.isclose(
            length, float(label.split()[0]) * (1000 if "km" in label else 1)
        )

"""Treatment grids: pixels counted in turned cells, against GDAL's own rasterisation; every format read back."""

from __future__ import annotations

import math
import zipfile

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from isoxml.converter.shapely_geom import ShapelyConverterV4
from isoxml.util.isoxml_io import isoxml_from_path
from pyproj import Geod, Transformer

from rotacube.errors import JobCancelled, OptionsRefused, OutputUnwritable, RasterEmpty
from rotacube.treatment.cells import Cells, longest_side
from rotacube.treatment.grid import GridRequest, grid_of
from rotacube.treatment.plan import Dose
from rotacube.vector.writing import field_names

UTM = "EPSG:32645"
DEGREES = Affine(0.15 / 98_000, 0, 85.5, 0, -0.15 / 110_800, 27.65)
TURNED = Affine.translation(353000, 3060000) * Affine.rotation(-33) * Affine.scale(0.15, -0.15)
FEET = Affine(0.5, 0, 6_500_000, 0, -0.5, 2_000_000)
MERCATOR = Affine(0.17, 0, 9_517_816, 0, -0.17, 3_204_480)


@pytest.fixture(scope="module")
def labels():
    """Weeds (1) in blots, thistles (2) in a stripe, a ragged part without data (255); 2,048 lies in it."""
    rng = np.random.default_rng(3)
    values = (rng.random((500, 2200)) < 0.03).astype(np.uint8)
    values[100:200, 300:500] = 1
    values[300:320, 1900:2150] = 2
    values[:, 2000:2020][rng.random((500, 20)) < 0.5] = 255
    values[450:, :700] = 255
    return values


@pytest.fixture
def mask(labels, write_raster, tmp_path):
    def write(name="mask.tif", **place):
        path = write_raster(tmp_path / name, labels[None], nodata=255, **place)
        with rasterio.open(path, "r+") as file:
            file.update_tags(1, CLASS_0="background", CLASS_1="weed", CLASS_2="creeping thistle")
        return path

    return write


def read(path):
    meta, _, shapes, data = pyogrio.raw.read(path)
    return meta["crs"], shapely.from_wkb(shapes), dict(zip(meta["fields"], data, strict=True))


def in_pixels(shapes, crs, path):
    """Cells in the pixels of a raster."""
    with rasterio.open(path) as file:
        move = Transformer.from_crs(crs, file.crs, always_xy=True)
        back = ~file.transform
    moved = shapely.transform(shapely.segmentize(shapes, 0.5), move.transform, interleaved=False)
    return shapely.transform(moved, lambda at: np.column_stack(back * (at[:, 0], at[:, 1])))


def counted(cell, labels):
    """Pixels of a cell, those with data, and those of both classes, by GDAL's rule: the centre decides."""
    edge = 40
    place = Affine.translation(-edge, -edge)
    inside = rasterio.features.geometry_mask([cell], tuple(n + 2 * edge for n in labels.shape), place, invert=True)
    part = labels[inside[edge:-edge, edge:-edge]]
    return inside.sum(), (part != 255).sum(), (part == 1).sum(), (part == 2).sum()


@pytest.mark.parametrize(
    ("crs", "transform", "angle"),
    [
        (UTM, None, 0.0),
        (UTM, None, 27.5),
        (UTM, TURNED, -140.0),
        ("EPSG:4326", DEGREES, 12.0),
        ("EPSG:2229", FEET, 45.0),
        ("EPSG:3857", MERCATOR, 80.0),
    ],
)
def test_shares_are_those_that_gdal_counts(mask, labels, tmp_path, crs, transform, angle):
    path = mask(crs=crs, transform=transform)
    plan = grid_of(GridRequest(path, (tmp_path / "g.gpkg",), 3.1, least=0, angle=angle))
    own, shapes, fields = read(tmp_path / "g.gpkg")
    assert (fields["valid"] > 0).all() and len(shapes) == len(plan.numbers) > 700
    rng = np.random.default_rng(0)
    cells = in_pixels(shapes, own, path)
    for n in rng.choice(len(shapes), 60, replace=False):
        pixels, valid, *found = counted(cells[n], labels)
        shares = [fields[name][n] for name in ("share_weed", "share_creeping_thistle")]
        assert fields["valid"][n] == pytest.approx(valid / pixels, abs=1e-4)
        assert shares == pytest.approx([f / valid for f in found], abs=1e-4)
        assert (fields["treat"][n] == "yes") == (max(found) / valid >= 0.05)
    assert (labels != 255).sum() == pytest.approx(
        (fields["area_m2"] / plan.cell_m2 * counted_mean(cells)).sum(), rel=0.01
    )


def counted_mean(cells):
    """Pixels of a cell on average."""
    return shapely.area(cells).mean()


def test_every_pixel_with_data_is_in_one_cell(mask, labels, tmp_path):
    from rotacube.inference.within import Reach
    from rotacube.raster.mask_source import MaskSource
    from rotacube.raster.metric import metric_crs
    from rotacube.treatment.counting import Places, count

    path = mask(crs="EPSG:4326", transform=DEGREES)
    with MaskSource(path) as source:
        crs = metric_crs(source.grid)
        x, y = Places(source.grid, crs).of(*Reach([]).edge(source.grid.extent))
        counts = count(source, Reach([]), Cells.over(crs, x, y, 2.0, 61.0))
    assert counts.valid.sum() == (labels != 255).sum()
    assert counts.found.sum(1).tolist() == [(labels == 1).sum(), (labels == 2).sum()]


def test_cells_are_squares_of_their_size_on_the_ground_along_the_angle(mask, tmp_path):
    for number, (crs, place) in enumerate(((UTM, None), ("EPSG:3857", MERCATOR), ("EPSG:4326", DEGREES))):
        path = mask(f"m{number}.tif", crs=crs, transform=place)
        grid_of(GridRequest(path, (tmp_path / f"{number}.gpkg",), 20.0, angle=30.0))
        own, shapes, fields = read(tmp_path / f"{number}.gpkg")
        assert "UTM zone 45N" in own or own == UTM
        turn = Transformer.from_crs(own, "EPSG:4326", always_xy=True)
        lon, lat = turn.transform(*shapely.get_coordinates(shapes[0]).T)
        azimuth, _, length = Geod(ellps="WGS84").inv(lon[:-1], lat[:-1], lon[1:], lat[1:])
        assert length == pytest.approx([20] * 4, rel=1e-3)
        convergence = 0.7  # of the zone's north there: up to that many degrees
        assert any(abs(a % 180 - 30) < convergence for a in azimuth)
        assert fields["area_m2"].max() == pytest.approx(400, rel=2e-3)


def test_a_grid_of_whole_pixels_begins_at_the_raster_s_corner(mask, labels, tmp_path):
    path = mask()
    grid_of(GridRequest(path, (tmp_path / "g.gpkg",), 1.5, ("weed",), share=100, least=0))
    _, shapes, fields = read(tmp_path / "g.gpkg")
    blocks = labels[:500, :2200].reshape(50, 10, 220, 10).transpose(0, 2, 1, 3).reshape(50, 220, 100)
    valid = (blocks != 255).sum(2)
    assert len(shapes) == (valid > 0).sum()
    row, column = fields["row"] - 1, fields["column"] - 1
    np.testing.assert_allclose(fields["valid"], (valid / 100)[row, column], atol=1e-4)
    np.testing.assert_allclose(
        fields["share_weed"], ((blocks == 1).sum(2) / np.maximum(1, valid))[row, column], atol=1e-4
    )
    assert set(np.flatnonzero(fields["treat"] == "yes")) == set(np.flatnonzero(fields["share_weed"] == 1))
    assert "share_creeping_thistle" not in fields
    np.testing.assert_allclose(shapely.bounds(shapes)[:, 0], 353000 + column * 1.5, atol=1e-6)
    np.testing.assert_allclose(shapely.bounds(shapes)[:, 3], 3060000 - row * 1.5, atol=1e-6)


def test_within_polygons_and_along_their_longest_side(mask, labels, tmp_path):
    path = mask()
    field = Affine.translation(353100, 3059950) * Affine.rotation(-50)  # 50 degrees clockwise
    corners = [field * at for at in ((-20, -8), (20, -8), (20, 8), (-20, 8))]
    shape = shapely.Polygon(corners)
    pyogrio.raw.write(
        str(tmp_path / "field.gpkg"), shapely.to_wkb(np.array([shape])), [], [], geometry_type="Polygon", crs=UTM
    )
    plan = grid_of(
        GridRequest(path, (tmp_path / "g.gpkg",), 2.0, least=0, angle=None, within=str(tmp_path / "field.gpkg"))
    )
    assert plan.cells.angle == pytest.approx(90 + 50, abs=0.01)
    assert (plan.cells.rows, plan.cells.columns) == (20, 8)
    _, shapes, fields = read(tmp_path / "g.gpkg")
    assert shapely.union_all(shapes, grid_size=1e-6).area == pytest.approx(640, rel=1e-3)
    with rasterio.open(path) as file:
        inside = rasterio.features.geometry_mask([shape], labels.shape, file.transform, invert=True)
    assert fields["area_m2"].sum() == pytest.approx((inside & (labels != 255)).sum() * 0.15**2, rel=0.01)


def test_the_angle_follows_the_data_of_a_turned_mosaic(write_raster, tmp_path):
    values = np.full((400, 400), 255, np.uint8)
    rows, columns = np.mgrid[:400, :400] - 200.0
    turn = math.radians(70)  # clockwise from north
    along = columns * math.sin(turn) - rows * math.cos(turn)
    across = columns * math.cos(turn) + rows * math.sin(turn)
    values[(abs(along) < 150) & (abs(across) < 60)] = 1
    path = write_raster(tmp_path / "m.tif", values[None], nodata=255)
    plan = grid_of(GridRequest(path, (tmp_path / "g.fgb",), 3.0, angle=None))
    assert plan.cells.angle == pytest.approx(70, abs=0.5)
    assert len(plan.numbers) <= 16 * 7  # 45 m x 18 m: the cells begin at the data's edge
    assert longest_side(np.array([5.0]), np.array([5.0])) == 0


def test_all_formats_hold_the_same_cells(mask, tmp_path):
    names = ("g.gpkg", "g.fgb", "g.shp", "g.kml")
    request = GridRequest(mask(), tuple(tmp_path / n for n in names), 10.0, angle=10.0, dose=Dose(200, by_share=True))
    grid_of(request)
    own, shapes, fields = read(tmp_path / "g.gpkg")
    order = np.lexsort((fields["column"], fields["row"]))
    for name in names[1:]:
        crs, others, found = read(tmp_path / name)
        if name == "g.shp":
            assert [f for f in found if f.startswith("share")] == ["share_weed", "share_cree"]
            found["share_creeping_thistle"] = found.pop("share_cree")
        turn = Transformer.from_crs(crs, own, always_xy=True)
        others = shapely.transform(others, turn.transform, interleaved=False)
        same = np.lexsort((found["column"].astype(int), found["row"].astype(int)))
        assert shapely.hausdorff_distance(shapes[order], others[same]).max() < 1e-3
        for field, values in fields.items():
            there = found[field][same]
            if values.dtype == object:
                assert [v or "" for v in there] == list(values[order])
            else:
                np.testing.assert_allclose(there.astype(float), values[order], rtol=1e-6)
    assert set(fields["treat"]) == {"yes", "no"} and set(fields["class"]) == {"weed", "creeping thistle", ""}
    best = np.maximum(fields["share_weed"], fields["share_creeping_thistle"])
    wanted = np.where(fields["treat"] == "yes", (100 * best).round() * 2, 0)
    assert abs(fields["rate_l_ha"] - wanted).max() <= 2
    assert {p.name for p in tmp_path.iterdir()} == {
        "mask.tif",
        *names,
        *(f"g.{e}" for e in ("shx", "dbf", "prj", "cpg")),
    }


@pytest.mark.parametrize("by_share", [False, True])
def test_a_machine_s_task_is_read_back_with_its_cells_and_rates(mask, tmp_path, by_share):
    outputs = (tmp_path / "g.gpkg", tmp_path / "field 7.zip")
    grid_of(GridRequest(mask(), outputs, 10.0, angle=33.0, dose=Dose(123.4, by_share)))
    with zipfile.ZipFile(outputs[1]) as archive:
        assert archive.namelist() == ["TASKDATA/TASKDATA.XML"]
        archive.extractall(tmp_path)
    data, _ = isoxml_from_path(tmp_path / "TASKDATA")
    (task,), (field,), (unit,) = data.tasks, data.partfields, data.value_presentations
    assert task.designator == field.designator == "field 7" and task.partfield_id_ref == field.id
    codes = (
        task.default_treatment_zone_code,
        task.out_of_field_treatment_zone_code,
        task.position_lost_treatment_zone_code,
    )
    assert codes == (0, 0, 0) and task.treatment_zones[0].process_data_variables[0].process_data_value == 0
    to_shape = ShapelyConverterV4()
    rates, cells = [], []
    for zone in task.treatment_zones:
        (value,) = zone.process_data_variables
        assert int.from_bytes(value.process_data_ddi, "big") == 1 and value.value_presentation_id_ref == unit.id
        cells += [to_shape.to_shapely_polygon(polygon) for polygon in zone.polygons]
        rates += [value.process_data_value * 0.01 / 100] * len(zone.polygons)  # 0.01 mm³/m², 100 of which are 1 l/ha
        assert value.process_data_value * float(unit.scale) == pytest.approx(rates[-1])
    own, shapes, fields = read(outputs[0])
    turn = Transformer.from_crs(own, "EPSG:4326", always_xy=True)
    wanted = shapely.transform(shapes, turn.transform, interleaved=False)
    nearest = shapely.STRtree(wanted).nearest(shapely.centroid(np.array(cells)))
    assert sorted(nearest) == list(range(len(shapes)))
    assert shapely.hausdorff_distance(np.array(cells), wanted[nearest]).max() < 1e-8
    np.testing.assert_allclose(rates, fields["rate_l_ha"][nearest], atol=1e-4)
    assert (len(set(rates)) > 2) == by_share and (by_share or set(rates) == {0, 123.4})
    boundary = shapely.union_all([to_shape.to_shapely_polygon(polygon) for polygon in field.polygons])
    assert boundary.symmetric_difference(shapely.union_all(wanted)).area < 1e-6 * boundary.area
    assert field.area == pytest.approx(fields["area_m2"].sum(), abs=1)


def test_a_mask_of_another_program_is_taken_by_values(write_raster, tmp_path):
    values = np.zeros((100, 100), np.int16)
    values[20:60, 20:60] = 7
    path = write_raster(tmp_path / "foreign.tif", values[None])
    plan = grid_of(GridRequest(path, (tmp_path / "g.gpkg",), 1.5, ("7",)))
    _, _, fields = read(tmp_path / "g.gpkg")
    assert plan.treat.sum() == 16 and set(fields["class"]) == {"", "class 7"} and fields["share_class_7"].max() == 1


def test_names_of_fields_are_apart_however_short():
    assert field_names(["Weed", "weed!", "weed 2", "草"], 60) == [
        "share_weed",
        "share_weed_2",
        "share_weed_2_2",
        "share_class",
    ]
    short = field_names([f"wild oats {n}" for n in range(20)], 10)
    assert len(set(short)) == 20 and max(map(len, short)) == 10


def refused(error, word, mask, tmp_path, **changes):
    outputs = changes.pop("outputs", (tmp_path / "out" / "g.gpkg",))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=word) as caught:
        grid_of(GridRequest(mask, outputs, **{"size": 3.0, **changes}))
    assert caught.value.message.endswith(".") and sorted(tmp_path.rglob("*")) == before


def test_what_cannot_be_is_a_sentence(mask, write_raster, tmp_path):
    path = mask()
    (tmp_path / "out").mkdir()
    empty = write_raster(tmp_path / "empty.tif", np.zeros((1, 50, 50), np.uint8))
    corner = shapely.box(353000 + 0.15 * 50, 3060000 - 0.15 * 490, 353000 + 0.15 * 90, 3060000 - 0.15 * 460)
    for name, shape in (("far", shapely.box(0, 0, 9, 9)), ("bare", corner)):
        pyogrio.raw.write(
            str(tmp_path / f"{name}.gpkg"), shapely.to_wkb(np.array([shape])), [], [], geometry_type="Polygon", crs=UTM
        )
    zipped = (tmp_path / "out" / "t.zip",)
    for error, word, changes in (
        (OptionsRefused, r"no class 'wheat'. It has: weed \(1\), creeping thistle \(2\)", {"classes": ("wheat",)}),
        (OptionsRefused, "background alone", {"classes": ("background",)}),
        (OptionsRefused, r"smaller than a pixel of the mask \(0.15 m\)", {"size": 0.1}),
        (OptionsRefused, r"grid of [\d,]+ cells, more than 2,000,000", {"size": 0.1501, "angle": 45.0}),
        (OptionsRefused, "in metres, such as 3", {"size": math.nan}),
        (OptionsRefused, "share of 0 %", {"share": 0.0}),
        (OptionsRefused, "angle is no number", {"angle": math.inf}),
        (OptionsRefused, "litres a hectare cannot", {"dose": Dose(-5)}),
        (OptionsRefused, "Give a rate", {"outputs": zipped}),
        (OptionsRefused, "50,000 that an ISOXML task", {"outputs": zipped, "size": 0.4, "dose": Dose(5)}),
        (OptionsRefused, "one name", {"outputs": (tmp_path / "out" / "g.kml",) * 2}),
        (
            OutputUnwritable,
            r"Let it end in .gpkg, .fgb, .shp, .kml, or .zip",
            {"outputs": (tmp_path / "out" / "g.txt",)},
        ),
        (RasterEmpty, "do not touch the raster", {"within": str(tmp_path / "far.gpkg")}),
        (OptionsRefused, "-1 % of data is none", {"least": -1.0}),
        (RasterEmpty, "No cell has data on 10 % of it", {"within": str(tmp_path / "bare.gpkg")}),
    ):
        refused(error, word, path, tmp_path, **changes)
    refused(OptionsRefused, "background alone", empty, tmp_path)


def test_nothing_is_replaced_unasked_and_a_new_shapefile_has_no_old_index(mask, tmp_path):
    path, output = mask(), tmp_path / "g.shp"
    (tmp_path / "g.dbf").write_text("somebody's")
    with pytest.raises(OutputUnwritable, match=r"g\.dbf' is there already"):
        grid_of(GridRequest(path, (output,), 10.0))
    (tmp_path / "g.qix").write_text("an index")
    grid_of(GridRequest(path, (output,), 10.0, overwrite=True))
    assert not (tmp_path / "g.qix").exists() and len(read(output)[1]) > 50


def test_a_file_that_cannot_take_its_place_leaves_none(mask, tmp_path, monkeypatch):
    from rotacube.raster.destination import Destination

    put = Destination.put

    def fails(self, part):
        if self.output.suffix == ".shp":
            raise OSError("no space left")
        put(self, part)

    monkeypatch.setattr(Destination, "put", fails)
    with pytest.raises(OutputUnwritable, match="no space left"):
        grid_of(GridRequest(mask(), (tmp_path / "g.shp",), 10.0))
    assert [p.name for p in tmp_path.iterdir()] == ["mask.tif"]


@pytest.mark.parametrize("at", ["Reading the mask", "Counting", "Writing"])
def test_cancelled_it_leaves_nothing(mask, tmp_path, at):
    path, steps = mask(), []
    with pytest.raises(JobCancelled):
        grid_of(
            GridRequest(path, tuple(tmp_path / n for n in ("g.gpkg", "g.shp")), 3.0),
            on_step=lambda what, share: steps.append(what),
            cancelled=lambda: at in steps,
        )
    assert [p.name for p in tmp_path.iterdir()] == ["mask.tif"] and at == steps[-1]


def test_cells_with_little_data_are_left_out(mask, tmp_path):
    path, every = mask(), []
    for name, least in (("all", 0.0), ("some", 10.0), ("whole", 100.0)):
        grid_of(GridRequest(path, (tmp_path / f"{name}.gpkg",), 4.0, least=least, angle=20.0))
        fields = read(tmp_path / f"{name}.gpkg")[2]
        every.append(dict(zip(zip(fields["row"], fields["column"], strict=True), fields["valid"], strict=True)))
    assert {at: valid for at, valid in every[0].items() if valid >= 0.1} == every[1]
    assert len(every[0]) > len(every[1]) > len(every[2]) > 0 and set(every[2].values()) == {1}


def test_the_files_name_their_origin(mask, tmp_path):
    path = mask()
    grid_of(GridRequest(path, (tmp_path / "g.gpkg",), 10.0))
    assert pyogrio.read_info(tmp_path / "g.gpkg")["layer_metadata"]["ROTACUBE_RASTER"] == path

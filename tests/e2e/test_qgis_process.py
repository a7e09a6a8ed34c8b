"""The algorithms without a display: `qgis_process`, the plugin from its zip in a fresh profile, the real backend."""

import json
import os
import shutil
import sqlite3
import subprocess
import zipfile
from pathlib import Path

import pytest
from support import draw_town, run_backend


@pytest.fixture(scope="module")
def process(plugin_zip, backend_python, models, tmp_path_factory):
    """Calls qgis_process; gives exit code and what was said."""
    # Debian's qgis_process is a script that passes options on which only QGIS knows
    program = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
    if program is None:
        pytest.skip("qgis_process is not installed")
    home = tmp_path_factory.mktemp("home")
    plugins = home / "data" / "QGIS" / "QGIS3" / "profiles" / "default" / "python" / "plugins"
    with zipfile.ZipFile(plugin_zip) as archive:
        archive.extractall(plugins)
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    env.pop("DISPLAY", None)
    env.update(
        HOME=str(home),
        XDG_DATA_HOME=str(home / "data"),
        PATH=f"{Path(program).parent}{os.pathsep}{env.get('PATH', '')}",
        QT_QPA_PLATFORM="offscreen",
        ROTACUBE_PYTHON=str(backend_python.absolute()),
        ROTACUBE_MODELS=models,
    )

    def call(*arguments):
        answer = subprocess.run(
            [program, *arguments], env=env, capture_output=True, text=True, check=False, timeout=200
        )
        return answer.returncode, answer.stdout + answer.stderr

    code, said = call("plugins", "enable", "rotacube")
    assert code == 0, said
    return call


@pytest.fixture(scope="module")
def town(backend_python, tmp_path_factory):
    """A small drawn town at the model's resolution."""
    return draw_town(backend_python, tmp_path_factory.mktemp("town") / "town.tif", 300, 400)


@pytest.mark.timeout(300)
def test_rooftops_are_mapped_and_a_mask_is_measured_and_laid_out_in_cells(process, town, tmp_path):
    roofs, mask, table = tmp_path / "roofs.gpkg", tmp_path / "mask.tif", tmp_path / "shares.csv"
    given = (f"--INPUT={town}", "--MODEL=rooftop-lite", f"--POLYGONS={roofs}", f"--MASK={mask}")
    code, said = process("run", "rotacube:maprooftops", *given)
    assert code == 0, said
    assert "Drawing outlines" in said and "FOUND_M2" in said
    with sqlite3.connect(roofs) as database:
        assert database.execute("select count(*) from roofs").fetchone()[0] > 3
    code, said = process("run", "rotacube:statistics", f"--INPUT={mask}", f"--OUTPUT={table}")
    assert code == 0, said
    head, *rows = table.read_text(encoding="utf-8-sig").splitlines()
    assert "share_low" in head and [row.split(",")[2] for row in rows] == ["background", "roof"]
    grid, task = tmp_path / "grid.gpkg", tmp_path / "task.zip"
    given = (f"--INPUT={mask}", "--CLASSES=roof", "--SIZE=5", "--RATE=100", f"--OUTPUT={grid}", f"--EXPORT={task}")
    code, said = process("run", "rotacube:treatmentgrid", *given)
    assert code == 0 and "TREATED_M2" in said, said
    with sqlite3.connect(grid) as database:
        counts = dict(database.execute("select treat, count(*) from cells group by treat").fetchall())
    assert counts["yes"] > 3 < counts["no"] and zipfile.ZipFile(task).namelist() == ["TASKDATA/TASKDATA.XML"]


@pytest.mark.timeout(300)
def test_drone_frames_are_outlined_and_mapped(process, backend_python, tmp_path):
    frames, layer, out = tmp_path / "frames", tmp_path / "frames.gpkg", tmp_path / "map"
    frames.mkdir()
    draw = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); from pathlib import Path; "
    draw += "from flights import Shot, noise, save, survey; shots = survey(Shot(size=(200, 150)), lines=1, shots=3); "
    draw += "[save(Path(sys.argv[1]) / f'{n}.jpg', s, 'EPSG:32632', noise(s)) for n, s in enumerate(shots)]"
    run_backend(backend_python, "-c", draw, str(frames))
    (frames / "1.jpg").write_bytes((frames / "1.jpg").read_bytes()[:9000])
    code, said = process("run", "rotacube:framefootprints", f"--INPUT={frames}", f"--OUTPUT={layer}")
    assert code == 0 and "Left out: '1.jpg' is damaged" in said and "LEFT_OUT:\t1" in said, said
    with sqlite3.connect(layer) as database:
        rows = database.execute("select frame, height_m from frames").fetchall()
    assert rows == [("0.jpg", 40.0), ("2.jpg", 40.0)]
    given = (f"--INPUT={frames}", "--MODEL=tiny", "--ANY_RESOLUTION=true", f"--OUTPUT={out}")
    code, said = process("run", "rotacube:mapframes", *given)
    assert code == 0 and "FRAMES:\t2" in said and "Mapping frames" in said, said
    there = {path.name for path in out.iterdir()}
    assert there == {"mask.tif", "probability.tif", "rgb.tif", "agreement.tif", "shares.csv", "footprints.gpkg"}
    shutil.rmtree(frames)
    frames.mkdir()
    code, said = process("run", "rotacube:mapframes", *given)
    assert code != 0 and "There is no image in" in said and "Traceback" not in said, said


@pytest.mark.timeout(300)
def test_bad_input_is_a_sentence_and_an_exit_code(process, town, tmp_path):
    damaged = tmp_path / "damaged.tif"
    damaged.write_bytes(town.read_bytes()[: town.stat().st_size // 3])
    code, said = process("run", "rotacube:maprooftops", f"--INPUT={damaged}", f"--POLYGONS={tmp_path / 'p.gpkg'}")
    assert code != 0 and "is damaged or cut short" in said and "Traceback" not in said, said
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.tif"]


@pytest.mark.timeout(300)
def test_an_onnx_file_of_others_is_imported_and_maps(process, backend_python, town, tmp_path):
    file, mask = tmp_path / "houses.onnx", tmp_path / "mask.tif"
    write = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); import onnx_files; "
    run_backend(
        backend_python, "-c", f"{write}onnx_files.write_onnx_file({str(file)!r}, last='Sigmoid', metadata={{}})"
    )
    code, said = process("run", "rotacube:importmodel", f"--FILE={file}", "--CLASSES=background,house")
    assert code != 0 and "does not say how large its pixels are" in said, said
    asked = (f"--FILE={file}", "--CLASSES=background,house", "--RESOLUTION=0.15")
    code, said = process("run", "rotacube:importmodel", *asked)
    assert code == 0 and "houses" in said, said
    code, said = process("run", "rotacube:mapraster", f"--INPUT={town}", "--MODEL=houses", f"--MASK={mask}")
    assert code == 0 and mask.is_file(), said


@pytest.mark.timeout(300)
def test_scenes_are_classified_by_a_model_that_is_imported(process, backend_python, town, tmp_path):
    folder, scenes = tmp_path / "land", tmp_path / "scenes.gpkg"
    make = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); import model_cards; "
    make += "from pathlib import Path; from rotacube import create_model, save_model; "
    make += "card = model_cards.card_fields(name='land', task='scenes', tile=64, overlap=0, architecture='inception', "
    make += "options={'width': 0.0625}); "
    make += f"save_model(create_model('inception', 3, 2, width=0.0625), card, Path({str(folder)!r}))"
    run_backend(backend_python, "-c", make)
    code, said = process("run", "rotacube:importmodel", f"--FOLDER={folder}")
    assert code == 0 and "land" in said, said
    code, said = process("run", "rotacube:classifyscenes", f"--INPUT={town}", "--MODEL=land", f"--OUTPUT={scenes}")
    assert code == 0 and "SCENES" in said, said
    with sqlite3.connect(scenes) as database:
        count, names = database.execute("select count(*), group_concat(distinct class) from scenes").fetchone()
    # 300 x 400 pixels in squares of 64: in the last column a quarter has data
    assert count == 5 * 6 and set(names.split(",")) <= {"background", "roof"}


def test_the_algorithms_are_listed(process):
    code, said = process("list", "--json")
    assert code == 0, said
    content = json.loads(said[said.index("{") :][: said.rindex("}") + 1 - said.index("{")])
    listed = set(content["providers"]["rotacube"]["algorithms"])
    assert {"rotacube:mapraster", "rotacube:maprooftops", "rotacube:polygonise", "rotacube:finetune"} <= listed

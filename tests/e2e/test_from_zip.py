"""What a new user has: the zip, a fresh profile, a Python, a package server; nothing of this checkout."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from support import REPO, draw_town, load_tool, run_backend

PATIENCE_S = 540


@pytest.fixture(scope="module")
def wheels(backend_python):
    """A folder with what the network would give, kept in build/ as long as what is needed is the same."""
    needed = [*load_tool("make_plugin").requirements(), "pip>=25"]
    known = (*needed, (REPO / "constraints.txt").read_text(), run_backend(backend_python, "-VV"))
    folder = REPO / "build" / f"wheels-{hashlib.sha256(repr(known).encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        command = [str(backend_python), "-m", "pip", "download", "-q", "--only-binary", ":all:", "-d", str(part)]
        answer = subprocess.run(
            [*command, "-c", str(REPO / "constraints.txt"), *needed], capture_output=True, text=True, check=False
        )
        if answer.returncode:
            pytest.skip(f"the backend's packages cannot be downloaded here: {answer.stderr[-400:]}")
        part.rename(folder)
    return folder


@pytest.fixture(scope="module")
def small_scene(backend_python, tmp_path_factory):
    """A drawn town at the model's resolution, three tiles or so."""
    return draw_town(backend_python, tmp_path_factory.mktemp("small") / "scene.tif", 400, 900)


@pytest.mark.timeout(600)
def test_from_the_zip_to_a_mask(demo, plan, backend_python, wheels, small_scene):
    base = run_backend(backend_python, "-c", "import sys; print(sys._base_executable)").strip()
    set_up = {"pip_options": f"--no-index --find-links '{wheels}'", "base_python": base}
    wanted = plan(raster=str(small_scene), model=None, set_up=set_up, patience=PATIENCE_S)
    result = demo.run(wanted, None, None, PATIENCE_S, PIP_CONFIG_FILE="/dev/null")
    out = Path(wanted["out"])

    assert result["messages_at_first"] == []  # the page says it all
    assert result["set_up_error"] == "" and {step for step, _ in result["told"]} >= {2, 3, 4, 5}
    assert any(" MB of " in text and "%" in text for step, text in result["told"] if step == 4)
    assert result["gap_while_setting_up_s"] < 1
    assert result["messages_after_set_up"] == ["The backend is set up."] and result["messages_when_ready"] == []

    process, profile = result["process"], Path(result["process"]["environment"]["HOME"])
    assert profile not in REPO.parents and REPO not in profile.parents
    for text in (process["cwd"], *process["command"], *process["environment"].values(), *process["files"]):
        assert str(REPO) not in text and str(backend_python.parent) not in text
    assert not {"PYTHONPATH", "ROTACUBE_MODELS", "ROTACUBE_PYTHON"} & set(process["environment"])
    assert Path(process["command"][0]) == profile / "data" / "rotacube" / "env" / "bin" / "python"
    assert Path(process["command"][1]).is_relative_to(profile / "profiles")
    assert [Path(folder).is_relative_to(profile / "profiles") for folder in process["model_folders"]] == [True]

    assert result["model"] == "rooftop-lite" and result["mask_valid"] and result["mask"] == str(out / "mask.tif")
    area = float(result["table"][1][1].replace(",", ""))
    assert result["table"][1][0] == "roof" and area > 100  # the drawn roofs, not an empty mask
    print(f"set up in {result['set_up_seconds']} s, mapped in {result['seconds']} s")

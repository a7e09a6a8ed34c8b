#!/usr/bin/env python3
"""Use the plugin in real QGIS on a virtual screen, as a person would: `qgis_demo.py RASTER OUTDIR`.

QGIS gets a fresh profile, installs the plugin from its zip, maps the raster through the dock, and leaves in OUTDIR
`mask.tif`, `mask_polygons.gpkg`, `before.png`, `during.png`, `after.png` and `result.json`. The end-to-end tests use
the same functions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
KEPT = ("ROTACUBE_PLAN",)
DRIVER = REPO / "tests" / "e2e" / "drive.py"
SETTINGS = """[locale]
overrideFlag=true
userLocale=en_US

[app]
plugin_installer\\checkOnStart=false
askToSaveMemoryLayers=false

[qgis]
checkVersion=false
"""


class DemoError(Exception):
    """The demo could not be run; the text says why."""


def main() -> int:
    """Run the demo from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("raster", type=Path)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--python", type=Path, default=REPO / ".venv" / "bin" / "python", help="the backend's Python")
    parser.add_argument("--zip", type=Path, help="the plugin; built anew if absent")
    parser.add_argument("--model", help="a model's name; the first one if absent")
    parser.add_argument("--models", help="folders with models, as ROTACUBE_MODELS has them")
    parser.add_argument("--area", choices=["layer", "canvas"], default="layer")
    parser.add_argument("--timeout", type=int, default=900)
    arguments = parser.parse_args()
    try:
        if not arguments.raster.is_file():
            raise DemoError(f"there is no raster {arguments.raster}")
        plan = {
            "zip": str((arguments.zip or build_zip()).resolve()),
            "raster": str(arguments.raster.resolve()),
            "out": str(arguments.outdir.resolve()),
            "scenario": "map",
            "model": arguments.model,
            "area": arguments.area,
        }
        result = run(plan, arguments.python, arguments.models, arguments.timeout)
    except DemoError as error:
        print(f"qgis_demo: {error}", file=sys.stderr)
        return 2
    for row in result["table"]:
        print("  ".join(row))
    print(f"{result['tiles']} tiles in {result['seconds']} s; see {arguments.outdir}")
    return 0


def build_zip() -> Path:
    """The plugin's zip, built from this checkout."""
    sys.path.insert(0, str(REPO / "tools"))
    import make_plugin

    return make_plugin.build(REPO / "dist")


def run(plan: dict, python: Path | None, models: str | None = None, timeout: int = 900, **variables: str) -> dict:
    """Carry out a plan in QGIS and give its result; without a Python, QGIS is a new user's, who has none.

    Raises:
        DemoError: if QGIS did not get to its end, or a step failed.
    """
    out = Path(plan["out"])
    with screen() as display, qgis(plan, python, display, models, **variables) as process:
        end = time.monotonic() + timeout
        while process.poll() is None:
            if "Python support will be disabled" in (out / "qgis.log").read_text(encoding="utf-8", errors="replace"):
                raise DemoError(f"QGIS could not load its Python; see {out / 'qgis.log'}")
            if time.monotonic() > end:
                raise DemoError(f"QGIS was not done after {timeout} s; its output is in {out / 'qgis.log'}")
            time.sleep(0.2)
    try:
        result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    except OSError as error:
        text = f"QGIS ended with {process.returncode} and without a result; its output is in {out / 'qgis.log'}"
        raise DemoError(text) from error
    result["exit_code"] = process.returncode
    if not result["ok"]:
        raise DemoError(result["error"] + "\n" + result["traceback"])
    return result


@contextlib.contextmanager
def screen(size: str = "1400x900x24") -> Iterator[str]:
    """A virtual screen; gives its DISPLAY."""
    if shutil.which("Xvfb") is None:
        raise DemoError("Xvfb is missing: sudo apt-get install xvfb")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise DemoError("Xvfb did not start")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def qgis(
    plan: dict, python: Path | None, display: str, models: str | None = None, **variables: str
) -> Iterator[subprocess.Popen]:
    """QGIS with a fresh profile, carrying out a plan; it is killed if it is still there at the end."""
    program = shutil.which("qgis")
    if program is None:
        raise DemoError("QGIS is missing: sudo apt-get install qgis")
    out = Path(plan["out"])
    out.mkdir(parents=True, exist_ok=True)
    for name in ("result.json", "progress.json", "mask.tif", "before.png", "during.png", "after.png", "error.png"):
        (out / name).unlink(missing_ok=True)
    for beside in out.glob("mask_*"):  # what is made beside the mask is named after it
        beside.unlink()
    with tempfile.TemporaryDirectory(prefix="rotacube-qgis-") as folder:
        home = Path(folder)
        settings = home / "profiles" / "default" / "QGIS" / "QGIS3.ini"
        settings.parent.mkdir(parents=True)
        settings.write_text(SETTINGS, encoding="utf-8")
        (home / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        runtime = home / "runtime"
        runtime.mkdir(mode=0o700)
        env = {
            **os.environ,
            "DISPLAY": display,
            # QGIS takes the home of its Python from the first python3 on PATH: let that be the one beside it
            "PATH": f"{Path(program).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "QT_QPA_PLATFORM": "xcb",
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CACHE_HOME": str(home / "cache"),
            "ROTACUBE_PLAN": str(home / "plan.json"),
        }
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            env.pop(name, None)
        if python is None:
            env = _without_checkout(env)
            env.update(HOME=str(home), XDG_DATA_HOME=str(home / "data"), XDG_CONFIG_HOME=str(home / "config"))
        else:
            env["ROTACUBE_PYTHON"] = str(python.absolute())
        env.update(variables)
        if models:
            env["ROTACUBE_MODELS"] = models
        command = [program, "--nologo", "--noversioncheck", "--profiles-path", str(home), "--code", str(DRIVER)]
        with (out / "qgis.log").open("wb") as log:
            process = subprocess.Popen(command, env=env, cwd=home, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if python is None and (home / "data").is_dir():
                _remove_later(home / "data")


def _remove_later(folder: Path) -> None:
    """Remove a large folder without waiting: an environment of 40,000 files takes a busy disk a minute."""
    aside = Path(tempfile.mkdtemp(prefix="rotacube-gone-"))
    folder.rename(aside / folder.name)
    code = "import shutil, sys; shutil.rmtree(sys.argv[1], ignore_errors=True)"
    subprocess.Popen([sys.executable, "-c", code, str(aside)], start_new_session=True)


def _without_checkout(env: dict[str, str]) -> dict[str, str]:
    """Environment variables that know nothing of this checkout and its settings."""
    path = [part for part in env["PATH"].split(os.pathsep) if not part.startswith(str(REPO))]
    env = {**env, "PATH": os.pathsep.join(path)}
    own = ("ROTACUBE", "PIP", "PYTEST")
    return {k: v for k, v in env.items() if k in KEPT or not (k.startswith(own) or str(REPO) in v)}


if __name__ == "__main__":
    sys.exit(main())

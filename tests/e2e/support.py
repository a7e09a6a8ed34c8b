"""What the end-to-end tests share."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]


def load_tool(name):
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, REPO / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def draw_town(python, path, height, width):
    """A drawn town at 0.15 m, in UTM, by the backend's Python; gives its path back."""
    draw = "import sys; from rotacube.training.drawn.scenes import draw_scene, write_scene; "
    draw += "write_scene(sys.argv[1], draw_scene(3, int(sys.argv[2]), int(sys.argv[3])))"
    run_backend(python, "-c", draw, str(path), str(height), str(width))
    return path


def run_backend(python, *arguments):
    """Run a script in the backend's Python, the checkout's source first."""
    env = {**os.environ, "PYTHONPATH": str(REPO / "backend")}
    answer = subprocess.run([str(python), *arguments], env=env, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout

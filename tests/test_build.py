"""The built libraries, and what happens without them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rotacube
from rotacube.ops import _library

PACKAGE = Path(rotacube.__file__).resolve().parent
STATUS = "from rotacube.ops import operator_status; s = operator_status()[0]; print(s.path, '|', s.why)"


def undefined_symbols(path: Path) -> list[str]:
    if not path.is_file():
        pytest.skip(f"{path.name} is not built here")
    if shutil.which("nm") is None:
        pytest.skip("nm (binutils) is not installed")
    listing = subprocess.run(["nm", "-D", "--undefined-only", str(path)], capture_output=True, text=True, check=True)
    return [line.split()[-1] for line in listing.stdout.splitlines() if line.strip()]


@pytest.mark.parametrize("file", [_library.CPU_FILE, _library.CUDA_FILE])
def test_libraries_use_the_stable_abi_alone(file):
    symbols = undefined_symbols(_library.FOLDER / file)
    assert any(symbol.startswith("aoti_torch_") for symbol in symbols)
    inside = [
        symbol for symbol in symbols if symbol.startswith(("_ZN2at", "_ZNK2at", "_ZN3c10", "_ZNK3c10", "_ZN5torch"))
    ]
    assert inside == []


def test_the_cuda_library_carries_its_own_runtime():
    symbols = undefined_symbols(_library.FOLDER / _library.CUDA_FILE)
    assert [symbol for symbol in symbols if symbol.startswith(("cuda", "cu")) and symbol[2:3].isupper()] == []
    assert [symbol for symbol in symbols if symbol.startswith("cuda")] == []


def run_status(package_parent: Path, **variables: str) -> str:
    env = {key: value for key, value in os.environ.items() if key != "ROTACUBE_OPS"}
    env |= {"PYTHONPATH": str(package_parent), **variables}
    done = subprocess.run([sys.executable, "-c", STATUS], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def copy_package(folder: Path) -> Path:
    shutil.copytree(PACKAGE, folder / "rotacube", ignore=shutil.ignore_patterns("_lib", "__pycache__"))
    (folder / "metadata.txt").write_text("[general]\nversion=0.0.0\n", encoding="utf-8")
    return folder


def test_the_reference_can_be_asked_for():
    assert run_status(PACKAGE.parent, ROTACUBE_OPS="reference").startswith("reference | the environment variable")


def test_without_the_library_the_reference_runs(tmp_path):
    said = run_status(copy_package(tmp_path))
    assert said.startswith(f"reference | the compiled library {_library.CPU_FILE} is not installed")


def test_a_broken_library_is_no_end(tmp_path):
    broken = copy_package(tmp_path) / "rotacube" / "_lib" / _library.CPU_FILE
    broken.parent.mkdir()
    broken.write_bytes(b"no library at all")
    said = run_status(tmp_path)
    assert said.startswith(f"reference | the compiled library {_library.CPU_FILE} could not be opened: ")

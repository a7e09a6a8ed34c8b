"""The built libraries, and what happens without them."""

from __future__ import annotations

import os
import platform
import re
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


def test_the_named_abi_is_the_one_that_is_built_against():
    setup = (Path(__file__).resolve().parents[1] / "setup.py").read_text(encoding="utf-8")
    major, minor = map(int, _library.ABI_TARGET.split("."))
    assert f"TORCH_TARGET_VERSION=0x{major:02x}{minor:02x}" in setup


def test_the_cuda_library_carries_its_own_runtime():
    symbols = undefined_symbols(_library.FOLDER / _library.CUDA_FILE)
    assert [symbol for symbol in symbols if symbol.startswith(("cuda", "cu")) and symbol[2:3].isupper()] == []
    assert [symbol for symbol in symbols if symbol.startswith("cuda")] == []


LEVELS = ("generic", "avx2", "avx512")


def needs(mnemonic: str, operands: str) -> str:
    """The least instruction set that an x86-64 instruction needs, as far as vector registers tell."""
    if "%zmm" in operands or re.search(r"%k[0-7]", operands) or re.search(r"%[xy]mm(1[6-9]|2\d|3[01])", operands):
        return "avx512"
    return "avx2" if "%ymm" in operands or (mnemonic.startswith("v") and "%xmm" in operands) else "generic"


def too_wide(disassembly: str) -> dict[str, str]:
    """The functions with an instruction beyond what their name allows: that of the first, by function.

    What is compiled for an instruction set stands in the namespace of its name; anything else may run anywhere.
    """
    found: dict[str, str] = {}
    name, allowed = "", ""
    for line in disassembly.splitlines():
        header = re.fullmatch(r"[0-9a-f]+ <(.*)>:", line)
        if header:
            name = header[1]
            allowed = "avx512" if "avx512" in name else "avx2" if "avx2" in name else "generic"
        elif "mm" in line or "%k" in line:
            mnemonic, _, operands = line.partition(":")[2].strip().partition(" ")
            if LEVELS.index(needs(mnemonic, operands)) > LEVELS.index(allowed):
                found.setdefault(name, line.strip())
    return found


def test_only_code_for_an_instruction_set_uses_it():
    path = _library.FOLDER / _library.CPU_FILE
    if not path.is_file():
        pytest.skip(f"{path.name} is not built here")
    if shutil.which("objdump") is None:
        pytest.skip("objdump (binutils) is not installed")
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("not x86-64")
    command = ["objdump", "--disassemble", "--demangle", "--no-show-raw-insn", str(path)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in LEVELS:  # the listing is what this test takes it for
        assert f"::{name}::" in listing
    assert "%zmm" in listing and "%ymm" in listing
    assert too_wide(listing) == {}


@pytest.mark.parametrize(
    ("name", "instruction", "found"),
    [
        ("rotacube::cpu::avx512::run(int)", "vaddps %zmm1,%zmm2,%zmm3", False),
        ("rotacube::cpu::avx512_bf16::run(int)::{lambda()#1}", "vmovups %ymm17,(%rax)", False),
        ("rotacube::cpu::avx2::run(int)", "vaddps %ymm1,%ymm2,%ymm3", False),
        ("rotacube::cpu::avx2::run(int)", "vmovups %xmm17,(%rax)", True),
        ("rotacube::cpu::avx2::run(int)", "vaddps %zmm1,%zmm2,%zmm3", True),
        ("rotacube::cpu::generic::run(int)", "addps  %xmm1,%xmm2", False),
        ("rotacube::cpu::generic::run(int)", "vaddps %xmm1,%xmm2,%xmm3", True),
        ("std::vector<float>::resize(unsigned long)", "vmovups %ymm1,(%rax)", True),
        ("std::vector<float>::resize(unsigned long)", "kmovw  %eax,%k1", True),
        ("std::vector<float>::resize(unsigned long)", "mov    %rax,%rbx", False),
    ],
)
def test_an_instruction_out_of_place_is_found(name, instruction, found):
    listing = f"0000000000001234 <{name}>:\n    1234:\t{instruction}\n"
    assert bool(too_wide(listing)) is found


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

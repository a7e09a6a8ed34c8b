"""How far pip is, from what it prints."""

import runpy
from pathlib import Path

import pytest
from qgis_plugin import paths
from qgis_plugin.client import gpu
from qgis_plugin.client.pip_output import Amount, Package, PipOutput, installed, read_plan, tells_bytes

TORCH = Package("torch", "2.13.0+cpu", "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", 900)
RICH = Package("rich", "15.0.0", "rich-15.0.0-py3-none-any.whl", 100)
JINJA = Package("Jinja2", "3.1.6", "jinja2-3.1.6-py3-none-any.whl", None)


def fed(*lines, planned=(TORCH, RICH)):
    read = PipOutput(planned)
    read.told = [read.feed(line) for line in lines]
    return read


def test_bytes_of_all_that_is_planned():
    read = fed(
        "Collecting torch>=2.10 (from -r requirements.txt (line 1))",
        "  Downloading rich-15.0.0-py3-none-any.whl.metadata (18 kB)",
        "  Downloading https://somewhere/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl (191.8 MB)",
        "Progress 0 of 900",
        "Progress 300 of 900",
    )
    assert read.downloaded() == Amount(300, 1000, True, TORCH.file)
    assert read.told == [False, False, False, True, True]
    read.feed("Using cached rich-15.0.0-py3-none-any.whl (310 kB)")
    assert read.downloaded().done == 1000


def test_wheels_in_a_folder_are_there_already():
    assert fed(f"Processing /my wheels/{RICH.file} (from typer)").downloaded().done == 100
    assert fed(f"Processing c:\\wheels\\{TORCH.file}").downloaded().done == 900


def test_without_sizes_packages_are_counted_and_without_a_plan_the_file_in_hand():
    lines = [f"Downloading {RICH.file} (100 B)", "Progress 60 of 100"]
    assert fed(*lines).downloaded() == Amount(60, 1000, True, RICH.file)
    assert fed(*lines, planned=(RICH, JINJA)).downloaded() == Amount(0, 2, False, RICH.file)
    assert fed(*lines, planned=()).downloaded() == Amount(60, 100, True, RICH.file)


def test_what_lies_in_the_environment(tmp_path):
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    order = fed("Installing collected packages: rich, jinja2, torch").order
    for folder, done, in_hand in (
        ("rich-15.0.0.dist-info", 100, "jinja2"),
        ("jinja2-3.1.6.dist-info", 200, "torch"),
        ("torch-2.13.0+cpu.dist-info", 1100, ""),
    ):
        (site / folder).mkdir(parents=True)
        before = installed([TORCH, RICH], order, tmp_path)
        (site / folder / "RECORD").touch()
        jinja = Package(*[getattr(JINJA, name) for name in ("name", "version", "file")], 100)
        now = installed([TORCH, RICH, jinja], order, tmp_path)
        assert now == Amount(done, 1100, True, in_hand) and before.done <= done
    assert installed([TORCH, RICH, JINJA], order, tmp_path) == Amount(3, 3, False, "")


def test_versions_of_pip():
    assert tells_bytes("pip 24.1 from /x (python 3.11)") and tells_bytes("pip 26.3") and not tells_bytes("pip 23.2.1")
    assert not tells_bytes("No module named pip")


def test_plan_is_listed_with_sizes_where_they_are_known(tmp_path):
    wheel = tmp_path / "my rich-15.whl"
    wheel.write_bytes(b"1234")
    items = [
        {"download_info": {"url": wheel.as_uri()}, "metadata": {"name": "rich", "version": "15"}},
        {"download_info": {"url": "http://127.0.0.1:9/a%2Bb.whl"}, "metadata": {"name": "a", "version": "1"}},
        {"download_info": {"url": tmp_path.as_uri()}, "metadata": {"name": "c", "version": "2"}},
    ]
    sizes = runpy.run_path(str(paths.sizes_script()))
    plan = read_plan("WARNING: something\n" + "\n".join(map(sizes["describe"], items)))
    assert plan[0] == Package("rich", "15", "my rich-15.whl", 4)
    assert [(each.file, each.size) for each in plan[1:]] == [("a+b.whl", None), (tmp_path.name, None)]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("NVIDIA GeForce RTX 3060, 580.65.06\nNVIDIA A2, 580.65.06", gpu.Gpu("NVIDIA GeForce RTX 3060", "580.65.06")),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", None),
        ("", None),
    ],
)
def test_gpu_by_its_driver(said, found, tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\ncat <<"END"\n{said}\nEND\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(gpu, "_PROC", Path("/nothing"))
    assert gpu.find_gpu() == found
    kernel = tmp_path / "version"
    kernel.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.223.02  Sat Oct  7 15:39:11 UTC 2023\n")
    monkeypatch.setattr(gpu, "_PROC", kernel)
    assert gpu.find_gpu() == (found or gpu.Gpu("NVIDIA", "470.223.02")) and (found or not gpu.find_gpu().is_usable)

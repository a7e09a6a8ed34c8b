"""Runs the CUDA kernels on the emulator: builds the driver, hands it a case, reads what the kernels wrote."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SOURCES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
FLAGS = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
CHECKS = ["-fsanitize=address,alignment,bounds,shift", "-fno-sanitize-recover=all"]
TYPES = (torch.float32, torch.bfloat16, torch.float16)
SMALL, LARGE = 64 * 1024, 227 * 1024  # shared memory that a block may have: compute capability 7.5 and 9.0


def build(compiler: str, folder: Path, *defines: str) -> Path:
    """Compiles kernels and driver as plain C++ with sanitizers."""
    objects = []
    for source in (*SOURCES, HERE / "driver.cpp"):
        target = folder / f"{source.stem}.o"
        command = [compiler, "-x", "c++", *FLAGS, *CHECKS, *defines, "-I", str(HERE / "emulator")]
        done = subprocess.run(
            [*command, "-c", str(source), "-o", str(target)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        objects.append(str(target))
    program = folder / "driver"
    subprocess.run([compiler, *CHECKS, *objects, "-o", str(program)], check=True)
    return program


def compiler() -> str | None:
    return shutil.which(os.environ.get("CXX") or "g++")


class Case:
    """The numbers and buffers of one run, and how to read its outputs."""

    def __init__(self, *numbers: int, shared_limit: int = LARGE):
        self.data = bytearray()
        self.wanted: list[torch.Tensor] = []
        self.numbers(shared_limit, *numbers)

    def numbers(self, *values: int) -> None:
        self.data += struct.pack(f"<{len(values)}q", *(int(value) for value in values))

    def strides(self, tensor: torch.Tensor | None) -> None:
        self.numbers(*(tensor.stride() if tensor is not None else (0, 0, 0, 0)))

    def tensor(self, tensor: torch.Tensor | None) -> None:
        """Hands over the storage up to the last element, so that reading on is an error."""
        if tensor is None:
            self.numbers(-1)
            return
        last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
        count = tensor.storage_offset() + last + 1 if tensor.numel() else 0
        storage = torch.tensor([], dtype=tensor.dtype).set_(tensor.untyped_storage(), 0, (count,), (1,))
        content = storage.view(torch.uint8).numpy().tobytes() if count else b""
        self.numbers(len(content), tensor.storage_offset() * tensor.element_size() if count else 0)
        self.data += content

    def output(self, like: torch.Tensor | None) -> None:
        """An output of this shape and type that lies like this (dense) tensor."""
        if like is None:
            self.numbers(-1)
            return
        self.wanted.append(like)
        self.numbers(like.numel() * like.element_size())

    def run(self, program: Path, folder: Path) -> list[torch.Tensor] | None:
        """Returns the outputs, or None where the kernels refused."""
        (folder / "case").write_bytes(self.data)
        done = subprocess.run(
            [str(program), str(folder / "case"), str(folder / "out")],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
        )
        if done.returncode == 2:
            return None
        assert done.returncode == 0, done.stderr
        content, at, outputs = (folder / "out").read_bytes(), 0, []
        for like in self.wanted:
            size = like.numel() * like.element_size()
            flat = torch.frombuffer(bytearray(content[at : at + size]), dtype=like.dtype) if size else like.new_empty(0)
            outputs.append(flat.as_strided(like.shape, like.stride()))
            at += size
        assert at == len(content)
        return outputs


def some(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_near(got: torch.Tensor, want: torch.Tensor, operands: torch.dtype) -> None:
    """Near in relation to the largest value; what was never written is no number and fails."""
    assert got.shape == want.shape
    limit = {torch.float32: 2e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}[operands]
    if want.numel():
        error = (got.double() - want).abs().max() / want.abs().max().clamp_min(1e-30)
        assert error <= limit, f"relative error {error:.2e}, at most {limit:.1e}"

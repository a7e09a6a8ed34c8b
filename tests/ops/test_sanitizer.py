"""Under `make test-asan`: that the tests beside this one run on the sanitized library, and on no other.

Without the environment variable that the Makefile sets, these tests are skipped.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from rotacube.ops import _library

pytestmark = pytest.mark.skipif(
    os.environ.get("ROTACUBE_EXPECT_SANITIZER") != "1", reason="not run by `make test-asan`"
)


def test_the_library_is_open():
    assert _library.CPU.loaded, _library.CPU.why


def test_the_open_library_is_the_sanitized_one():
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    opened = {line.split()[-1] for line in maps.splitlines() if line.endswith(_library.CPU_FILE)}
    assert opened == {str(_library.FOLDER / _library.CPU_FILE)}
    content = Path(opened.pop()).read_bytes()
    assert b"__asan_report_store" in content and b"__ubsan_handle" in content


def test_the_sanitizer_watches_the_memory_of_tensors():
    import torch

    poisoned = ctypes.CDLL(None).__asan_address_is_poisoned
    poisoned.argtypes = [ctypes.c_void_p]
    tensor = torch.zeros(1000)
    last = tensor.data_ptr() + tensor.nbytes
    assert not poisoned(last - 1)
    assert poisoned(last)

"""The CUDA kernels on an emulator of the CPU, built once for all tests."""

import emulated
import pytest


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    found = emulated.compiler()
    if found is None:
        pytest.skip("there is no g++, with which the CUDA kernels are compiled for the emulator")
    return emulated.build(found, tmp_path_factory.mktemp("emulator"))


@pytest.fixture
def run(driver, tmp_path):
    return lambda case: case.run(driver, tmp_path)

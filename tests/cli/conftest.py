"""The command line, called in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import rotacube

HOST = Path(__file__).with_name("cli_host.py")


@pytest.fixture(scope="session")
def environment():
    """Of processes that run the command line: this source, and no models but those that come with it."""
    return {**os.environ, "PYTHONPATH": str(Path(rotacube.__file__).parents[1]), "ROTACUBE_MODELS": ""}


@pytest.fixture(scope="module")
def host(environment):
    process = subprocess.Popen(
        [sys.executable, HOST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    yield process
    process.stdin.close()
    process.wait(20)


@pytest.fixture
def call(host, tmp_path):
    """Call the command line in a process of its own; returns code, out and err."""

    def run(*arguments, file_limit=0, **variables):
        arguments = [str(argument) for argument in arguments]
        call = {"arguments": arguments, "folder": str(tmp_path), "variables": variables, "file_limit": file_limit}
        host.stdin.write(json.dumps(call) + "\n")
        host.stdin.flush()
        return SimpleNamespace(**json.loads(host.stdout.readline()))

    return run

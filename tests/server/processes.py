"""The server as a real process, and who speaks to it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

import rotacube

TOKEN = "letters"
COMMAND = [sys.executable, "-m", "rotacube", "serve", "--port", "0", "--parent-pipe"]


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(Path(rotacube.__file__).parents[1]), "ROTACUBE_TOKEN": TOKEN, **more}


@contextlib.contextmanager
def running(**options):
    """The server's process and the JSON of its first line."""
    process = subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **{"env": environment(), **options}
    )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def client_of(first):
    return httpx.Client(
        base_url=f"http://127.0.0.1:{first['port']}",
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=30,
        trust_env=False,
    )

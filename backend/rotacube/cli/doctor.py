"""`rotacube doctor`: what the backend runs on, and why."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from rotacube.cli.terminal import say


def doctor(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Say what the backend runs on, which path every operator takes, and why."""
    from rotacube.doctor import diagnose

    found = diagnose()
    if as_json:
        print(json.dumps(asdict(found), ensure_ascii=False))
        return
    say(f"Rotacube {found.version}, PyTorch {found.torch}, {found.threads} threads")
    say(f"Device: {found.device}. {found.device_why}")
    for operator in found.operators:
        say(f"Operator {operator.name}: {operator.path} path; {operator.why}.")
    for line in found.compiled.sentences():
        say(line)
    for folder in found.model_folders:
        say(f"Models in {folder}")

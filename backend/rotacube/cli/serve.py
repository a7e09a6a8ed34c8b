"""`rotacube serve`: the HTTP interface that the plugin uses."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rotacube.errors import RotacubeError


def serve(
    port: Annotated[int, typer.Option(help="On 127.0.0.1; 0 takes a free one.")] = 0,
    parent_pipe: Annotated[bool, typer.Option("--parent-pipe", help="End when standard input closes.")] = False,
    print_openapi: Annotated[bool, typer.Option("--print-openapi", help="Print the contract and end.")] = False,
) -> None:
    """Serve the local HTTP interface; the token comes through ROTACUBE_TOKEN."""
    from rotacube.server.app import create_app
    from rotacube.server.serve import serve as run

    if print_openapi:
        print(json.dumps(create_app("").openapi()))
        return
    try:
        run(port, parent_pipe)
    except RotacubeError as error:
        print(json.dumps({"error": {"code": error.code, "message": error.message}}), flush=True)
        raise

"""`rotacube job`: a request of the HTTP interface, out of a file; what another program, or a layer's history, says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rotacube.cli.map import carry_out
from rotacube.cli.terminal import tell
from rotacube.errors import RequestRefused


def job(
    request: Annotated[Path, typer.Argument(help="A file with a JobRequest of the HTTP interface, as JSON.")],
) -> None:
    """Carry out a request of the HTTP interface, without a server."""
    from rotacube.memory import set_allocator

    set_allocator()  # before PyTorch takes any
    from pydantic import ValidationError

    from rotacube.server.schema import JobRequest
    from rotacube.server.translate import to_map, to_result

    try:
        asked = JobRequest.model_validate_json(request.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its beginning"
        raise RequestRefused(f"'{request}' is no request: at {place}, {first['msg']}. See docs/api.md.") from error
    except OSError as error:
        raise RequestRefused(f"The request '{request}' cannot be read ({error.strerror}). Check its name.") from error
    tell(result=to_result(carry_out(to_map(asked))).model_dump(mode="json"))

"""`rotacube job`: a request of the HTTP interface, out of a file; what another program, or a layer's history, says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rotacube.cli.map import carry_out
from rotacube.cli.terminal import tell
from rotacube.errors import RequestRefused

if TYPE_CHECKING:
    from pydantic import BaseModel

Asked = TypeVar("Asked", bound="BaseModel")


def job(
    request: Annotated[Path, typer.Argument(help="A file with a JobRequest of the HTTP interface, as JSON.")],
) -> None:
    """Carry out a request of the HTTP interface, without a server."""
    from rotacube.memory import set_allocator

    set_allocator()  # before PyTorch takes any
    from rotacube.server.schema import JobRequest
    from rotacube.server.translate import to_map, to_result

    asked = read_as(JobRequest, request)
    tell(result=to_result(carry_out(to_map(asked))).model_dump(mode="json"))


def read_as(kind: type[Asked], path: Path) -> Asked:
    """What a file says, in the words of the HTTP interface.

    Raises:
        RequestRefused: it says something else, or cannot be read.
    """
    from pydantic import ValidationError

    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its beginning"
        raise RequestRefused(f"'{path}' is no request: at {place}, {first['msg']}. See docs/api.md.") from error
    except OSError as error:
        raise RequestRefused(f"The request '{path}' cannot be read ({error.strerror}). Check its name.") from error

"""What `rotacube doctor` says of the compiled operators."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from rotacube.ops import CompiledStatus, compiled_status


@dataclass(frozen=True)
class Compiled(CompiledStatus):
    """The status, for the command line."""

    def to_json(self) -> dict[str, object]:
        """As plain data."""
        return asdict(self)


def compiled() -> Compiled:
    """Gathers it."""
    return Compiled(**asdict(compiled_status()))


def lines(found: Compiled) -> list[str]:
    """The sentences for a person."""
    return found.sentences()

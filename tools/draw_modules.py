#!/usr/bin/env python3
"""Draw which room of the code imports which, from the imports themselves, into `docs/architecture.md`.

A room is the first folder below a package, or a module that lies beside those folders. It stands one level above the
highest room that it imports. Rooms, or modules, that come back to themselves are an error that names them.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "docs" / "architecture.md"
# The package's folder, and what is said for its own `__init__`, which stands on top of all rooms.
PACKAGES = {
    "backend": (REPO / "backend" / "rotacube", "rotacube (public names)"),
    "plugin": (REPO / "qgis_plugin", "qgis_plugin (classFactory)"),
}
VERSION = "_version"  # `from rotacube import __version__` means this module: it asks for no other name

Module = tuple[str, ...]
Graph = Mapping[str, set[str]]


class CycleFound(ValueError):
    """Rooms or modules that come back to themselves by way of their imports."""


def main() -> int:
    """Write the pictures, or say why there are none."""
    try:
        page = drawn(PAGE.read_text(encoding="utf-8"))
    except ValueError as error:
        print(f"draw_modules: {error}", file=sys.stderr)
        return 2
    PAGE.write_text(page, encoding="utf-8")
    print(f"{PAGE.relative_to(REPO)} is drawn.")
    return 0


def drawn(page: str) -> str:
    """The page with a picture of each package between its markers.

    Raises:
        CycleFound: there is no order to draw.
        ValueError: the page has no markers.
    """
    for name, (folder, top) in PACKAGES.items():
        begin, end = markers(name)
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"the page has no place for the {name}'s picture: '{begin}' and '{end}'")
        page = f"{before}{begin}\n\n{picture(folder, top)}\n{end}{after}"
    return page


def markers(name: str) -> tuple[str, str]:
    """The comments that a package's picture stands between."""
    return f"<!-- modules of the {name}: `make modules` draws them -->", f"<!-- end of the {name} -->"


def picture(folder: Path, top: str) -> str:
    """A package's rooms from the top to the bottom: level, name, and what each imports directly, all of it below.

    Args:
        folder: of the package.
        top: what is said for its `__init__`.

    Raises:
        CycleFound: rooms, or modules, come back to themselves.
    """
    graph = rooms(module_graph(folder), top)
    levels = level_of(graph, top)
    wide = max(map(len, graph))
    lines = [
        f"    {levels[room]:2}  {room.ljust(wide)}  {', '.join(sorted(graph[room])) or '-'}"
        for room in sorted(graph, key=lambda room: (-levels[room], room))
    ]
    return "\n".join(lines) + "\n"


def module_graph(folder: Path) -> dict[Module, set[Module]]:
    """The modules of a package, as parts of their names below it (its own `__init__` has none), and their imports.

    Raises:
        CycleFound: a module comes back to itself.
    """
    paths = {_name(path.relative_to(folder)): path for path in folder.rglob("*.py")}
    graph = {module: set(imported(folder.name, module, paths)) - {module} for module in paths}
    _in_order({_dotted(folder.name, m): {_dotted(folder.name, o) for o in others} for m, others in graph.items()})
    return graph


def imported(package: str, module: Module, paths: Mapping[Module, Path]) -> Iterator[Module]:
    """The package's own modules that one of them imports, wherever in its file, and for type checkers too.

    What is imported lazily counts as well: `import_module("...")`, and in the top `__init__` every text that is a
    module's name.
    """
    path = paths[module]
    inside = module if path.name == "__init__.py" else module[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, *rest = alias.name.split(".")
                if first == package and tuple(rest) in paths:
                    yield tuple(rest)
        elif isinstance(node, ast.ImportFrom):
            base = _base(package, inside, node)
            if base is not None:
                yield from (_source(base, alias.name, paths) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and "import_module" in ast.unparse(node.func):
            yield from _spelled(package, node.args[0], paths)
        elif not module:
            yield from _spelled(package, node, paths)


def rooms(graph: Mapping[Module, set[Module]], top: str) -> dict[str, set[str]]:
    """The rooms, and which others each imports directly."""
    found: dict[str, set[str]] = {}
    for module, others in graph.items():
        room = module[0] if module else top
        found.setdefault(room, set()).update(other[0] if other else top for other in others)
    return {room: others - {room} for room, others in found.items()}


def level_of(graph: Graph, top: str) -> dict[str, int]:
    """The level of each room, from 1. The top stands on all others: whoever imports it comes back to it.

    Raises:
        CycleFound: a room comes back to itself.
    """
    levels: dict[str, int] = {}
    for room in _in_order({**graph, top: set(graph) - {top}}):
        below = set(graph) - {top} if room == top else graph[room]
        levels[room] = 1 + max((levels[other] for other in below), default=0)
    return levels


def _in_order(graph: Graph) -> list[str]:
    """All names, each after what it imports."""
    try:
        return list(graphlib.TopologicalSorter({name: sorted(graph[name]) for name in sorted(graph)}).static_order())
    except graphlib.CycleError as error:
        raise CycleFound(f"imports in a circle: {' -> '.join(reversed(error.args[1]))}") from error


def _name(path: Path) -> Module:
    parts = path.with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def _dotted(package: str, module: Module) -> str:
    return ".".join((package, *module))


def _base(package: str, inside: Module, node: ast.ImportFrom) -> Module | None:
    """Where an import takes its names from, if that lies in the package."""
    named = tuple(node.module.split(".")) if node.module else ()
    if node.level:
        return inside[: len(inside) - node.level + 1] + named
    return named[1:] if named[0] == package else None


def _spelled(package: str, node: ast.AST, paths: Mapping[Module, Path]) -> Iterator[Module]:
    """The module that a text names, with or without the package's own name before it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        parts = tuple(node.value.lstrip(".").split("."))
        yield from {parts, parts[1:] if parts[0] == package else parts} & (set(paths) - {()})


def _source(base: Module, name: str, paths: Mapping[Module, Path]) -> Module:
    """The module that a name comes from."""
    if (*base, name) in paths:
        return (*base, name)
    if not base and name == "__version__" and (VERSION,) in paths:
        return (VERSION,)
    if base not in paths:
        raise ValueError(f"an import leads nowhere: {'.'.join((*base, name))}")
    return base


if __name__ == "__main__":
    sys.exit(main())

"""That everything lies where the pages say it does, and that what belongs to a new thing came with it."""

import re
from pathlib import Path
from typing import get_args

import pytest

from rotacube.cli import app
from rotacube.errors import RotacubeError
from rotacube.inference.outputs import KINDS
from rotacube.jobs.queue import State
from rotacube.networks.registry import NETWORKS
from rotacube.ops import __all__ as exported
from rotacube.server import schema

REPO = Path(__file__).resolve().parents[1]
BACKEND = REPO / "backend" / "rotacube"
PAGES = ("docs/architecture.md", "CONTRIBUTING.md")
BASES = (REPO, BACKEND, REPO / "qgis_plugin")  # the pages may leave out where a package lies
MADE = ("build/", "dist/", ".venv")  # by commands, not by hand
SUFFIXES = (".py", ".md", ".sh", ".txt", ".toml", ".html", ".cpp", ".cu", ".h")
OPERATORS = sorted({p.stem for p in BACKEND.glob("ops/[!_]*.py")} - {"status", "rotation_plan"})
SHARED = {"__init__", "registry", "layers", "dense", "folding", "pretrained", "published", "sizes", "work"}
RIVAL = {"boxes", "mask_rcnn"}  # finds objects: it is measured against, and no map is made with it


def quoted(page):
    """What a page has in backticks that looks like a path of the repository."""
    for text in re.findall(r"`([^`]+)`", page):
        if re.fullmatch(r"[\w.<>*-][\w.<>*/-]*", text) and ("/" in text or text.endswith(SUFFIXES)):
            yield text


def in_tree(page):
    """The paths of an indented tree: names, parted by commas, at two spaces a level, then what they are."""
    folders = []
    for line in page.partition("## Where things are\n")[2].partition("\n## ")[0].splitlines():
        found = re.match(r"( {4,24})((?:\S+, )*\S+)(?: {2,}|$)", line)
        if found:
            level = len(found[1]) // 2 - 2
            for name in found[2].split(", "):
                yield "/".join([*folders[:level], name.rstrip("/")])
            folders[level:] = [name.rstrip("/")]


def is_there(path):
    """Whether a path leads somewhere; of a pattern, whether it fits anything."""
    pattern = re.sub(r"<\w+>", "*", path.rstrip("/"))
    return path.startswith(MADE) or any(next(base.glob(pattern), None) for base in BASES)


@pytest.mark.parametrize("name", PAGES)
def test_every_path_on_the_page_leads_somewhere(name):
    paths = list(quoted((REPO / name).read_text(encoding="utf-8")))
    assert len(paths) > 20
    assert sorted({path for path in paths if not is_there(path)}) == []


@pytest.mark.parametrize("name", PAGES)
def test_every_link_on_the_page_leads_somewhere(name):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (REPO / name).read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not ((REPO / name).parent / link).exists()] == []


def test_tree_is_what_is_there():
    paths = set(in_tree((REPO / PAGES[0]).read_text(encoding="utf-8")))
    assert len(paths) > 80
    assert sorted(path for path in paths if not (REPO / path).exists()) == []
    packages = {path.parent for root in BASES[1:] for path in root.rglob("__init__.py")}
    assert sorted({str(path.relative_to(REPO)) for path in packages} - paths) == []


def test_what_leads_nowhere_is_found():
    page = "`backend/rotacube/gone.py`, `ops/cube.py`, `GET /v1`, `qgis.*`, `csrc/torch/<name>_cpu.cpp`, `dist/a.b`"
    page += (
        "\n## Where things are\n\n    qgis_plugin/\n      gui/    the dock\n        a.py, dock.py  both\n      gone/\n"
    )
    missing = [path for path in quoted(page) if not is_there(path)]
    assert missing == ["backend/rotacube/gone.py"]
    assert [path for path in in_tree(page) if not (REPO / path).exists()] == [
        "qgis_plugin/gui/a.py",
        "qgis_plugin/gone",
    ]


def test_contract_knows_the_products_that_a_run_can_make():
    assert set(get_args(schema.ProductKind)) == set(KINDS)
    assert set(get_args(schema.ProductFormat)) == {name for kind in KINDS.values() for name in kind.formats}


def test_every_product_is_written_by_a_file_of_its_own():
    files = [kind.make.__module__ for kind in KINDS.values()]
    assert len(set(files)) == len(files)
    assert all(file.startswith("rotacube.inference.outputs.") for file in files)


def test_contract_knows_the_states_of_a_job():
    assert set(get_args(schema.JobState)) == set(get_args(State))


def test_every_command_is_registered():
    files = {f"rotacube.cli.{path.stem}" for path in BACKEND.glob("cli/*.py")} - {"rotacube.cli.terminal"}
    commands = {command.callback.__module__ for command in app.registered_commands}
    groups = {group.typer_instance.registered_callback.callback.__module__ for group in app.registered_groups}
    assert commands | groups == files - {"rotacube.cli.__init__"}


def test_every_error_has_a_code_of_its_own():
    errors = list(subclasses(RotacubeError))
    assert len(errors) > 10
    assert [error.__name__ for error in errors if "code" not in vars(error)] == []
    codes = [error.code for error in (RotacubeError, *errors)]
    assert sorted({code for code in codes if codes.count(code) > 1}) == []
    assert {error.__module__ for error in errors} == {"rotacube.errors"}


def subclasses(kind):
    """All classes below one."""
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_came_with_all_that_belongs_to_it(name):
    init = (BACKEND / "ops" / "__init__.py").read_text(encoding="utf-8")
    line = re.search(rf"^from rotacube\.ops\.{name} import (.+)$", init, re.MULTILINE)
    assert line and {word for word in line[1].split(", ") if word.endswith("_reference")} & set(exported)
    for path in (
        f"csrc/torch/{name}_cpu.cpp",
        f"csrc/torch/{name}_cuda.cpp",
        f"backend/rotacube/nn/{name}.py",
        f"tests/ops/test_{name}.py",
        f"tests/nn/test_{name}_layer.py",
    ):
        assert (REPO / path).is_file(), path
    assert f"`ops/{name}.py`" in (REPO / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_family_of_networks_is_reached_by_the_registry():
    files = {path.stem for path in BACKEND.glob("networks/*.py")}
    assert files >= SHARED | RIVAL
    assert {network.build.__module__.rpartition(".")[2] for network in NETWORKS.values()} == files - SHARED - RIVAL

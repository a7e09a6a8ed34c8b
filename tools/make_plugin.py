#!/usr/bin/env python3
"""Build `dist/rotacube-<version>.zip`, the plugin as QGIS installs it.

The folder `rotacube/` in it holds the plugin, its metadata, icons and translations, the backend as a pure-Python source
tree, and the models that ship, where that tree looks for them: cards and safetensors, which are data and hold no code.
Binaries stay out: they belong to the backend's installation. The same sources give the same bytes.
"""

from __future__ import annotations

import configparser
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import tomllib

REPO = Path(__file__).resolve().parents[1]
TOP = "rotacube"
LIMIT_BYTES = 25_000_000
EPOCH = (2020, 1, 1, 0, 0, 0)
FORBIDDEN = (".so", ".dll", ".exe", ".sh", ".bat", ".pyd", ".dylib", ".pyc", ".safetensors", ".pt", ".pth", ".onnx")
BACKEND_KINDS = (".py", ".typed", ".json", ".txt", ".md")
MODELS = "resources/models/"
MODEL_KINDS = (".json", ".safetensors")
SKIPPED_FOLDERS = ("__pycache__", ".git", "build", "_lib")


def main() -> int:
    """Build the zip and say where it is."""
    try:
        path = build(REPO / "dist")
    except (OSError, ValueError) as error:
        print(f"make_plugin: {error}", file=sys.stderr)
        return 2
    print(f"{path} ({path.stat().st_size / 1e6:.2f} MB)")
    return 0


def build(folder: Path) -> Path:
    """Write the zip into a folder and give its path."""
    target = folder / f"rotacube-{version()}.zip"
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(contents().items()):
            info = zipfile.ZipInfo(f"{TOP}/{name}", EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content)
    size = part.stat().st_size
    if size > LIMIT_BYTES:
        part.unlink()
        raise ValueError(
            f"the zip would have {size / 1e6:.1f} MB; the plugin repository takes {LIMIT_BYTES / 1e6:.0f} MB"
        )
    part.replace(target)
    return target


def contents() -> dict[str, bytes]:
    """What goes into the plugin's folder: name below it, and bytes."""
    files: dict[str, bytes] = {}
    for path in _walk(REPO / "qgis_plugin"):
        files[path.relative_to(REPO / "qgis_plugin").as_posix()] = path.read_bytes()
    for path in _walk(REPO / "backend"):
        if path.suffix in BACKEND_KINDS:
            files["backend/" + path.relative_to(REPO / "backend").as_posix()] = path.read_bytes()
    for folder in ("icons", "styles", "i18n"):
        for path in _walk(REPO / "resources" / folder):
            files[path.relative_to(REPO).as_posix()] = path.read_bytes()
    for path in _walk(REPO / MODELS):
        if path.suffix in MODEL_KINDS:
            files[path.relative_to(REPO).as_posix()] = path.read_bytes()
    for name in ("metadata.txt", "LICENSE", "README.md", "CHANGELOG.md"):
        if (REPO / name).is_file():
            files[name] = (REPO / name).read_bytes()
    files["backend/requirements.txt"] = "".join(f"{line}\n" for line in requirements()).encode()
    wrong = sorted(name for name in files if name.lower().endswith(FORBIDDEN) and not _is_model(name))
    if wrong:
        raise ValueError(f"these do not belong into the zip: {', '.join(wrong)}")
    return files


def requirements() -> list[str]:
    """What the backend, training and the matching of frames need, as `pyproject.toml` says it."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["train"], *extras["frames"]]


def version() -> str:
    """The version, from `metadata.txt`."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(REPO / "metadata.txt", encoding="utf-8")
    return parser["general"]["version"]


def _is_model(name: str) -> bool:
    return name.startswith(MODELS) and name.endswith(MODEL_KINDS)


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if not path.is_file() or path.suffix == ".pyc":
            continue
        if any(part in SKIPPED_FOLDERS or part.endswith(".egg-info") or part.startswith(".") for part in parts):
            continue
        yield path


if __name__ == "__main__":
    sys.exit(main())

"""What a raster reads, at any depth: the files behind virtual rasters, and whether any of it lies on the network.

GDAL names the sources of a virtual raster one level deep, and opens them without asking; so the descriptions that refer
to others (VRT, tile indexes, web services) are read here, as text, before GDAL sees them.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

from rotacube.errors import RasterMissing, RasterUnreadable

HEAD = 4096
"""Bytes of a file that tell what it is."""
LARGEST = 256 * 2**20
"""Bytes of a description that is read."""
MOST = 2_000_000
"""How many reads of other files a raster may come to, those behind its sources counted as often as they are named."""
DEEPEST = 20
BESIDE = (".aux.xml", ".msk", ".msk.aux.xml", ".msk.ovr", ".ovr", ".ovr.aux.xml")
"""What GDAL takes for a part of a raster where it lies beside it."""
_VSI_NETWORK = r"/vsi(?:curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)(?:_streaming)?[/?]"
_NETWORK = re.compile(
    rf"(?:https?|ftp|s3|gs|az|oss|swift|hdfs|webhdfs)://|{_VSI_NETWORK}"
    r"|^(?:WMS|WMTS|WCS|HTTP|PLMOSAIC|PG|EEDA|EEDAI|DAAS|NGW|OGCAPI|STACTA|STACIT|IIP|RASDAMAN|TILEDB):|<GDAL_WMS|<WMS|<WCS_GDAL",
    re.IGNORECASE,
)
_INDEXED = re.compile(rb"https?://(?!www\.(?:geopackage\.org|opengis\.net|w3\.org))|" + _VSI_NETWORK.encode())
_STREAM = re.compile(r"^/vsistdin|^/dev/|^/proc/self/fd|^-$")
_INDEX_NAME = re.compile(r"^GTI:|\.gti\.(?:gpkg|fgb|parquet)$", re.IGNORECASE)
_REFERRING = {"sourcefilename", "sourcedataset", "indexdataset"}
_REFERRING_KEYS = {"x_dataset", "y_dataset", "overview_file"}
_GREEDY = (b"CDF", b"\x89HDF\r\n\x1a\n", b"\x0e\x03\x13\x01")
"""How netCDF, HDF5 and HDF4 begin."""
_SERVICES = (b"<GDAL_WMS", b"<WMS", b"<WCS_GDAL", b"<GDAL_WMTS", b"<WMT_MS_Capabilities", b"<Capabilities", b"<TileMap")


@dataclass
class References:
    """What a raster reads.

    Attributes:
        files: that are there.
        network: an address that it would ask over the network; None where there is none.
        missing: names of files that are not there.
        complete: whether all that it reads is known; a tile index names its tiles where only GDAL finds them.
        greedy: whether a file is among them whose format's library takes as much memory as a damaged one asks for.
    """

    files: set[Path] = field(default_factory=set)
    network: str | None = None
    missing: list[str] = field(default_factory=list)
    complete: bool = True
    greedy: bool = False


def references_of(name: str) -> References:
    """Follow what a raster refers to.

    Args:
        name: what GDAL is to open.

    Raises:
        RasterMissing: there is no such file.
        RasterUnreadable: it is a stream or a device, refers to itself, or to more than can be read.
    """
    found = References()
    _Walk(found, name).follow(name, Path(), 0)
    if found.missing == [name]:
        raise RasterMissing(f"There is no raster '{name}'. Check the path; the file may have been moved or deleted.")
    return found


def add_overviews(found: References, name: str, top: str) -> None:
    """Follow also where a raster says that its overviews lie; GDAL goes on without them if they are not there.

    Args:
        found: what the raster reads beside them.
        name: as its metadata say it.
        top: the raster.

    Raises:
        RasterUnreadable: as `references_of` says.
    """
    own, more = local_file(top, Path()), References()
    _Walk(more, top).follow(_overview(name, own.parent if own else Path()), Path(), 1)
    found.files |= more.files
    found.network = found.network or more.network
    found.complete &= more.complete


class _Walk:
    """One pass over a raster's references; each file is read once, and its weight kept."""

    def __init__(self, found: References, top: str) -> None:
        self.found, self.top = found, top
        self._weights: dict[Path, int] = {}
        self._open: set[Path] = set()

    def follow(self, name: str, folder: Path, depth: int, needed: bool = True) -> int:
        """Note what a name refers to, and count the reads behind it; what is needed is missed where it is not there."""
        network = _NETWORK.search(name)
        if network:
            self.found.network = self.found.network or name
            return 1
        if _STREAM.search(name):
            raise _no_file(name)
        path = local_file(name, folder)
        if path is None:
            if name.lstrip().startswith("<") or name.startswith("/vsimem/"):
                raise RasterUnreadable(
                    "A raster has to be a file: save the description as one (such as .vrt), and give its path."
                )
            if needed:
                self.found.missing.append(name)
            return 1
        if _INDEX_NAME.search(name):
            self._index(path)
        if path in self._open or depth > DEEPEST:
            raise RasterUnreadable(
                f"'{self.top}' cannot be read: '{path.name}' refers to itself, or through too many others. Make the "
                "virtual raster again."
            )
        if path not in self._weights:
            self._open.add(path)
            self._weights[path] = self._inside(path, depth) + self._beside(path, depth)
            self._open.discard(path)
        return self._weights[path]

    def _inside(self, path: Path, depth: int) -> int:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            self.found.files.add(path)
            return 1
        if not stat.S_ISREG(mode):
            raise _no_file(str(path))
        for beside in (path.with_name(path.name + suffix) for suffix in BESIDE):
            if beside.exists() and not beside.is_file():
                raise _no_file(str(beside))
        self.found.files.add(path)
        with path.open("rb") as stream:
            head = stream.read(HEAD)
        self.found.greedy |= head.startswith(_GREEDY)
        start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
        if b"<VRTDataset" in head or b"<GDALTileIndexDataset" in head:
            weight = 1
            if b"<GDALTileIndexDataset" in head:
                self._index(path)
            for reference, folder, needed in _named(path):
                weight += self.follow(reference, folder, depth + 1, needed)
                if weight > MOST:
                    raise RasterUnreadable(
                        f"'{self.top}' cannot be read: what its sources refer to comes to more than {MOST:,} reads. "
                        "Make one file of it with gdal_translate, in parts if need be."
                    )
            return weight
        if start[:1] == b"<":
            if any(service in head for service in _SERVICES):
                self.found.network = self.found.network or str(path)
            elif b"<kml" in head or b"<MRF_META" in head:
                self._scan(path)
        elif start[:1] == b"{" and b'"stac' in head:
            self.found.network = self.found.network or str(path)
        return 1

    def _beside(self, path: Path, depth: int) -> int:
        """Overviews and masks beside a file, which may be virtual; refuses what GDAL would wait for or drown in there.

        GDAL looks for world files, coefficients and the like under many names that begin as the raster's.
        """
        if path.is_dir():
            return 0
        stem = path.stem.lower()
        for odd in _no_files(path.parent, path.parent.stat().st_mtime_ns):
            if odd.name.lower().startswith((stem + ".", stem + "_")):
                raise RasterUnreadable(
                    f"'{odd}', beside the raster, is no ordinary file but a pipe or a device, which GDAL may wait for. "
                    "Remove it, or copy the raster to a folder of its own."
                )
        weight = 0
        for suffix in BESIDE:
            beside = path.with_name(path.name + suffix)
            if not beside.is_file():
                continue
            if suffix in (".ovr", ".msk"):
                weight += self.follow(str(beside), Path(), depth + 1)
            elif suffix.endswith(".xml") and beside.stat().st_size > LARGEST:
                raise _too_large(beside)
        return weight

    def _index(self, path: Path) -> None:
        self.found.complete = False
        self._scan(path)

    def _scan(self, path: Path) -> None:
        """Whether a file of another kind names an address anywhere."""
        if path.is_file() and path.stat().st_size <= LARGEST:
            hit = _INDEXED.search(path.read_bytes())
            if hit:
                self.found.network = self.found.network or str(path)


def local_file(name: str, folder: Path) -> Path | None:
    """The file or folder of this machine that a name of GDAL's stands for, resolved.

    A name may have a driver before it, a member of an archive or a part of a file behind it, or be an address of GDAL's
    virtual file systems: `GTIFF_DIR:2:a.tif`, `NETCDF:"a.nc":band`, `/vsizip/a.zip/b.tif`, `/vsisubfile/9_99,a.tif`.
    """
    for candidate in _readings(name):
        try:
            path = folder / candidate
            if candidate and path.exists():
                return path.resolve()
        except (OSError, ValueError):  # longer than a name may be, or with a NUL
            continue
    return None


def _readings(name: str) -> Iterator[str]:
    yield name
    plain = not (name.startswith("/vsi") or ":" in name or "{" in name)
    if plain or len(name) > 5000:
        return
    starts = [m.end() for m in re.finditer(r'^/vsi[a-z]+/|[:",{?=]|://', name)]
    for start in starts:
        rest = name[start:]
        yield rest
        for end in [m.start() for m in re.finditer(r'[/":?}&]', rest)][::-1]:
            yield rest[:end]


def _named(path: Path) -> Iterator[tuple[str, Path, bool]]:
    """The names in a description, the folders that they are relative to, and whether nothing is read without them."""
    if path.stat().st_size > LARGEST:
        raise _too_large(path)
    try:
        # Expat, which reads it, bounds how far entities may grow. GDAL knows neither namespaces nor small and capital
        # letters, and begins a text behind its blanks.
        for _, element in ElementTree.iterparse(path):  # noqa: S314
            tag = element.tag.rpartition("}")[2].lower()
            attributes = {key.lower(): value for key, value in element.attrib.items()}
            name = "".join(element.itertext()).lstrip()
            if name and tag in _REFERRING:
                absolute = attributes.get("relativetovrt", "0").lower() in ("0", "false", "no", "off")
                yield name, Path() if absolute and tag != "indexdataset" else path.parent, True
            elif name and _refers(tag, attributes):
                name = _overview(name, path.parent)
                yield name, path.parent if local_file(name, path.parent) else Path(), False
            element.clear()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise RasterUnreadable(
            f"'{path}' is damaged: it is no XML ({error}). Make the virtual raster again."
        ) from error


def _refers(tag: str, attributes: dict[str, str]) -> bool:
    """Whether an element names a file of heights, of places, of overviews or of factors."""
    by_key = tag == "mdi" and attributes.get("key", "").lower() in _REFERRING_KEYS
    return tag == "dempath" or by_key or (tag == "argument" and "filename" in attributes.get("name", "").lower())


def _overview(name: str, folder: Path) -> str:
    """A name of overviews, which may be relative to the raster's folder in a way of its own."""
    return re.sub(r"(?i)^:::BASE:::", lambda _: f"{folder}/", name)


@lru_cache(maxsize=64)
def _no_files(folder: Path, changed: int) -> tuple[Path, ...]:
    """What in a folder, as it was changed last, is neither a file nor a folder: pipes, sockets, devices."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_file() and not entry.is_dir() and Path(entry.path).exists():
                found.append(Path(entry.path))
    return tuple(found)


def _too_large(path: Path) -> RasterUnreadable:
    return RasterUnreadable(f"'{path}' is a description of more than {LARGEST >> 20} MB: too large to be read.")


def _no_file(name: str) -> RasterUnreadable:
    return RasterUnreadable(
        f"'{name}' is no ordinary file but a stream or a device. Copy the raster into a file, and give its path."
    )

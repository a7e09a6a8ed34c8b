"""What a map of drone frames is handed on as: an overlay of the classes over the photo, and a report."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from rotacube.errors import JobCancelled
from rotacube.handout.kmz import KmzRequest, check_kmz, kmz_of
from rotacube.handout.report import ReportRequest, check_installed, check_report, report_of
from rotacube.inference.frames_request import FramesRequest

KMZ, REPORT = "map.kmz", "report.pdf"


def check_handouts(request: FramesRequest, names: Collection[str]) -> None:
    """Check, before the frames are mapped, that files can be written.

    Args:
        request: what is mapped.
        names: of the files: `KMZ`, `REPORT`.

    Raises:
        OutputUnwritable: one is there already, and may not be replaced.
        OptionsRefused: what writes it is not installed.
    """
    if REPORT in names:
        check_installed(request.output / REPORT)
    if request.output.is_dir():
        for name in names:
            (check_kmz if name == KMZ else check_report)(request.output / name, request.overwrite)


def hand_out(
    request: FramesRequest,
    names: Collection[str],
    *,
    on_step: Callable[[str, float], None] = lambda what, share: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Path]:
    """Write files of the map that a run has made.

    Args:
        request: what was mapped.
        names: of the files: `KMZ`, `REPORT`.
        on_step: called with what is being done, in words, and its share that is done.
        cancelled: asked before each step; a true answer ends the work.

    Returns:
        Their paths.

    Raises:
        RotacubeError: a subclass that says what is wrong; the map stays.
        JobCancelled: `cancelled` said so; the map stays.
    """
    mask, photo = (str(request.path(product)) for product in ("mask", "rgb"))
    title = request.folder.resolve().name
    asked = [request.output / name for name in (KMZ, REPORT) if name in names]
    for number, path in enumerate(asked):
        try:
            if path.name == KMZ:
                overlay = KmzRequest(mask, path, photo, title=title, overwrite=request.overwrite)
                kmz_of(overlay, on_step=on_step, cancelled=cancelled)
            else:
                shares = request.path("statistics")
                page = ReportRequest(mask, path, photo, shares, (), title, overwrite=request.overwrite)
                report_of(page, on_step=on_step, cancelled=cancelled)
        except JobCancelled as error:
            lacking = " and ".join(path.name for path in asked[number:])
            raise JobCancelled(f"Cancelled; the map is in '{request.output}', without {lacking}.") from error
    return asked

"""From a mask to a report of one page: the map, how much each class covers, and how it came about."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rotacube.errors import OptionsRefused
from rotacube.handout.content import Content, picture_of
from rotacube.handout.figures import figures_of, read_figures
from rotacube.handout.page import html_of
from rotacube.handout.settings import settings_of, terms_of, title_of
from rotacube.inference.of_mask import cancellable, opened_mask
from rotacube.raster.destination import Destination, check_output, sweep, unwritable
from rotacube.raster.references import References, references_of
from rotacube.texts import check_output_name, check_raster

PDF, HTML = ".pdf", ".html"
SUFFIXES = (PDF, HTML, ".htm")


@dataclass(frozen=True)
class ReportRequest:
    """What to report of.

    Attributes:
        mask: what GDAL opens.
        output: where it goes: .pdf or .html.
        photo: a raster whose colours lie under the classes; none if empty.
        statistics: the file with the mask's statistics; they are made if None.
        classes: names or values of the classes that count; all but the background if empty.
        title: of the report; the mask's name if empty.
        band: of the mask, from 1.
        overwrite: whether a file that is there may be replaced.
    """

    mask: str
    output: Path
    photo: str = ""
    statistics: Path | None = None
    classes: tuple[str, ...] = ()
    title: str = ""
    band: int = 1
    overwrite: bool = False


def check_report(output: Path, overwrite: bool, references: References | None = None) -> None:
    """Check, before any work, that a report can be written.

    Raises:
        OptionsRefused: what writes a PDF is not installed.
        OutputUnwritable: as `check_output` says.
    """
    check_output_name(str(output))
    check_output(output, overwrite, references or References(), SUFFIXES)
    check_installed(output)


def check_installed(output: Path) -> None:
    """Check that what writes such a file is there.

    Raises:
        OptionsRefused: it is not.
    """
    if output.suffix.lower() == PDF and find_spec("matplotlib") is None:
        raise OptionsRefused(
            "A report as PDF needs the package matplotlib: pip install 'rotacube[report]'. Or let its name end in "
            ".html."
        )


def report_of(
    request: ReportRequest,
    *,
    on_step: Callable[[str, float], None] = lambda what, share: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Write a report of a mask.

    Args:
        request: what to write.
        on_step: called with what is being done, in words, and its share that is done.
        cancelled: asked before each step; a true answer ends the work.

    Raises:
        RotacubeError: a subclass that says what is wrong; nothing is left behind.
        JobCancelled: `cancelled` said so; nothing is left behind.
    """
    step = cancellable(on_step, cancelled)
    for name in filter(None, (request.mask, request.photo)):
        check_raster(name)
    output = request.output
    check_report(output, request.overwrite, references_of(request.photo) if request.photo else None)
    if request.statistics is not None and request.classes:
        raise OptionsRefused("Statistics that are there already count all classes. Leave out one of both.")
    with opened_mask(request.mask, request.band, request.classes, step) as source:
        check_report(output, request.overwrite, source.files)
        if request.statistics is not None:
            figures = read_figures(request.statistics, source)
        else:
            figures = figures_of(request.mask, request.band, request.classes, source, step)
        picture = picture_of(source, request.photo, lambda share: step("Drawing the map", share))
        content = Content(
            request.title or title_of(request.mask),
            datetime.datetime.now(datetime.timezone.utc).astimezone().strftime("%d %B %Y").lstrip("0"),
            picture,
            bool(request.photo),
            figures,
            settings_of(source),
            terms_of(source),
        )
    step("Writing", 0.0)
    sweep(output.resolve().parent)
    destination = Destination(output, request.overwrite)
    try:
        part = destination.part("report")
        part.write_bytes(_laid_out(content, output.suffix.lower()))
        step("Writing", 1.0)
        destination.place(part)
    except OSError as error:
        raise unwritable(output, error) from error
    finally:
        destination.drop()


def _laid_out(content: Content, suffix: str) -> bytes:
    if suffix != PDF:
        return html_of(content).encode()
    from rotacube.handout.pdf import pdf_of  # Matplotlib

    return pdf_of(content)

"""Products of a mask that is there already, whoever made it: its polygons, and its statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from rotacube import __version__
from rotacube.errors import JobCancelled, RotacubeError
from rotacube.inference.findings import LABELS, Finding
from rotacube.inference.needs import needs_of
from rotacube.inference.outputs import KINDS, ClassTotal, Setting, Totals, check_format, format_of, opened
from rotacube.inference.pieces import Splitter, patches_of
from rotacube.inference.request import check_smallest
from rotacube.inference.store import Store, folder_of
from rotacube.models.card import PLANTS, ROOFS, ModelCard, Separation
from rotacube.models.store import find_model
from rotacube.raster.destination import Destination, check_output, sweep
from rotacube.raster.file_source import CACHE_BYTES
from rotacube.raster.grid import Box
from rotacube.raster.mask_source import MaskSource
from rotacube.texts import check_output_name, check_raster
from rotacube.vector.layers import read_polygons

POLYGONS, STATISTICS = "polygons", "statistics"
Step = Callable[[str, float], None]
"""Is told what is being done, in words, and its share that is done."""


@dataclass(frozen=True)
class MaskRequest:
    """What to make of a mask.

    Attributes:
        mask: what GDAL opens.
        kind: "polygons" or "statistics".
        output: where it goes.
        band: of the mask, from 1.
        classes: names or values of the classes that count; all but 0 if empty.
        smallest: square metres of the smallest polygon; if None that of the model that made the mask, else of
            `smallest_of`.
        regularise: whether polygons get straight walls; for roofs and for what no model of ours has made if None.
        zones: a layer of polygons whose statistics are wanted; none if empty.
        zone_field: the field with their names; they are numbered if empty.
        overwrite: whether a file that is there may be replaced.
    """

    mask: str
    kind: str
    output: Path
    band: int = 1
    classes: tuple[str, ...] = ()
    smallest: float | None = None
    regularise: bool | None = None
    zones: str = ""
    zone_field: str = ""
    overwrite: bool = False


@dataclass(frozen=True)
class MaskResult:
    """What was made: of each class value and total, and sentences that a person should know."""

    classes: list[tuple[int, ClassTotal]]
    notes: list[str]


class _MaskStore(Store):
    """Reads a mask where a run reads its strips."""

    def __init__(self, folder: Path, source: MaskSource) -> None:
        super().__init__(folder, source.grid.extent, [LABELS])
        self._source = source

    def read(self, window: Box, names: Sequence[str]) -> NDArray[np.uint8]:
        """Class ids (1, height, width) of a window."""
        return self._source.read(window)[None]


class _MaskSetting(Setting):
    """A mask does not say where two roofs touch: what is connected is one piece."""

    def splitter(self, smallest: int) -> Splitter:
        """How the mask becomes pieces."""
        return patches_of(0 if self.of_roofs else smallest)


def cancellable(on_step: Step, cancelled: Callable[[], bool]) -> Step:
    """A step that raises `JobCancelled` where the answer is true, and else tells of itself."""

    def step(what: str, share: float) -> None:
        if cancelled():
            raise JobCancelled("Cancelled; nothing was written.")
        on_step(what, share)

    return step


@contextmanager
def opened_mask(mask: str, band: int, classes: tuple[str, ...], step: Step) -> Iterator[MaskSource]:
    """A mask, open; a step tells how much of it was looked through, where that is needed.

    Raises:
        RotacubeError: as `MaskSource` says.
    """
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
        MaskSource(mask, band, classes, lambda share: step("Reading the mask", share)) as source,
    ):
        yield source


def of_mask(
    request: MaskRequest,
    *,
    on_step: Callable[[str, float], None] = lambda what, share: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> MaskResult:
    """Make a product of a mask, block by block.

    Args:
        request: what to make.
        on_step: called with what is being done, in words, and its share that is done.
        cancelled: asked before each step; a true answer ends the work.

    Raises:
        RotacubeError: a subclass that says what is wrong; nothing is left behind.
        JobCancelled: `cancelled` said so; nothing is left behind.
    """
    step = cancellable(on_step, cancelled)
    check_raster(request.mask)
    check_output_name(str(request.output))
    if request.smallest is not None:
        check_smallest(request.smallest)
    form = format_of(request.kind, request.output.name)
    check_format(form)
    with opened_mask(request.mask, request.band, request.classes, step) as source:
        pixels = source.grid.height * source.grid.width
        check_output(request.output, request.overwrite, source.files, KINDS[request.kind].formats[form])
        needs_of([(request.kind, request.output)], [LABELS], pixels).check()
        if request.zones:
            read_polygons(request.zones, source.grid.crs, request.zone_field or None)
        sweep(request.output.resolve().parent)
        store = _MaskStore(folder_of(request.output), source)
        store.begin({"the raster": [request.mask]}, resume=False)
        try:
            card, unknown = _card(source, request)
            setting = _MaskSetting(
                source.grid,
                source.grid.extent,
                card,
                {"ROTACUBE_VERSION": __version__, **source.tags, "ROTACUBE_RASTER": request.mask},
                store,
                step,
                request.zones,
                request.zone_field,
                [c.value for c in source.classes] + [1] * (len(source.classes) == 1),
                unknown,
            )
            totals = _write(request, form, source, setting, step)
        finally:
            store.drop()
        values = [int(setting.values_of(np.array(total.info.id))) for total in totals.classes]
        notes = [unknown] if request.kind == STATISTICS and unknown else []
        return MaskResult(list(zip(values, totals.classes, strict=True)), notes)


def _write(
    request: MaskRequest, form: str, source: MaskSource, setting: Setting, step: Callable[[str, float], None]
) -> Totals:
    totals = Totals(setting)
    output = KINDS[request.kind].make(Destination(request.output, request.overwrite), setting, form)
    boxes = list(source.windows())
    with opened([output]):
        for done, box in enumerate(boxes):
            step("Counting", done / len(boxes))
            finding = Finding(box, {LABELS: source.read(box)})
            totals.write(finding)
            output.write(finding)
        output.finish()
        output.place()
    return totals


def _card(source: MaskSource, request: MaskRequest) -> tuple[ModelCard, str]:
    """A card of the mask's classes, and why nothing is known of its errors, where that is so."""
    made_by, unknown = _model_of(source)
    of_roofs = request.regularise if request.regularise is not None else made_by is None or made_by.task == ROOFS
    of_plants = made_by is not None and made_by.task == PLANTS
    task = ROOFS if of_roofs and request.kind == POLYGONS else PLANTS if of_plants else "classes of a mask"
    if request.classes:
        unknown = "Some classes were left out, so no interval can be given: errors are known of all classes together."
    own = made_by.separation if made_by is not None else Separation()
    separation = own if request.smallest is None else own.model_copy(update={"smallest": request.smallest})
    if made_by is not None and not unknown:
        return made_by.model_copy(update={"task": task, "further": [], "separation": separation}), ""
    named = [{"id": n, "name": c.name, "color": c.color} for n, c in enumerate(source.classes)]
    if len(named) == 1:
        named.append({"id": 1, "name": "anything else", "color": "#e4572e"})
    fields: dict[str, Any] = {
        **dict.fromkeys(("title", "architecture", "source", "licence", "attribution", "training_data"), "unknown"),
        "name": "mask",
        "task": task,
        "bands": ["mask"],
        "gsd": min(1e3, max(1e-3, source.grid.gsd[0])),
        "tile": 512,
        "overlap": 0,
        "normalisation": {"scale": 1, "mean": [0], "std": [1]},
        "classes": named,
        "threshold": 0.5,
        "separation": separation.model_dump(exclude_unset=True),
        "accuracy": {},
        "weights": {"file": "none.safetensors", "sha256": "0" * 64, "parameters": 0},
    }
    return ModelCard.model_validate(fields), unknown


def _model_of(source: MaskSource) -> tuple[ModelCard | None, str]:
    """The card of the model that made the mask, and why its errors are not known, where that is so."""
    name = source.tags.get("ROTACUBE_MODEL", "")
    if not name:
        return None, "The mask does not say which model made it, so no interval can be given: areas are as mapped."
    try:
        card, _ = find_model(name)
    except RotacubeError:
        return None, f"The model '{name}' that made the mask is not installed, so no interval can be given."
    why = ""
    if card.weights.sha256 != source.tags.get("ROTACUBE_MODEL_SHA256"):
        why = "is installed with other weights now"
    elif source.tags.get("ROTACUBE_THRESHOLD", "") != f"{card.threshold:g}":
        why = "made it with another threshold than its own"
    elif [c.value for c in source.classes] != [c.id for c in card.classes]:
        why = "has other classes than the mask"
    elif not card.confusion:
        why = "does not say how often it confuses classes"
    return card, f"The model '{name}' that made the mask {why}, so no interval can be given." if why else ""

"""Errors that a person can act upon.

Every error that the backend raises on purpose is a `RotacubeError`: a stable `code` for programs, and a sentence that
says what is wrong and what to do. The command line prints the sentence and exits with 2, the server answers it as
JSON with `status`, the plugin shows it in the message bar.
"""

from __future__ import annotations

import re

LONGEST = 1500
"""Characters of the longest sentence; of a longer one the middle is left out."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class RotacubeError(Exception):
    """An error with a stable code and a sentence for a person.

    >>> from rotacube import find_model
    >>> try:
    ...     find_model("nobody")
    ... except RotacubeError as error:
    ...     print(error.code)
    model_missing
    """

    code = "error"
    status = 400

    def __init__(self, message: str) -> None:
        self.message = printable(message)
        super().__init__(self.message)


class RasterMissing(RotacubeError):
    """There is no such raster."""

    code = "raster_missing"
    status = 404


class RasterUnreadable(RotacubeError):
    """The raster is there but cannot be read: truncated, no raster at all, or refused by the system."""

    code = "raster_unreadable"


class RasterNotGeoreferenced(RotacubeError):
    """The raster has no coordinate reference system or no georeference."""

    code = "raster_not_georeferenced"


class RasterBands(RotacubeError):
    """The raster's bands do not suit the model."""

    code = "raster_bands"


class RasterEmpty(RotacubeError):
    """There is nothing to map: too small, all nodata, or the area lies outside."""

    code = "raster_empty"


class RasterResolution(RotacubeError):
    """The raster's pixels are far from the size that the model is made for, and nobody asked for that."""

    code = "raster_resolution"


class RasterNeedsNetwork(RotacubeError):
    """The raster would make requests over the network, and nobody allowed that."""

    code = "raster_network"


class FramesRefused(RotacubeError):
    """A drone's frame cannot be placed on the ground or is damaged, or a folder has none that can be mapped."""

    code = "frames_refused"


class OutputUnwritable(RotacubeError):
    """The result cannot be written: folder, permission, or disk space."""

    code = "output_unwritable"


class MemoryShort(RotacubeError):
    """The machine has less memory left than the run needs."""

    code = "memory_short"


class ModelMissing(RotacubeError):
    """No model of that name is installed."""

    code = "model_missing"
    status = 404


class ModelDamaged(RotacubeError):
    """The model's folder does not hold what its card says: a wrong hash, a missing tensor, a broken card."""

    code = "model_damaged"


class DatasetDamaged(RotacubeError):
    """A dataset's folder is not whole: a file is missing, truncated, of another size, or holds unknown values."""

    code = "dataset_damaged"


class LayerRefused(RotacubeError):
    """A layer of polygons is missing, cannot be read, or holds nothing that can be used."""

    code = "layer_refused"


class TrainingFailed(RotacubeError):
    """Training cannot go on: its loss is no number."""

    code = "training_failed"


class JobMissing(RotacubeError):
    """There is no such job."""

    code = "job_missing"
    status = 404


class PreviewMissing(RotacubeError):
    """The tile has no preview: not finished yet, empty, or dropped to save memory."""

    code = "preview_missing"
    status = 404


class ProductMissing(RotacubeError):
    """The job has no such product: not finished yet, or its file was taken away."""

    code = "product_missing"
    status = 404


class ViewMissing(RotacubeError):
    """There is no such view: it was closed, or not used for long."""

    code = "view_missing"
    status = 404


class JobDamaged(RotacubeError):
    """What a run that was cut off has left cannot be gone on with: it is damaged, or was found with something else."""

    code = "job_damaged"


class JobCancelled(RotacubeError):
    """The job was cancelled; nothing was written."""

    code = "cancelled"
    status = 409


class JobInterrupted(JobCancelled):
    """The process that ran the job ends; what was found is kept, to be resumed."""

    code = "interrupted"


class ClusterFailed(RotacubeError):
    """The cluster cannot be reached, its workers do not fit, or it was lost; what was found is kept, to be resumed."""

    code = "cluster"


class RequestRefused(RotacubeError):
    """The request lacks the token, comes under a foreign host name, is too large, or does not fit the contract."""

    code = "refused"
    status = 403


class OptionsRefused(RotacubeError):
    """The options make no network."""

    code = "options_refused"


def printable(text: str) -> str:
    """A text as every terminal, log and JSON takes it: what is no letter is escaped, and it is not endless."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def first_line(error: BaseException) -> str:
    """The first line of what an error of others says, or its name: what fits into a sentence of ours."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

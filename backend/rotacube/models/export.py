"""Exports a network for other programs: ONNX, and PyTorch's own program format (`torch.export`)."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from rotacube.errors import OptionsRefused
from rotacube.files import in_one_step
from rotacube.models.onnx_network import OnnxNetwork
from rotacube.networks.dense import DenseNetwork
from rotacube.nn import ChannelRouter
from rotacube.ops._dispatch import plain_operators

FORMATS = (".onnx", ".pt2")


def export_network(network: nn.Module, image: Tensor, path: Path) -> None:
    """Write a network in the format of the file's suffix; the file appears when it is whole.

    `.onnx` holds plain ONNX operators: input "image" (batch, bands, H, W) with any batch and the height and width of
    `image`; outputs "logits" and those beside them, by name. `.pt2` holds a `torch.export` program. Both run
    without this package.

    Args:
        network: in eval mode.
        image: (B, bands, H, W), as the network takes it.
        path: the file; one that is there is replaced.

    Raises:
        OptionsRefused: The suffix is neither, what writes ONNX is not installed, or the network came out of a file.
        OutputUnwritable: The file cannot be written.

    >>> from rotacube import create_model
    >>> network = create_model("unet", 3, 2, width=0.0625).eval()
    >>> export_network(network, torch.zeros(1, 3, 64, 64), Path("unet.pt2"))
    >>> torch.export.load("unet.pt2").module()(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 1, 64, 64])
    """
    if path.suffix not in FORMATS:
        raise OptionsRefused(f"A network is exported to .onnx or .pt2, not to '{path.name}'.")
    if isinstance(network, OnnxNetwork):
        raise OptionsRefused(f"The model is an ONNX file already: copy '{network.name}' out of its folder.")
    if path.suffix == ".onnx" and find_spec("onnxscript") is None:
        raise OptionsRefused("ONNX needs the packages onnx and onnxscript: pip install 'rotacube[export]'.")
    with in_one_step(path) as new, _quiet():
        program = export_program(network, image)
        if path.suffix == ".onnx":
            write_onnx(program, new, list(network.channels) if isinstance(network, DenseNetwork) else ["logits"])
        else:
            _write_program(program, new)


def export_program(network: nn.Module, image: Tensor) -> torch.export.ExportedProgram:
    """The network as a `torch.export` program of plain operators: any batch, the height and width of `image`.

    Args:
        network: in eval mode.
        image: (B, bands, H, W).
    """
    # An example of one would fix the batch at one.
    example = (image if image.shape[0] > 1 else image.expand(2, -1, -1, -1)).contiguous()
    with contextlib.ExitStack() as stack:
        stack.enter_context(plain_operators())
        for layer in network.modules():
            if isinstance(layer, ChannelRouter):
                stack.enter_context(layer.fixed())
        return torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))


def write_onnx(program: torch.export.ExportedProgram, path: Path, outputs: Sequence[str] = ("logits",)) -> None:
    """Write a program of `export_program`, whose outputs have these names, as ONNX; needs onnx and onnxscript."""
    torch.onnx.export(
        program,
        f=str(path),
        input_names=["image"],
        output_names=list(outputs),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _write_program(program: torch.export.ExportedProgram, path: Path) -> None:
    # Through memory: PyTorch's own writer ends the process where the disk is full.
    whole = io.BytesIO()
    torch.export.save(program, whole)
    path.write_bytes(whole.getbuffer())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks: on packages that we do not use, and on PyTorch's own future."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

"""An ONNX file of others as a network of ours: read without trust, run by ONNX Runtime on the CPU.

Nothing but the file itself is read: parts of it that lie in other files are refused, and no operators are loaded. The
packages onnx and onnxruntime are an extra, imported where they are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rotacube.errors import ModelDamaged, OptionsRefused, first_line
from rotacube.models.card import AGAIN, ModelCard

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

LARGEST = 2**31
"""Bytes of the largest file: what its format can hold."""
LEAST = 1e-6
"""The smallest probability that is kept: its logit is finite."""
LOGITS, PROBABILITIES = "logits", "probabilities"
GIVES = "gives"
"""The option on the card that says which of the two the file gives."""
OPTIONS = {GIVES: (LOGITS, PROBABILITIES)}
AT_ONCE = 4
"""Most tiles that a CPU infers at once."""


class OnnxNetwork(nn.Module):
    """Labels every pixel: (B, bands, H, W) to logits (B, outputs, H, W), one image after the other.

    It stays on the CPU, wherever it is moved. Several threads may call it at once.

    Args:
        model: of `parse_onnx`.
        gives: `LOGITS` or `PROBABILITIES`, what the file gives.
        classes: how many; of two the file gives one channel or two, of more one each.
        name: of the file, for sentences.

    Raises:
        ModelDamaged: ONNX Runtime cannot run it, or it has not one input and one output of images.
    """

    def __init__(self, model: ModelProto, gives: str, classes: int, name: str) -> None:
        super().__init__()
        self.gives, self.classes, self.name = gives, classes, name
        self._session = _session(model, name)
        self.input = _only(self._session.get_inputs(), "input", name)
        _only(self._session.get_outputs(), "output", name)

    def forward(self, x: Tensor) -> Tensor:
        """Logits for every pixel.

        Raises:
            ModelDamaged: the file cannot take such images, or gives something else.
        """
        made = [self._logits(image[None]) for image in x.float().cpu().numpy()]
        return torch.cat(made).to(x.device)

    def raw(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the file gives of (1, bands, H, W): (1, channels, H, W).

        Raises:
            ModelDamaged: it cannot take such images, or gives something else.
        """
        try:
            (found,) = self._session.run(None, {self.input.name: np.ascontiguousarray(image)})
        except Exception as error:  # ONNX Runtime's have nothing else in common
            raise ModelDamaged(f"'{self.name}' cannot be run ({first_line(error)}).") from error
        shape, wanted = np.shape(found), (1, *image.shape[2:])
        if not isinstance(found, np.ndarray) or len(shape) != 4 or (shape[0], *shape[2:]) != wanted:
            raise ModelDamaged(
                f"'{self.name}' gives {list(shape)} values of an image of {image.shape[3]} x {image.shape[2]} pixels, "
                "not one for each class and pixel: it is no model of segmentation."
            )
        if found.dtype.kind != "f":
            raise ModelDamaged(
                f"'{self.name}' gives whole numbers, not probabilities or logits, of which tiles are blended. Export "
                "it without its last step, the choice of a class."
            )
        return found.astype(np.float32, copy=False)

    def _logits(self, image: NDArray[np.float32]) -> Tensor:
        found = torch.from_numpy(self.raw(image))
        if self.gives == PROBABILITIES:
            found = found.clamp(LEAST, 1 - LEAST)
            found = torch.logit(found) if found.shape[1] == 1 else torch.log(found)
        if self.classes == 2 and found.shape[1] == 2:
            found = found[:, 1:] - found[:, :1]
        if found.shape[1] != (1 if self.classes == 2 else self.classes):
            raise ModelDamaged(f"'{self.name}' gives {found.shape[1]} values a pixel, for {self.classes} classes.")
        return found


def load_onnx(card: ModelCard, path: Path) -> OnnxNetwork:
    """The network of an installed model, whose file's hash was checked.

    Raises:
        OptionsRefused: what runs it is not installed.
        ModelDamaged: it is not what its card says.
    """
    gives = card.options.get(GIVES)
    if set(card.options) != set(OPTIONS) or gives not in OPTIONS[GIVES]:
        known = " or ".join(OPTIONS[GIVES])
        raise ModelDamaged(f"The model card of '{card.name}' does not fit: its option '{GIVES}' is {known}. {AGAIN}")
    network = OnnxNetwork(parse_onnx(path.read_bytes(), path.name), gives, len(card.classes), path.name)
    if network.input.shape[1] not in (len(card.bands), None) and not isinstance(network.input.shape[1], str):
        raise ModelDamaged(f"'{path.name}' takes {network.input.shape[1]} bands, its card says others. {AGAIN}")
    return network


def parse_onnx(content: bytes, name: str) -> ModelProto:
    """What an ONNX file holds; nothing is run.

    Args:
        content: of the file.
        name: of it, for sentences.

    Raises:
        OptionsRefused: the packages that this needs are not installed.
        ModelDamaged: it is none, or parts of it lie in other files.
    """
    if find_spec("onnx") is None or find_spec("onnxruntime") is None:
        raise OptionsRefused("ONNX files need the packages onnx and onnxruntime: pip install 'rotacube[onnx]'.")
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's, which is not ours to import
        raise ModelDamaged(f"'{name}' is no ONNX file, or damaged ({first_line(error)}).") from error
    if not model.graph.node:
        raise ModelDamaged(f"'{name}' is no ONNX file, or damaged: it holds no network.")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors_of(model)):
        raise ModelDamaged(f"Weights of '{name}' lie in other files, which are not read. Export it into one file.")
    return model


def parameters_of(model: ModelProto) -> int:
    """How many numbers the tensors hold that a file names as its weights."""
    return sum(prod(tensor.dims) for tensor in model.graph.initializer)


def tensors_of(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor that a file holds, at any depth."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_node(node)
    for training in model.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        yield attribute.t
        yield from attribute.tensors
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _of_graph(graph)


def _session(model: ModelProto, name: str) -> Any:
    """ONNX Runtime's session on the CPU.

    Its threads and those that call it come to as many as PyTorch has: the engine lets `AT_ONCE` call at once.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, torch.get_num_threads() - AT_ONCE + 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong comes as an exception
    try:
        content = model.SerializeToString()  # what was looked at, and nothing else
        # Its fallback, of which there is none from the CPU, prints to standard output.
        return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # ONNX Runtime's have nothing else in common
        raise ModelDamaged(f"'{name}' cannot be run by ONNX Runtime ({first_line(error)}).") from error


def _only(found: list[Any], what: str, name: str) -> Any:
    """The one input or output, of float32, with four axes."""
    if len(found) != 1:
        raise ModelDamaged(f"'{name}' has {len(found)} {what}s, not one: it is no model of segmentation.")
    if what == "input" and (found[0].type != "tensor(float)" or len(found[0].shape) != 4):
        raise ModelDamaged(f"'{name}' takes {found[0].type} of {found[0].shape}, not images (1, bands, H, W) of float.")
    return found[0]

"""ONNX files as others make them, with metadata as the QGIS plugin Deepness reads them."""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

METADATA = {
    "model_type": "Segmentor",
    "class_names": {0: "_background", 1: "building"},
    "resolution": 15,
    "tile_size": 64,
    "tiles_overlap": 25,
    "seg_thresh": 0.6,
    "standardization_mean": [0.5, 0.4, 0.3],
    "standardization_std": [0.2, 0.25, 0.3],
}


def kernel(channels, bands=3, seed=3):
    """Weights (channels, bands, 3, 3) and biases of a convolution whose outputs are of all sizes and both signs."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(0, 0.5, (channels, bands, 3, 3)).astype(np.float32)
    return weight, rng.normal(0, 0.5, channels).astype(np.float32)


def write_onnx_file(path, *, channels=1, bands=3, size=64, last=None, metadata=METADATA, batch=1, **attributes):
    """Write a 3x3 convolution with the weights of `kernel`, followed by an operator `last`; returns the path."""
    tensors = [numpy_helper.from_array(part, name) for part, name in zip(kernel(channels, bands), "wb", strict=True)]
    nodes = [helper.make_node("Conv", ["image", "w", "b"], ["made"], pads=[1, 1, 1, 1])]
    if last is not None:
        nodes.append(helper.make_node(last, ["made"], ["out"], **attributes))
    kind = TensorProto.INT64 if last == "ArgMax" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, bands, size, size])],
        [helper.make_tensor_value_info("made" if last is None else "out", kind, None)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="pytorch", ir_version=9)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value if isinstance(value, str) and "{" in value else json.dumps(value))
    onnx.save(model, str(path))
    return path

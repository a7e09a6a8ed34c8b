"""Run by the backend's Python: `tiny_model.py FOLDER` makes a model of random weights that finds roofs anywhere."""

import sys
from pathlib import Path

import torch

from rotacube.models.card import save_model
from rotacube.models.registry import create_model

CARD = {
    "name": "tiny",
    "title": "Tiny, with random weights",
    "task": "rooftops",
    "architecture": "convnext-cube-small",
    "source": "none: random weights for tests",
    "bands": ["red", "green", "blue"],
    "gsd": 0.3,
    "tile": 128,
    "overlap": 32,
    "normalisation": {"scale": 255.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "classes": [
        {"id": 0, "name": "background", "color": "#000000"},
        {"id": 1, "name": "roof", "color": "#e6550d"},
    ],
    "threshold": 0.5,
    "licence": "MIT",
    "attribution": "nobody",
    "training_data": "none",
    "accuracy": {},
}

torch.manual_seed(7)
network = create_model(CARD["architecture"], 3, 2)
network.head[1].weight.data *= 20
with torch.inference_mode():
    typical = network(torch.randn(1, 3, 128, 128)).mean((0, 2, 3))
network.head[1].bias.data -= typical.clone().repeat_interleave(16)
save_model(network, CARD, Path(sys.argv[1]))

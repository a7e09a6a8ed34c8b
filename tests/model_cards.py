"""The card of the tiny model of the tests."""

from __future__ import annotations


def card_fields(**changes):
    """A card's fields but for its weights; keyword arguments replace some."""
    return {
        "name": "tiny",
        "title": "Tiny, with random weights",
        "task": "rooftops",
        "architecture": "convnext-cube-small",
        "source": "none: random weights for tests",
        "bands": ["red", "green", "blue"],
        "gsd": 0.15,
        "tile": 96,
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
        **changes,
    }

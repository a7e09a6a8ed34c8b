"""The questions of the papers' ablations, and two of ours: what is compared, and what a paper says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SEEDS = (1, 2, 3)
_PLANTS = {"soil": "#c9b18c", "potato": "#8fd14f", "weed": "#d7263d"}
_SCHEDULE = {"steps": 400, "rate": 2e-3, "decay": 0.01, "average": 0.98, "warm_up": 0.1}


@dataclass(frozen=True)
class Study:
    """One question.

    Attributes:
        title: the question.
        claim: what the paper says, with the figures that it prints.
        base: of a recipe, but for architecture and options.
        variants: architecture and options by name.
        figures: what is compared, as `rotacube eval` names it; means over the places, or "in" one of them.
        options: of all variants.
        chosen: whether it is chosen on validation how roofs are told apart.
        without: the set that a variant does not learn from; all are tested.
        better: pairs of variants of which the first is better in the figure `judged`, as the paper says.
        scenes: the set whose scenes are classified, a fold a seed; empty: pixels are.
        seeds: of weights and crops.
    """

    title: str
    claim: str
    base: Mapping[str, Any]
    variants: Mapping[str, tuple[str, Mapping[str, Any]]]
    figures: tuple[str, ...] = ("iou", "turned iou", "quarter turn")
    options: Mapping[str, Any] = field(default_factory=lambda: {"width": 0.25})
    chosen: bool = False
    without: Mapping[str, str] = field(default_factory=dict)
    better: tuple[tuple[str, str], ...] = ()
    judged: str = "iou"
    scenes: str = ""
    seeds: tuple[int, ...] = SEEDS

    def asked(self, variant: str) -> tuple[object, ...]:
        """All that a variant's runs and their figures depend on, but for the seed."""
        return self.base, self.options, self.figures, self.without.get(variant), self.variants[variant]


_ROOFS = {
    "data": {"sets": {"kampala": 0.5, "banepa": 0.5}, "crop": 128, "batch": 8},
    "schedule": _SCHEDULE,
}
_APART = {
    "init": "imagenet",
    "data": {
        "sets": {"kampala": 0.3, "banepa": 0.35, "dhaka": 0.15, "negatives": 0.2},
        "crop": 192,
        "batch": 8,
    },
    "losses": {"classes": 1.0, "border": 0.5, "distance": 1.5, "direction": 0.5},
    "schedule": {"steps": 120, "rate": 1e-3, "encoder": 0.3, "average": 0.98},
}
_TOWNS = ("kampala", "banepa", "dhaka")
_FIELD = {
    "task": "plants",
    "classes": _PLANTS,
    "gsd": 0.004,
    "tile": 256,
    "overlap": 64,
    "data": {"sets": {"potato": 1.0}, "crop": 128, "batch": 8, "centred": 0.6},
    "losses": {"weights": [0.6, 1.0, 2.0]},
    "schedule": _SCHEDULE,
}

STUDIES = {
    "cube": Study(
        "Cube convolution in UNet's last stage",
        "Cube Kernel, tables 2 and 3, IoU on WBD: UNet 0.7775, UNet + Conv 0.7990, UNet + Cube 0.8607.",
        _ROOFS,
        {name: (name, {}) for name in ("unet", "unet-conv", "unet-cube")},
        ("iou",),
        better=(("unet-conv", "unet"), ("unet-cube", "unet"), ("unet-cube", "unet-conv")),
    ),
    "stride": Study(
        "Stride of the Cube",
        "Cube Kernel, IoU on WBD: stride 1 0.8394, stride 2 0.8607, a normal kernel 0.7990.",
        _ROOFS,
        {
            "stride 1": ("unet-cube", {"cube": {"stride": 1}}),
            "stride 2": ("unet-cube", {}),
            "a normal kernel": ("unet-conv", {}),
        },
        ("iou",),
        better=(("stride 2", "stride 1"), ("stride 1", "a normal kernel")),
    ),
    "placement": Study(
        "Where Cube and Involution stand in UNet",
        "Cube Kernel, table 2, IoU on WBD: UNet+Cube 0.8607, Cube+UNet 0.8224, Involution+UNet 0.8380, UNet+Involution "
        "0.7054, Invo+UNet+Cube 0.7762, Invo+Cube+UNet 0.8083.",
        _ROOFS,
        {
            name: (name, {})
            for name in (
                "unet-cube",
                "cube-unet",
                "involution-unet",
                "unet-involution",
                "involution-unet-cube",
                "involution-cube-unet",
            )
        },
        ("iou",),
        better=(
            ("unet-cube", "cube-unet"),
            ("unet-cube", "involution-unet"),
            ("involution-unet", "unet-involution"),
            ("unet-cube", "involution-unet-cube"),
            ("unet-cube", "involution-cube-unet"),
        ),
    ),
    "router": Study(
        "Channel router, spatial attention and the lattice of the Cube",
        "Cube Kernel: each of reconstruction, routing and attention on and off; on is better.",
        _ROOFS,
        {
            "none": ("unet-cube", {}),
            "router": ("unet-cube", {"cube": {"router": True}}),
            "attention": ("unet-cube", {"cube": {"attention": True}}),
            "router and attention": ("unet-cube", {"cube": {"router": True, "attention": True}}),
            "grouped instead of the lattice": ("unet-cube", {"cube": {"mode": "grouped"}}),
        },
        ("iou",),
        better=(
            ("router", "none"),
            ("attention", "none"),
            ("router and attention", "none"),
            ("none", "grouped instead of the lattice"),
        ),
    ),
    "orientations": Study(
        "Orientations of RI-UNet, the same augmentation for all",
        "Accelerated Rotation-Invariant Convolution, accuracy on drone imagery at 256: 1 orientation 90.7%, 4 91.9%, "
        "8 93.9%.",
        _FIELD,
        {
            "unet": ("unet", {}),
            "1 orientation": ("ri-unet-1", {}),
            "4 orientations": ("ri-unet-4", {}),
            "8 orientations": ("ri-unet-8", {}),
            "p4-unet (ours)": ("p4-unet", {}),
        },
        ("mean iou", "accuracy", "turned iou", "quarter turn"),
        better=(("4 orientations", "1 orientation"), ("8 orientations", "4 orientations"), ("8 orientations", "unet")),
        judged="accuracy",
    ),
    "outputs": Study(
        "Outputs beside the classes, by which single roofs are told apart",
        "None of the papers tells single roofs apart.",
        _APART,
        {
            "none": ("lite-unet", {}),
            "border": ("lite-unet", {"further": ["border"]}),
            "border and distance": ("lite-unet", {"further": ["border", "distance"]}),
            "border and direction of walls": ("lite-unet", {"further": ["border", "direction"]}),
        },
        ("roofs f1", "roofs merged", "roofs split", "iou"),
        options={},
        chosen=True,
    ),
    "places": Study(
        "Places left out: trained without one, tested on it",
        "None of the papers leaves a place out.",
        _APART,
        {name: ("lite-unet", {}) for name in ("all places", *(f"without {town}" for town in _TOWNS))},
        tuple(f"{figure} in {town}" for town in _TOWNS for figure in ("iou", "roofs f1")),
        options={"further": ["border", "distance"]},
        chosen=True,
        without={f"without {town}": town for town in _TOWNS},
    ),
    "fusion": Study(
        "Fusion of the last three stages of a scene classifier, five folds of RSSCN7",
        "Kronecker Product Feature Fusion, AlexNet on UC-Merced: none 0.8810, add 0.9071, concat 0.9119, kpff 0.9190.",
        {"schedule": {**_SCHEDULE, "steps": 600, "rate": 5e-4}, "precision": "auto"},
        {name: ("alexnet", {"fusion": name}) for name in ("none", "add", "concat", "kpff")},
        ("accuracy",),
        scenes="rsscn7",
        seeds=(1, 2, 3, 4, 5),
        better=(("add", "none"), ("concat", "add"), ("kpff", "concat")),
        judged="accuracy",
    ),
}

"""What the papers publish of their networks: sizes and accuracies, as printed there.

Sources: Cube Kernel, table 3 and later abstract; Kronecker Product Feature Fusion, table 1; Accelerated
Rotation-Invariant Convolution, accuracy tables.
"""

from __future__ import annotations

from typing import NamedTuple


class Building(NamedTuple):
    """A row of the Cube Kernel paper's table 3.

    Attributes:
        title: as printed.
        network: the name in our registry; None for what finds objects.
        accuracy: IoU and F1 on WBD, IoU and F1 on WHU.
        parameters: millions.
        flops: "FLOPs" at 3x512x512, in units of 1e9; what counts as one operation differs from row to row.
    """

    title: str
    network: str | None
    accuracy: tuple[float, float, float, float]
    parameters: float
    flops: float


BUILDINGS = (
    Building("Fast SCNN", "fast-scnn", (0.6300, 0.6540, 0.6240, 0.6503), 1.1, 38.65),
    Building("Mask R-CNN", None, (0.7060, 0.7850, 0.7662, 0.8120), 44, 370.99),
    Building("HRNet-W48", "hrnet-w48", (0.7660, 0.8580, 0.8564, 0.9207), 65, 1900),
    Building("SEnet", "se-unet", (0.7905, 0.8830, 0.8670, 0.9288), 31.26, 385.85),
    Building("UNet", "unet", (0.7775, 0.8748, 0.7938, 0.8856), 27.22, 364),
    Building("UNet + Conv Kernel", "unet-conv", (0.7990, 0.8984, 0.8274, 0.8973), 27.21, 402.8),
    Building("UNet + Cube Kernel", "unet-cube", (0.8607, 0.9252, 0.8665, 0.9284), 27.14, 315.76),
    Building("DeepLabv3+", "deeplabv3plus", (0.8543, 0.9214, 0.8617, 0.9257), 41.2, 178.72),
    Building("DeepLabv3+Cube", "deeplabv3plus-cube", (0.8903, 0.9419, 0.8693, 0.9421), 40, 105),
    Building("Swin-Unet", "swin-unet", (0.8089, 0.9002, 0.8500, 0.9189), 42.03, 192.7),
    Building("Swin-UCube", "swin-unet-cube", (0.8726, 0.9360, 0.8859, 0.9472), 29.8, 100.58),
    Building("ConvNeXt-Cube", "convnext-cube", (0.9095, 0.9535, 0.9133, 0.9547), 45.35, 48.41),
)
"""WBD and WHU are building datasets."""

PLACEMENT = {
    "unet-cube": 0.8607,
    "cube-unet": 0.8224,
    "involution-unet": 0.8380,
    "unet-involution": 0.7054,
    "involution-unet-cube": 0.7762,
    "involution-cube-unet": 0.8083,
}
"""IoU on WBD by where the operators stand in UNet (Cube Kernel, table 2)."""

CUBE_DECODER = (-0.092, -0.208)
"""Parameters and FLOPs of ConvNeXt-U-Cube against ConvNeXt-U (later abstract)."""

SCENES = {
    "alexnet": (0.8810, 0.9071, 0.9119, 0.9190),
    "vgg-16": (0.8952, 0.9119, 0.9095, 0.9262),
    "inception": (0.8857, 0.8976, 0.9023, 0.9214),
}
"""Accuracy on UC-Merced in five folds by fusion: none, add, concat, kpff."""

SPECIES = {
    "ri-unet-1": (0.736, 0.713, 0.907, 0.887),
    "ri-unet-4": (0.756, 0.730, 0.919, 0.904),
    "ri-unet-8": (0.786, 0.758, 0.939, 0.924),
    "ri-unet-16": (0.793, 0.763, 0.944, 0.929),
}
"""Accuracy of RI-UNet on plants at 256 and 1024 pixels, on the drone dataset at 256 and 1024 pixels."""

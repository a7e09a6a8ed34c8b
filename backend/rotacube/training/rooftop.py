"""The recipe of `rooftop-small`: ConvNeXt-Cube small on the rooftop imagery, within 40 minutes of two CPU cores.

Binary cross-entropy (the Cube paper's loss) plus a soft Jaccard term, AdamW with one cycle, an average of the weights.
Real tiles of both places and scenes of our own generator; the threshold is chosen on the validation split, and the card
states what the test split measured.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryCohenKappa,
    BinaryF1Score,
    BinaryJaccardIndex,
    BinaryPrecision,
    BinaryRecall,
)

from rotacube.models.store import save_model
from rotacube.networks.registry import create_model
from rotacube.training.data import Area, RoofCrops, data_root, drawn_areas, resize, rooftop_areas

GSD = 0.15
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE, BATCH, STEPS, RATE = 256, 8, 4000, 1e-3
DRAWN = 80


def normalise(image: Tensor, valid: Tensor) -> Tensor:
    """Network input from `image` (..., 3, H, W) in 0..1; nodata becomes zero, the mean."""
    mean, std = (torch.tensor(v, device=image.device).view(3, 1, 1) for v in (MEAN, STD))
    result: Tensor = (image - mean) / std * valid
    return result


class RoofTask(lightning.LightningModule):
    """Trains a network with one logit on roof crops."""

    def __init__(self, network: nn.Module, steps: int) -> None:
        super().__init__()
        self.network, self.steps = network, steps

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> Tensor:
        """Loss of a batch; nodata is left out."""
        image, roof, valid = batch
        logits = self.network(normalise(image, valid).to(memory_format=torch.channels_last)).float()
        cross = F.binary_cross_entropy_with_logits(logits, roof, valid, reduction="sum") / valid.sum().clamp(min=1)
        chance, truth = logits.sigmoid() * valid, roof * valid
        both = (chance * truth).sum((1, 2, 3))
        jaccard = 1 - (both + 50) / ((chance + truth).sum((1, 2, 3)) - both + 50)
        loss: Tensor = cross + 0.5 * jaccard.mean()
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW, no decay for biases and norms, one cycle."""
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0}])
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=self.steps, pct_start=0.08)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def predict(network: nn.Module, area: Area) -> tuple[Tensor, Tensor, Tensor]:
    """Roof probability, roof and valid of a whole area at the model's ground sample distance, each (H, W)."""
    high, wide = (round(n * area.gsd / GSD) for n in area.valid.shape)
    image, roof, valid = (
        resize(torch.from_numpy(part).float(), (high, wide)) for part in (area.image, area.roof[None], area.valid[None])
    )
    valid = (valid > 0.99).float()
    padded = F.pad(normalise(image / 255, valid), (0, -wide % 32, 0, -high % 32))[None]
    with torch.inference_mode():
        chance = network(padded.to(memory_format=torch.channels_last)).sigmoid()[0, 0, :high, :wide]
    return chance, roof[0] > 0.5, valid[0] > 0


def choose_threshold(network: nn.Module, areas: list[Area]) -> float:
    """The probability threshold with the best mean IoU over the areas, to two digits."""
    steps = torch.arange(0.2, 0.801, 0.05)
    ious = []
    for area in areas:
        chance, roof, valid = predict(network, area)
        chance, roof = chance[valid], roof[valid]
        found = [chance > t for t in steps]
        ious.append([((f & roof).sum() / (f | roof).sum().clamp(min=1)).item() for f in found])
    return round(steps[torch.tensor(ious).mean(0).argmax()].item(), 2)


def measure(network: nn.Module, areas: list[Area], threshold: float) -> dict[str, float]:
    """The Cube paper's metrics, per place."""
    result: dict[str, float] = {}
    for place in sorted({area.name for area in areas}):
        metrics = MetricCollection(
            {
                "iou": BinaryJaccardIndex(threshold),
                "f1": BinaryF1Score(threshold),
                "precision": BinaryPrecision(threshold),
                "recall": BinaryRecall(threshold),
                "accuracy": BinaryAccuracy(threshold),
                "kappa": BinaryCohenKappa(threshold),
            }
        )
        for area in areas:
            if area.name == place:
                chance, roof, valid = predict(network, area)
                metrics.update(chance[valid], roof[valid].long())
        result |= {f"{place} {key}": round(value.item(), 4) for key, value in metrics.compute().items()}
    return result


def train(root: Path, output: Path, steps: int, threads: int) -> None:
    """Train, measure, and write the model folder."""
    torch.set_num_threads(threads)
    lightning.seed_everything(1, verbose=False)
    start = time.monotonic()
    real = rooftop_areas(root, "train")
    pixels = {name: sum(a.valid.sum() for a in real if a.name == name) for name in ("kampala", "banepa")}
    areas = [(area, 0.38 * area.valid.sum() / pixels[area.name]) for area in real]
    areas += [(area, 0.24 / DRAWN) for area in drawn_areas(DRAWN, 512, GSD, seed=1000)]
    crops = RoofCrops(areas, steps * BATCH, SIZE, GSD)
    loader = DataLoader(crops, BATCH, num_workers=1, prefetch_factor=4, persistent_workers=True)
    network = create_model("convnext-cube-small", 3, 2)
    trainer = lightning.Trainer(
        accelerator="cpu",
        precision="bf16-mixed",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        callbacks=[EMAWeightAveraging(decay=0.998)],
    )
    trainer.fit(RoofTask(network, steps), loader)
    network.eval()
    threshold = choose_threshold(network, rooftop_areas(root, "validation"))
    accuracy = measure(network, rooftop_areas(root, "test"), threshold)
    card = save_model(
        network,
        {
            "name": "rooftop-small",
            "title": "Rooftops, small (ConvNeXt-Cube)",
            "task": "rooftops",
            "architecture": "convnext-cube-small",
            "source": "Cube Kernel: ConvNeXt-Cube; see docs/architecture.md for the reading",
            "bands": ["red", "green", "blue"],
            "gsd": GSD,
            "tile": 512,
            "overlap": 128,
            "normalisation": {"scale": 255.0, "mean": list(MEAN), "std": list(STD)},
            "classes": [
                {"id": 0, "name": "background", "color": "#f2efe9"},
                {"id": 1, "name": "roof", "color": "#e4572e"},
            ],
            "threshold": threshold,
            "licence": "CC BY 4.0; trained with labels under ODbL 1.0",
            "attribution": "Imagery: OpenAerialMap contributors, CC BY 4.0. Labels: OpenStreetMap contributors, ODbL. "
            "Tiles collected by the Humanitarian OpenStreetMap Team (fAIr).",
            "training_data": "Kampala (Uganda), zoom-21 web tiles at 7.5 cm, and Banepa (Nepal), 13 cm: the first "
            f"three fifths of the tile columns; {DRAWN} drawn scenes. {steps} steps of {BATCH} crops of {SIZE} px at "
            f"{GSD} m x 0.7 to 1.5.",
            "accuracy": accuracy,
        },
        output,
    )
    print(json.dumps({"minutes": round((time.monotonic() - start) / 60, 1), "threshold": threshold, **card.accuracy}))


def main() -> None:
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=Path("resources/models/rooftop-small"))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    root = data_root()
    if root is None:
        parser.exit(2, "The rooftop imagery is not there: set ROTACUBE_DATA to the folder that holds 'rooftop'.\n")
    train(root, options.output, options.steps, options.threads)


if __name__ == "__main__":
    main()

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
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rotacube.inference.device import Place
from rotacube.models.card import ModelCard, Normalisation
from rotacube.models.store import LoadedModel, save_model
from rotacube.networks.registry import create_model
from rotacube.training.datasets.areas import data_root, drawn_areas, rooftop_areas
from rotacube.training.datasets.crops import RoofCrops
from rotacube.training.evaluate import choose_threshold, measure
from rotacube.training.losses import roof_loss

GSD = 0.15
RULE = Normalisation(scale=255.0, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
SIZE, BATCH, STEPS, RATE = 256, 8, 4000, 1e-3
DRAWN = 80


class RoofTask(lightning.LightningModule):
    """Trains a network with one logit on roof crops."""

    def __init__(self, network: nn.Module, steps: int) -> None:
        super().__init__()
        self.network, self.steps = network, steps

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> Tensor:
        """Loss of a batch; nodata is left out."""
        image, roof, valid = batch
        loss = roof_loss(self.network(image.to(memory_format=torch.channels_last)).float(), roof, valid)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW, no decay for biases and norms, one cycle."""
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0}])
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=self.steps, pct_start=0.08)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def train(root: Path, output: Path, steps: int, threads: int) -> None:
    """Train, measure, and write the model folder."""
    torch.set_num_threads(threads)
    lightning.seed_everything(1, verbose=False)
    start = time.monotonic()
    real = rooftop_areas(root, "train")
    pixels = {name: sum(a.valid.sum() for a in real if a.name == name) for name in ("kampala", "banepa")}
    areas = [(area, 0.38 * area.valid.sum() / pixels[area.name]) for area in real]
    areas += [(area, 0.24 / DRAWN) for area in drawn_areas(DRAWN, 512, GSD, seed=1000)]
    crops = RoofCrops(areas, steps * BATCH, SIZE, GSD, RULE)
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
    fields: dict[str, Any] = {
        "name": "rooftop-small",
        "title": "Rooftops, small (ConvNeXt-Cube)",
        "task": "rooftops",
        "architecture": "convnext-cube-small",
        "source": "Cube Kernel: ConvNeXt-Cube; its reading stands in docs/results/models.md",
        "bands": ["red", "green", "blue"],
        "gsd": GSD,
        "tile": 512,
        "overlap": 128,
        "normalisation": RULE.model_dump(),
        "classes": [
            {"id": 0, "name": "background", "color": "#f2efe9"},
            {"id": 1, "name": "roof", "color": "#e4572e"},
        ],
        "threshold": 0.5,
        "licence": "CC BY 4.0; trained with labels under ODbL 1.0",
        "attribution": "Imagery: OpenAerialMap contributors, CC BY 4.0. Labels: OpenStreetMap contributors, ODbL. "
        "Tiles collected by the Humanitarian OpenStreetMap Team (fAIr).",
        "training_data": "Kampala (Uganda), zoom-21 web tiles at 7.5 cm, and Banepa (Nepal), 13 cm: the first "
        f"three fifths of the tile columns; {DRAWN} drawn scenes. {steps} steps of {BATCH} crops of {SIZE} px at "
        f"{GSD} m x 0.7 to 1.5.",
        "accuracy": {},
    }
    draft = LoadedModel(_unweighted(fields), network, output)
    place = Place(torch.device("cpu"), torch.float32, 2)
    fields["threshold"] = choose_threshold(draft, rooftop_areas(root, "validation"), place)
    fields["accuracy"] = measure(LoadedModel(_unweighted(fields), network, output), rooftop_areas(root, "test"), place)
    card = save_model(network, fields, output)
    minutes = round((time.monotonic() - start) / 60, 1)
    print(json.dumps({"minutes": minutes, "threshold": card.threshold, **card.accuracy}))


def _unweighted(fields: dict[str, Any]) -> ModelCard:
    """The card of a network that is not saved yet."""
    return ModelCard.model_validate(
        {**fields, "weights": {"file": "none.safetensors", "sha256": "0" * 64, "parameters": 0}}
    )


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

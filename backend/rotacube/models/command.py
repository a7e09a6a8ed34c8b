"""`rotacube models` as the terminal shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from rotacube.errors import ModelMissing, OptionsRefused, OutputUnwritable
from rotacube.files import write_text
from rotacube.models.card import ModelCard
from rotacube.models.export import export_network
from rotacube.models.store import find_model, list_models, load_model, model_folders
from rotacube.networks import sizes
from rotacube.networks.published import BUILDINGS
from rotacube.networks.registry import NETWORKS, Network
from rotacube.networks.work import network_work

PAGE = Path("docs/results/models.md")
WIDE = 150  # columns of a terminal that holds the widest table


def list_installed(as_json: bool, out: Console) -> None:
    """Prints the installed models."""
    found = list_models()
    if as_json:
        print(json.dumps([card.model_dump() for card, _ in found], ensure_ascii=False))
        return
    if not found:
        out.print("No model is installed. Searched:")
        for folder in model_folders():
            out.print(f"  {folder}", markup=False)
        return
    table = Table("name", "title", "resolution", "classes", "accuracy on its test split", "licence")
    for card, _ in found:
        ious = ", ".join(f"{key} {value:.3f}" for key, value in card.accuracy.items() if key.endswith("iou"))
        names = ", ".join(c.name for c in card.classes)
        table.add_row(*map(escape, (card.name, card.title, f"{card.gsd} m", names, ious, card.licence)))
    out.print(table)


def list_all(as_json: bool, out: Console) -> None:
    """Prints the installed models, and the networks that can be built."""
    if as_json:
        networks = [_network(network) for network in NETWORKS.values()]
        print(
            json.dumps(
                {"models": [card.model_dump() for card, _ in list_models()], "networks": networks}, ensure_ascii=False
            )
        )
        return
    list_installed(False, out)
    table = Table("network", "title", "labels", "source")
    for network in NETWORKS.values():
        labels = "pixels" if network.labels == "pixels" else "whole images"
        table.add_row(network.name, network.title, labels, network.source)
    out.print(table)


def info(name: str, as_json: bool, out: Console) -> None:
    """Prints what is known of a network or of an installed model.

    Raises:
        ModelMissing: There is neither.
        ModelDamaged: The model's card is not valid.
    """
    if name in NETWORKS:
        facts = _network(NETWORKS[name])
        side = sizes.SIDE if facts["labels"] == "pixels" else sizes.SCENE_SIDE
        work = network_work(name, side=side)
        facts |= {"parameters": work.parameters, "macs": work.macs, "image": [3, side, side]}
        published = next((row for row in BUILDINGS if row.network == name), None)
        if published:
            facts["published"] = published._asdict()
        if as_json:
            print(json.dumps(facts, ensure_ascii=False))
            return
        lines = [
            f"{facts['title']} ({name})",
            f"Source: {facts['source']}.",
            *([f"Reading: {facts['reading']}"] if facts["reading"] else []),
            f"Size: {work.parameters / 1e6:.2f} M parameters; {work.macs / 1e9:.2f} G multiply-accumulates at "
            f"3x{side}x{side}, two classes.",
        ]
        if published:
            lines.append(f"Published: {published.parameters:g} M, {published.flops:g} G.")
        lines.append("Options, with their defaults:")
        lines += [f"  {option} = {json.dumps(default)}" for option, default in facts["options"].items()]
        for line in lines:
            out.print(line, markup=False, soft_wrap=True)
        return
    try:
        card, folder = find_model(name)
    except ModelMissing as error:
        raise ModelMissing(f"{error.message} Networks are: {', '.join(NETWORKS)}.") from None
    if as_json:
        print(json.dumps(card.model_dump(), ensure_ascii=False))
        return
    for line in _card_lines(card, folder):
        out.print(line, markup=False, soft_wrap=True)


def table(record: Path | None, out: Console, err: Console) -> None:
    """Counts all networks, prints the tables, and writes the page.

    Raises:
        OutputUnwritable: The page cannot be written.
    """
    if record is None and Path("backend/rotacube/networks/sizes.py").is_file():  # a checkout
        record = PAGE
    if record is not None and not record.parent.is_dir():
        raise OutputUnwritable(f"The page '{record}' cannot be written: there is no folder '{record.parent}'.")
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err, transient=True) as bar:
        task = bar.add_task("")
        found = sizes.sections(lambda name: bar.update(task, description=f"Counting {name}"))
    for section in found:
        shown = Table(title=section.title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        count = section.narrow if out.width < WIDE else None
        for head in section.head[:count]:
            shown.add_column(head, overflow="fold")
        for row in section.rows:
            shown.add_row(*map(escape, row[:count]))
        out.print(shown)
        if section.note:
            out.print(section.note, markup=False)
    if record is None:
        out.print("No page was written: name one with --record.")
        return
    write_text(record, sizes.page(found))
    out.print(f"{record} is written.", markup=False, soft_wrap=True)


def export(name: str, output: Path, tile: int | None, overwrite: bool, out: Console, err: Console) -> None:
    """Exports an installed model.

    Raises:
        ModelMissing: There is no such model.
        ModelDamaged: Its card or its weights are not valid.
        OptionsRefused: The format is unknown or not installed, or the tile does not suit the network.
        OutputUnwritable: The file is there, or cannot be written.
    """
    if output.exists() and not overwrite:
        raise OutputUnwritable(f"'{output}' is there already. Choose another name, or allow overwriting.")
    loaded = load_model(name)
    side = loaded.card.tile if tile is None else tile
    if side < 64 or side % 32:
        raise OptionsRefused(f"A tile is a multiple of 32 pixels, 64 at least, not {side}.")
    with err.status(f"Exporting {loaded.card.name}"):
        export_network(loaded.network, torch.zeros(1, len(loaded.card.bands), side, side), output)
    means = ", ".join(f"{v:g}" for v in loaded.card.normalisation.mean)
    deviations = ", ".join(f"{v:g}" for v in loaded.card.normalisation.std)
    out.print(
        f"{output} is written: any batch of {len(loaded.card.bands)} x {side} x {side}, values divided by "
        f"{loaded.card.normalisation.scale:g}, less {means}, divided by {deviations}; nodata is zero.",
        markup=False,
        soft_wrap=True,
    )


def _network(network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "title": network.title,
        "labels": network.labels,
        "source": network.source,
        "reading": network.reading,
        "options": network.options(),
    }


def _card_lines(card: ModelCard, folder: Path) -> list[str]:
    options = f", {json.dumps(card.options)}" if card.options else ""
    return [
        f"{card.title} ({card.name})",
        f"Folder: {folder}",
        f"Network: {card.architecture}{options}; {card.weights.parameters / 1e6:.2f} M parameters. {card.source}.",
        f"Bands: {', '.join(card.bands)}; {card.gsd} m a pixel; tiles of {card.tile} pixels, {card.overlap} overlap.",
        f"Classes: {', '.join(c.name for c in card.classes)}; threshold {card.threshold}.",
        f"Trained on: {card.training_data}",
        f"Measured: {', '.join(f'{key} {value:.3f}' for key, value in card.accuracy.items()) or 'nothing'}.",
        f"Licence: {card.licence}. {card.attribution}",
    ]

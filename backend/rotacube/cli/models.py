"""`rotacube models`: what is installed, what can be built, how large it is, and its export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from rotacube.cli.polygons import class_list
from rotacube.cli.terminal import err, out, say, tell
from rotacube.errors import ModelMissing, OptionsRefused, OutputUnwritable
from rotacube.files import is_folder, write_text
from rotacube.texts import check_output_name

if TYPE_CHECKING:
    from rotacube.models.card import ModelCard
    from rotacube.networks.registry import Network

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
PAGE = Path("docs/results/models.md")
WIDE = 150  # columns of a terminal that holds the widest table
OF_FILE = "Of an .onnx file:"
app = typer.Typer(help="The models that are installed, and the networks that can be built.")


@app.callback(invoke_without_command=True)
def root(context: typer.Context, as_json: AsJson = False) -> None:
    """The models that are installed, and the networks that can be built."""
    if context.invoked_subcommand is None:
        _list_installed(as_json)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the installed models, and the networks that can be built."""
    from rotacube.networks.registry import NETWORKS

    if as_json:
        networks = [_network(network) for network in NETWORKS.values()]
        models = [card.model_dump() for card, _ in _installed()]
        print(json.dumps({"models": models, "networks": networks}, ensure_ascii=False))
        return
    _list_installed(False)
    shown = Table("network", "title", "labels", "source")
    for network in NETWORKS.values():
        labels = "pixels" if network.labels == "pixels" else "whole images"
        shown.add_row(network.name, network.title, labels, network.source)
    out.print(shown)


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="An installed model, its folder, or a network.")], as_json: AsJson = False
) -> None:
    """Say what a model or a network is: source, reading, options, size, accuracy."""
    from rotacube.models.store import find_model
    from rotacube.networks.registry import NETWORKS

    if name in NETWORKS:
        _network_info(name, as_json)
        return
    try:
        card, folder = find_model(name)
    except ModelMissing as error:
        raise ModelMissing(f"{error.message} Networks are: {', '.join(NETWORKS)}.") from None
    if as_json:
        print(json.dumps(card.model_dump(), ensure_ascii=False))
        return
    for line in _card_lines(card, folder):
        say(line)


@app.command("table")
def table(
    record: Annotated[
        Path | None, typer.Option(help="The page; by default docs/results/models.md, in a checkout.")
    ] = None,
) -> None:
    """Count every network and print its size beside the published one."""
    from rotacube.networks import sizes

    if record is None and Path("backend/rotacube/networks/sizes.py").is_file():  # a checkout
        record = PAGE
    if record is not None:
        check_output_name(str(record))
    if record is not None and not is_folder(record.parent):
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
    say(f"{record} is written.")


@app.command("export")
def export(
    name: Annotated[str, typer.Argument(help="An installed model or its folder.")],
    output: Annotated[Path, typer.Argument(help="The file: .onnx, or .pt2 for torch.export.")],
    tile: Annotated[int | None, typer.Option(help="Pixels a side; by default the model's.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Export an installed model for other programs; its input is normalised as its card says."""
    import torch

    from rotacube.models.export import export_network
    from rotacube.models.store import load_model

    check_output_name(str(output))
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
    say(
        f"{output} is written: any batch of {len(loaded.card.bands)} x {side} x {side}, values divided by "
        f"{loaded.card.normalisation.scale:g}, less {means}, divided by {deviations}; nodata is zero."
    )


@app.command("install")
def install(
    path: Annotated[Path, typer.Argument(help="A folder with a model.json and its weights, or an .onnx file.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model of that name.")] = False,
    name: Annotated[str, typer.Option(help=f"{OF_FILE} its name here.")] = "",
    classes: Annotated[str, typer.Option(help=f"{OF_FILE} its classes, the background first: background,roof.")] = "",
    resolution: Annotated[float | None, typer.Option(help=f"{OF_FILE} metres a pixel.")] = None,
    tile: Annotated[int | None, typer.Option(help=f"{OF_FILE} pixels a side, where it takes any.")] = None,
    gives: Annotated[
        str | None, typer.Option(help=f"{OF_FILE} logits or probabilities; found out if absent.", show_default=False)
    ] = None,
    roofs: Annotated[bool, typer.Option("--roofs", help=f"{OF_FILE} its second class are roofs.")] = False,
) -> None:
    """Check a model, and copy it to where models are looked for; of an ONNX file its metadata for Deepness are read."""
    from rotacube.models.deepness import Wishes, install_onnx
    from rotacube.models.store import install_model

    wishes = Wishes(name, class_list(classes), resolution, tile, gives, roofs)
    if path.suffix.lower() == ".onnx":
        card, target = install_onnx(path, wishes, overwrite)
    elif wishes != Wishes():
        raise OptionsRefused(f"'{path}' is no .onnx file: a model's folder says all of itself in its model.json.")
    else:
        card, target = install_model(path, overwrite)
    say(f"{card.title} is installed as '{card.name}' in {target}.")
    tell(result={"name": card.name, "folder": str(target)})


def _installed() -> list[tuple[ModelCard, Path]]:
    """The installed models; of those that are left out standard error says why."""
    from rotacube.models.store import look_for_models

    found, left_out = look_for_models()
    for error in left_out:
        err.print(f"Left out: {error.message}", style="yellow", markup=False, soft_wrap=True)
    return found


def _list_installed(as_json: bool) -> None:
    from rotacube.models.store import model_folders

    found = _installed()
    if as_json:
        print(json.dumps([card.model_dump() for card, _ in found], ensure_ascii=False))
        return
    if not found:
        out.print("No model is installed. Searched:")
        for folder in model_folders():
            out.print(f"  {folder}", markup=False)
        return
    shown = Table("name", "title", "resolution", "classes", "on test splits", "licence")
    for card, _ in found:
        names = ", ".join(c.name for c in card.classes)
        shown.add_row(*map(escape, (card.name, card.title, f"{card.gsd} m", names, _measured(card), card.licence)))
    out.print(shown)


def _measured(card: ModelCard) -> str:
    """The figure that says most of a model, by place: F1 of single roofs, or the mean IoU of its classes."""
    for key, name in ((" roofs f1", "roofs F1"), (" mean iou", "mean IoU"), (" iou", "IoU")):
        places = {k.removesuffix(key): value for k, value in card.accuracy.items() if k.endswith(key)}
        if places:
            return f"{name}: " + ", ".join(f"{place} {value:.2f}" for place, value in places.items())
    return ""


def _network_info(name: str, as_json: bool) -> None:
    from rotacube.networks import sizes
    from rotacube.networks.published import BUILDINGS
    from rotacube.networks.registry import NETWORKS
    from rotacube.networks.work import network_work

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
    say(f"{facts['title']} ({name})")
    say(f"Source: {facts['source']}.")
    if facts["reading"]:
        say(f"Reading: {facts['reading']}")
    say(
        f"Size: {work.parameters / 1e6:.2f} M parameters; {work.macs / 1e9:.2f} G multiply-accumulates at "
        f"3x{side}x{side}, two classes."
    )
    if published:
        say(f"Published: {published.parameters:g} M, {published.flops:g} G.")
    say("Options, with their defaults:")
    for option, default in facts["options"].items():
        say(f"  {option} = {json.dumps(default)}")


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
        *([card.notice] if card.notice else []),
    ]

"""The networks' sizes beside the published ones: a table for the terminal and the page `docs/results/models.md`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rotacube.networks.published import BUILDINGS, CUBE_DECODER, PLACEMENT, SCENES, SPECIES
from rotacube.networks.registry import NETWORKS
from rotacube.networks.work import Work, mask_rcnn_work, network_work

SIDE = 512
SCENE_SIDE, SCENE_CLASSES = 256, 21  # UC-Merced
FUSIONS = ("none", "add", "concat", "kpff")


class Section(NamedTuple):
    """A table of the page. A cell may be empty; numbers are text already; `narrow` columns suit a narrow terminal."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    narrow: int | None = None


def sections(on_step: Callable[[str], None] = lambda name: None) -> list[Section]:
    """Count all networks.

    Args:
        on_step: is told each network's name before it is counted.
    """

    def count(name: str, fusion: str | None = None) -> Work:
        on_step(name)
        if fusion is None:
            return network_work(name, side=SIDE)
        return network_work(name, classes=SCENE_CLASSES, side=SCENE_SIDE, fusion=fusion)

    dense = {name: count(name) for name, network in NETWORKS.items() if network.labels == "pixels"}
    scenes = {name: [count(name, fusion) for fusion in FUSIONS] for name in SCENES}
    return [
        Section(
            "Building networks (Cube Kernel, table 3)",
            "One image of 3x512x512, one logit. G: 1e9 multiply-accumulates; 2 x G: 1e9 operations, two a "
            "multiply-accumulate. The published column mixes both: ConvNeXt-Cube's figure fits the first, SEnet's and "
            "UNet's the second. In brackets: ours against the published figure. IoU and F1 are the published ones; "
            "none of these networks was trained here on WBD or WHU.",
            (
                "published",
                "network",
                "M published",
                "M ours",
                "G published",
                "G ours",
                "2 x G ours",
                "IoU WBD",
                "F1 WBD",
                "IoU WHU",
                "F1 WHU",
            ),
            list(_buildings(dense)),
            narrow=7,
        ),
        Section(
            "Other networks for dense labels",
            "The same image. IoU on WBD as published (Cube Kernel, table 2), where it is.",
            ("network", "title", "M", "G", "IoU WBD"),
            [
                (name, NETWORKS[name].title, *_size(work), _share(PLACEMENT.get(name)))
                for name, work in dense.items()
                if name not in SPECIES and name not in {row.network for row in BUILDINGS}
            ],
        ),
        Section(
            "ConvNeXt-U-Cube against ConvNeXt-U (Cube Kernel, later abstract)",
            "",
            ("", "published", "ours"),
            [
                ("parameters", _percent(CUBE_DECODER[0]), _relative(dense, "parameters")),
                ("operations", _percent(CUBE_DECODER[1]), _relative(dense, "macs")),
            ],
        ),
        Section(
            "Plant networks (Accelerated Rotation-Invariant Convolution)",
            "The same image. The accuracies are the published ones; sizes are not published. A multiply-accumulate "
            "counts once for the four rotations that share it (the paper's scatter form); as four convolutions each "
            "rotation would count its own.",
            ("network", "M", "G", "plants 256", "plants 1024", "drone 256", "drone 1024"),
            [(name, *_size(dense[name]), *map(_share, published)) for name, published in SPECIES.items()],
        ),
        Section(
            "Scene classifiers (Kronecker Product Feature Fusion, table 1)",
            "One image of 3x256x256, 21 classes. The accuracies on UC-Merced are the published ones.",
            ("network", "fusion", "M", "G", "accuracy"),
            [
                (name, fusion, *_size(work), _share(accuracy))
                for name, works in scenes.items()
                for fusion, work, accuracy in zip(FUSIONS, works, SCENES[name], strict=True)
            ],
        ),
    ]


def page(found: Sequence[Section]) -> str:
    """The sections as the Markdown page, with the readings."""
    lines = [
        "# The networks, beside the published figures",
        "",
        "Written by `rotacube models table`; not edited by hand. Parameters and multiply-accumulates are counted from "
        "the networks as they are built; nothing was bent to reach a number.",
    ]
    for section in found:
        lines += ["", f"## {section.title}", ""]
        if section.note:
            lines += [section.note, ""]
        lines += [_line(section.head), _line(["---"] * len(section.head)), *map(_line, section.rows)]
    lines += ["", "## Sources and readings", ""]
    for network in NETWORKS.values():
        reading = f" {network.reading}" if network.reading else ""
        lines.append(f"- `{network.name}`: {network.source}.{reading}")
    lines.append(
        "- Mask R-CNN: He et al. 2017, on ResNet-50 and a feature pyramid; 1000 regions and 100 masks are counted. It "
        "finds objects instead of labelling pixels, so no map is made with it: it is measured against (`make rival`)."
    )
    return "\n".join(lines) + "\n"


def _buildings(works: dict[str, Work]) -> Iterator[tuple[str, ...]]:
    for row in BUILDINGS:
        accuracy = tuple(_share(value) for value in row.accuracy)
        work = mask_rcnn_work(side=SIDE) if row.network is None else works[row.network]
        millions, billions = work.parameters / 1e6, work.macs / 1e9
        yield (
            row.title,
            row.network or "finds objects",
            f"{row.parameters:g}",
            _against(millions, row.parameters),
            f"{row.flops:g}",
            _against(billions, row.flops),
            _against(2 * billions, row.flops),
            *accuracy,
        )


def _size(work: Work) -> tuple[str, str]:
    return f"{work.parameters / 1e6:.2f}", f"{work.macs / 1e9:.2f}"


def _against(ours: float, published: float) -> str:
    return f"{ours:.2f} ({_percent(ours / published - 1)})"


def _relative(works: dict[str, Work], what: str) -> str:
    cube, plain = (getattr(works[name], what) for name in ("convnext-u-cube", "convnext-u"))
    return _percent(cube / plain - 1)


def _percent(share: float) -> str:
    return f"{100 * share:+.1f}%"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"

"""`rotacube train`: a recipe to a model folder and a report; what was begun is resumed."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from rotacube.cli.terminal import progress, say, stop_event, tell
from rotacube.errors import JobCancelled, OptionsRefused


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe that comes with Rotacube, or a YAML file.")],
    changes: Annotated[list[str] | None, typer.Option("--set", help="key=value, such as schedule.steps=500.")] = None,
    work: Annotated[Path | None, typer.Option(help="Checkpoints and report; build/train/RECIPE if absent.")] = None,
    output: Annotated[Path | None, typer.Option(help="The model's folder; inside of the former if absent.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves PyTorch's number.", min=0)] = 0,
) -> None:
    """Train a model as a recipe says, measure it, and write it with its card. Killed, it goes on where it was."""
    import torch

    from rotacube.inference.device import choose_place
    from rotacube.training.datasets.areas import data_root, known_root

    try:
        from rotacube.training.recipe import read_recipe

        chosen = read_recipe(recipe, changes)
        root = known_root() if chosen.data.sets else data_root() or Path()
        from rotacube.training.finish import finish, held_out
        from rotacube.training.fit import fit
        from rotacube.training.report import write_report
    except ModuleNotFoundError as error:
        raise OptionsRefused(f"Training needs '{error.name}': pip install 'rotacube[train]'.") from error
    if threads:
        torch.set_num_threads(threads)
    folder = work or Path("build/train") / chosen.card["name"]
    with _interrupted_tidily() as stop, progress() as show:
        begun: list[tuple[int, float]] = []

        def step(done: int, total: int, loss: float) -> None:
            if stop.is_set():
                raise JobCancelled(f"The training was cancelled. The same command goes on from what '{folder}' holds.")
            now = time.monotonic()
            if not begun:
                begun.append((done, now))
            first, then = begun[0]
            left = (now - then) / (done - first) * (total - done) if done > first else None
            show("Training", done, total, "steps", left)
            tell(step=done, loss=loss)

        network = fit(chosen, root, folder, progress=False, on_step=step)
    model = output or folder / "model"
    card = finish(network, chosen, root, model, choose_place(), say)
    report = write_report(card, folder, model, (areas for _, areas in held_out(chosen, root)))
    say(f"{model} is written; {report} shows how it came about.")
    tell(result={"name": card.name, "folder": str(model), "report": str(report)})


@contextmanager
def _interrupted_tidily() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets meanwhile, between two steps; afterwards it interrupts again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop_event()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

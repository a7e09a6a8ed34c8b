"""Seeded damage to models: cards as trees and as text, weights as headers and as numbers."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fuzz_bytes

DIGITS = "9" * 5000
VALUES = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**200, 0.5, -0.0, 1e-9, 1e-4, 1e300, -1e300, [], {}, "", " ", "0"),
    *("\ud800", "\0", "../x", "/dev/zero", "#12345", "x" * 100_000, ["x"] * 10_000, [[[[]]]], {"a": {"b": []}}, "nan"),
    *("convnext-cube", "alexnet", "unet", "roof\nroof", "é", "\u202e", [1, 2, 3], [0.0, 0.0, 0.0], [1e300] * 3),
]
KINDS = ["F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL", "F8_E4M3", "X9", ""]


def damage_card(folder: Path, rng: random.Random) -> None:
    """Damage the card of a model folder."""
    path = folder / "model.json"
    text = path.read_text(encoding="utf-8")
    if rng.random() < 0.75:
        tree = json.loads(text)
        for _ in range(rng.choice([1, 1, 2, 3])):
            _damage_tree(tree, rng)
        text = json.dumps(tree)
        text = text.replace('"a long number"', DIGITS).replace('"deep"', "[" * 100_000 + "]" * 100_000)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    elif rng.random() < 0.5:
        path.write_bytes(fuzz_bytes.damaged_text(text, rng).encode("utf-8", "surrogatepass"))
    else:
        data = fuzz_bytes.damaged(text.encode(), rng, text.encode())
        path.write_bytes(rng.choice([data, data, text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode(), b""]))


def _places(tree: Any, above: Any = None, key: Any = None) -> Iterator[tuple[Any, Any]]:
    if above is not None:
        yield above, key
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, part in list(inner):
        yield from _places(part, tree, name)


def _damage_tree(tree: dict, rng: random.Random) -> None:
    above, key = rng.choice(list(_places(tree)) or [(tree, "name")])
    way = rng.random()
    if way < 0.15:
        del above[key]
    elif way < 0.3 and isinstance(above, dict):
        above[rng.choice(["more", "", "\0", "\ud800", "x" * 5000, "options"])] = copy.deepcopy(rng.choice(VALUES))
    elif way < 0.4:
        option = rng.choice(["width", "depth", "size", "classes", "bands", "self", "x" * 300, ""])
        tree["options"] = {option: rng.choice([10**9, -1, 0, 1.5, "1", None, [], True])}
    elif way < 0.5:
        above[key] = rng.choice(["a long number", "deep"])
    elif isinstance(above[key], (int, float)) and way < 0.7:
        above[key] = rng.choice([0, -1, 1, 2, 1e-9, 1e-4, 1e9, 1e300, float("nan"), float("inf"), 10**30, 64, 96, 2048])
    else:
        above[key] = copy.deepcopy(rng.choice(VALUES))


def damage_weights(folder: Path, rng: random.Random) -> str:
    """Damage the weights of a model folder, and name the new file's hash in the card.

    Returns:
        "bad" where no run may come of it, else "any".
    """
    card = json.loads((folder / "model.json").read_text())
    path = folder / card["weights"]["file"]
    data = path.read_bytes()
    length = struct.unpack_from("<Q", data)[0]
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    must = "any"
    way = rng.randrange(8)
    if way == 0:  # a number that is none
        name = rng.choice([n for n in header if n != "__metadata__"])
        start, end = header[name]["data_offsets"]
        width = {"F16": 2, "BF16": 2, "F32": 4}.get(header[name]["dtype"])
        if width and end > start:
            raw = {"F16": b"\x00\x7e", "BF16": b"\xc0\x7f", "F32": b"\x00\x00\xc0\x7f"}[header[name]["dtype"]]
            if rng.random() < 0.5:
                raw = {"F16": b"\x00\x7c", "BF16": b"\x80\x7f", "F32": b"\x00\x00\x80\x7f"}[header[name]["dtype"]]
            at = start + width * rng.randrange((end - start) // width)
            body[at : at + width] = raw
            must = "bad"
    elif way == 1:
        name = rng.choice([n for n in header if n != "__metadata__"])
        header[name]["dtype"] = rng.choice(KINDS)
    elif way == 2:  # all of another kind, of the right size
        kind, new = rng.choice([("I64", 8), ("BOOL", 1), ("U8", 1), ("I32", 4)])
        header, body, must = _recast(header, kind, new), None, "bad"
        body = bytearray(b"\1" * max(v["data_offsets"][1] for v in header.values()))
    elif way == 3:
        for _ in range(rng.choice([1, 64])):
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    elif way == 4:
        _damage_tree(header, rng)
    elif way == 5:
        name = rng.choice([n for n in header if n != "__metadata__"])
        header[name]["shape"] = rng.choice([[], [0], [2**62, 4], [-1], [1] * 3000, [10**10], "x"])
    elif way == 6:
        name = rng.choice([n for n in header if n != "__metadata__"])
        header[name]["data_offsets"] = rng.choice([[0, 2**63], [5, 1], [0], [-4, 0], [0, len(body)], [1, 2, 3]])
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    length = len(text) if way != 7 else rng.choice([0, 1, 2**63, 2**64 - 1, len(text) - 1, 10**8 + 1])
    data = struct.pack("<Q", length) + text + bytes(body)
    if way == 7 and rng.random() < 0.5:
        data = fuzz_bytes.damaged(path.read_bytes(), rng, data)
    path.write_bytes(data)
    card["weights"]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "model.json").write_text(json.dumps(card))
    return must


def _recast(header: dict, kind: str, width: int) -> dict:
    out, at = {}, 0
    for name, about in header.items():
        if name == "__metadata__":
            continue
        count = 1
        for side in about["shape"]:
            count *= side
        out[name] = {"dtype": kind, "shape": about["shape"], "data_offsets": [at, at + count * width]}
        at += count * width
    return out


def evil_models(model: Path, folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Hand-made models: a name, the model's folder, and what must come of it."""

    def changed(name: str, **changes: object) -> Path:
        made = folder / name / "model"  # in a folder of its own, so that one hides no other
        shutil.copytree(model, made)
        card = json.loads((made / "model.json").read_text())
        text = json.dumps({**card, **changes}).replace('"a long number"', DIGITS)
        (made / "model.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        return made

    for name, changes, must in [
        ("long-integer", {"format": "a long number"}, "bad"),
        ("surrogate", {"title": "\ud800"}, "bad"),
        ("huge-title", {"title": "x" * 2**20}, "bad"),
        ("tiny-gsd", {"gsd": 1e-9}, "bad"),
        ("small-gsd", {"gsd": 1e-4}, "bad"),
        ("odd-option", {"options": {"self": 1}}, "bad"),
        ("wide-option", {"options": {"width": 10**9}}, "bad"),
        ("absurd-mean", {"normalisation": {"scale": 255.0, "mean": [1e300] * 3, "std": [0.2] * 3}}, "bad"),
        ("absurd-std", {"normalisation": {"scale": 255.0, "mean": [0.4] * 3, "std": [1e-300] * 3}}, "bad"),
    ]:
        yield name, changed(name, **changes), must
    made = changed("sparse-card")
    with (made / "model.json").open("r+b") as file:
        file.truncate(8 * 2**30)
    yield "sparse-card", made, "bad"
    made = changed("fifo-card")
    (made / "model.json").unlink()
    os.mkfifo(made / "model.json")
    yield "fifo-card", made, "bad"
    made = changed("fifo-weights")
    weights = next(made.glob("*.safetensors"))
    weights.unlink()
    os.mkfifo(weights)
    yield "fifo-weights", made, "bad"
    made = changed("sparse-weights")
    with next(made.glob("*.safetensors")).open("r+b") as file:
        file.truncate(6 * 2**30)
    yield "sparse-weights", made, "bad"

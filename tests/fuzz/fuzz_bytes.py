"""Seeded damage: bytes, the tables of a TIFF, and text."""

from __future__ import annotations

import random
import re
import struct

NUMBERS = [
    *("0", "-1", "1", "2", "255", "256", "65535", "65536", "2147483647", "2147483648", "4294967295", "-2147483648"),
    *("9223372036854775807", "18446744073709551616", "1e300", "-1e300", "1e-300", "nan", "inf", "-inf", "0.15", "1e6"),
    *("0x10", "1,5", "", " ", "٣", "9" * 400),
]
TEXTS = [
    *("", " ", "\0", "ünïcödé", "\U0001f600", "..", "/", "/dev/zero", "/dev/stdin", "/vsistdin/", "/vsimem/none"),
    *("http://127.0.0.1:9/none.tif", "/vsicurl/http://127.0.0.1:9/none.tif", "%s%n", "<a>", "&amp;", "]]>", "x" * 5000),
    *("EPSG:4326", "EPSG:999999", "EPSG:3857", "Byte", "CFloat64", "UInt16", "Int64", "Palette", "Alpha", "average"),
]
# Tags where a wrong value leads furthest: sizes, layout, where the blocks lie, georeference, colours.
TAGS = [256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339, 347, 33550, 33922]
TAGS += [34264, 34735, 34736, 34737, 42112, 42113, 530, 532]
ODD = [0, 1, 2, 3, 7, 16, 255, 256, 1000, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1]


def damaged(data: bytes, rng: random.Random, spare: bytes = b"") -> bytes:
    """Bytes with one to a few damages; those of a TIFF more often in its tables."""
    kind = rng.random()
    if data[:2] in (b"II", b"MM") and kind < 0.5:
        return _tables(data, rng)
    if kind < 0.75 and _is_text(data):
        return damaged_text(data.decode("utf-8", "surrogateescape"), rng).encode("utf-8", "surrogateescape")
    return _bytes(data, rng, spare)


def _is_text(data: bytes) -> bool:
    return bool(data) and b"\0" not in data[:4096] and sum(b < 9 for b in data[:512]) == 0


def _bytes(data: bytes, rng: random.Random, spare: bytes) -> bytes:
    out = bytearray(data or b"\0")
    way = rng.randrange(9)
    at = rng.randrange(len(out))
    span = rng.choice([1, 4, 16, 256, 4096])
    if way in (0, 1):  # the head, where most is decided
        for _ in range(rng.choice([1, 1, 2, 8])):
            out[rng.randrange(min(512, len(out)))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    elif way == 2:
        for _ in range(rng.choice([1, 4, 64])):
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    elif way == 3:
        del out[at:]
    elif way == 4:
        out += bytes(span) if rng.random() < 0.5 else rng.randbytes(span)
    elif way == 5:
        del out[at : at + span]
    elif way == 6:
        out[at:at] = out[at : at + span]
    elif way == 7:
        out[at : at + span] = rng.randbytes(span)
    else:
        cut = rng.randrange(max(1, len(spare)))
        out[at : at + span] = spare[cut : cut + span]
    return bytes(out)


def _tables(data: bytes, rng: random.Random) -> bytes:
    """A TIFF with damaged directory entries, or scrambled arrays that they point to."""
    order = "<" if data[:2] == b"II" else ">"
    out = bytearray(data)
    try:
        entries = list(_entries(data, order))
    except struct.error:
        return _bytes(data, rng, b"")
    wanted = [e for e in entries if e[1] in TAGS] or entries
    for _ in range(rng.choice([1, 1, 2, 4])):
        if not wanted:
            break
        at, tag, kind, count, big = rng.choice(wanted)
        size = {3: 2, 4: 4, 12: 8, 16: 8}.get(kind, 1)
        inline = 8 if big else 4
        field = at + (12 if big else 8)
        if tag in (273, 279, 324, 325, 34736, 34735, 33550, 33922) and rng.random() < 0.6 and count * size > inline:
            where = struct.unpack_from(order + ("Q" if big else "I"), data, field)[0]
            for _ in range(rng.choice([1, 3, count])):
                place = where + size * rng.randrange(max(1, min(count, 4096)))
                if place + size <= len(out):
                    value = rng.choice([rng.randrange(len(out)), *ODD, *ODD]) % (1 << (8 * size))
                    raw = struct.pack(order + "d", rng.choice([float("nan"), float("inf"), 1e300, 0.0, -0.15, 1e-9]))
                    out[place : place + size] = raw if kind == 12 else value.to_bytes(size, _name(order))
            continue
        way = rng.randrange(5)
        if way == 0:
            out[at : at + 2] = rng.choice(TAGS).to_bytes(2, _name(order))
        elif way == 1:
            out[at + 2 : at + 4] = rng.choice([0, 1, 2, 3, 4, 5, 7, 12, 13, 16, 99]).to_bytes(2, _name(order))
        elif way == 2:
            out[at + 4 : at + 8] = rng.choice(ODD).to_bytes(4, _name(order))
        else:
            out[field : field + size] = (rng.choice(ODD) % (1 << (8 * size))).to_bytes(size, _name(order))
    return bytes(out)


def _name(order: str) -> str:
    return "little" if order == "<" else "big"


def _entries(data: bytes, order: str):
    """Where each entry of each directory lies, its tag, type and count, and whether the TIFF is a big one."""
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    at = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    for _ in range(8):
        if not 0 < at < len(data):
            return
        count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
        at += 8 if big else 2
        for _ in range(min(count, 200)):
            tag, kind, many = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, at)
            yield at, tag, kind, many, big
            at += 20 if big else 12
        at = struct.unpack_from(order + ("Q" if big else "I"), data, at)[0]


def damaged_text(text: str, rng: random.Random) -> str:
    """Text with one to three damages: numbers, words, lines, elements."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        way = rng.randrange(8)
        numbers = list(re.finditer(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text))
        words = list(re.finditer(r'(?<=>)[^<>\n]+(?=<)|(?<=")[^"\n]*(?=")', text))
        lines = text.splitlines(keepends=True)
        elements = list(re.finditer(r"<(\w+)[^<>]*>[^<>]*</\1>", text))
        if way <= 1 and numbers:
            text = _swap(text, rng.choice(numbers), rng.choice(NUMBERS))
        elif way == 2 and words:
            text = _swap(text, rng.choice(words), rng.choice(TEXTS))
        elif way == 3 and len(lines) > 1:
            del lines[rng.randrange(len(lines))]
            text = "".join(lines)
        elif way == 4 and lines:
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines) * rng.choice([1, 1, 500]))
            text = "".join(lines)
        elif way == 5 and elements:
            text = _swap(text, rng.choice(elements), rng.choice(["", rng.choice(elements)[0] * 2]))
        elif way == 6 and text:
            text = text[: rng.randrange(len(text))]
        elif text:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice([*TEXTS, *NUMBERS, "<!--", "<", '"', "\r", "﻿"]) + text[at:]
    return text


def _swap(text: str, hit: re.Match, new: str) -> str:
    return text[: hit.start()] + new + text[hit.end() :]

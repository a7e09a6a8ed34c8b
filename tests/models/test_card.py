"""The model card: what it demands, and what it says of colours, logits and normalisation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pydantic import ValidationError

from rotacube.errors import ModelDamaged
from rotacube.models.card import AGAIN, CardClass, read_card

NORMAL = {"scale": 255, "mean": [0, 0, 0], "std": [1, 1, 1]}


@pytest.mark.parametrize(
    "changes",
    [
        {"overlap": 49},
        {"overlap": -1},
        {"tile": 100},
        {"tile": 32},
        {"gsd": 0},
        {"gsd": float("nan")},
        {"gsd": float("inf")},
        {"threshold": 1},
        {"bands": []},
        {"bands": ["red"]},
        {"normalisation": {"scale": 255, "mean": [0, 0, 0], "std": [1, 0, 1]}},
        {"classes": [{"id": 0, "name": "a", "color": "#000000"}]},
        {"classes": [{"id": 1, "name": "a", "color": "#000000"}, {"id": 0, "name": "b", "color": "#000000"}]},
        {"classes": [{"id": 0, "name": "a", "color": "#000000"}, {"id": 1, "name": "b", "color": "red"}]},
        {"name": "../up"},
        {"format": 2},
        {"colour": "blue"},
        *({"gsd": gsd} for gsd in (1e-9, 1e-4, 1001)),
        *({"gsd_factors": factors} for factors in ((1e-300, 2), (1, 1e300), (2, 3), (1, 0.5))),
        *({"normalisation": NORMAL | {"scale": scale}} for scale in (0, 1e-30, 1e30)),
        *({"normalisation": NORMAL | {"mean": [0, value, 0]}} for value in (1e30, -1e30, 100)),
        *({"normalisation": NORMAL | {"std": [1, value, 1]}} for value in (1e-30, 1e30, 100)),
        *({"options": {name: 1}} for name in ("", "a b", "1a", "__\n", "\ud800", "a" * 1000)),
        *({"options": {"cube": value}} for value in (1e300, "a" * 1000, "\0", [[[[[1]]]]], list(range(101)), {1: {}})),
        {"options": {f"a{n}": 1 for n in range(101)}},
        *({name: "a" * 10**5} for name in ("name", "title", "task", "architecture", "source", "licence")),
        *({name: "a\ud800"} for name in ("name", "title", "task", "architecture", "source", "licence")),
        {"title": "a\x1b[31m"},
        {"accuracy": {"a" * 1000: 1.0}},
        {"bands": ["a" * 1000, "green", "blue"]},
        *({"counts": {"here": counts}} for counts in ((5, 3, 4), (3, 5, 4), (5, 5, -1), (5, 5), (5, 5, 2.5))),
    ],
)
def test_a_card_that_does_not_fit_together_is_refused(changes, make_card):
    with pytest.raises(ValidationError):
        make_card(**changes)


def test_a_colour_is_three_numbers():
    assert CardClass(id=1, name="roof", color="#E4572e").rgb == (0xE4, 0x57, 0x2E)


def test_two_classes_share_a_logit(make_card):
    assert make_card().outputs == 1
    classes = [{"id": i, "name": str(i), "color": "#000000"} for i in range(3)]
    assert make_card(classes=classes).outputs == 3


def test_normalisation_is_the_cards_formula_and_zero_where_nodata(make_card):
    rule = make_card(normalisation={"scale": 255.0, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.1, 0.5]}).normalisation
    values = np.array([-1.0, 0.0, 0.25, 2.0, np.nan], np.float32)[None, None].repeat(3, 0)
    valid = np.array([[True, True, True, True, False]])
    got = rule.apply(values, valid)
    assert got.dtype == np.float32 and (got[..., 4] == 0).all()
    np.testing.assert_allclose(got[1, 0, :4], [-4, -4, -1.5, 6], rtol=1e-6)
    np.testing.assert_allclose(got[:, 0, 3], [2.5, 6, 1.4], rtol=1e-6)


HUGE = "1" * 5000
NONE = {
    "empty": "",
    "a list": "[]",
    "null": "null",
    "a number": "3",
    "a field": '{"name": "x"}',
    "NUL": "\x00",
    "nested": "[" * 100000,
    "a huge number": f'{{"format": {HUGE}}}',
    "a number huger than a float": f'{{"gsd": {"1" * 400}}}',
    "an endless field": f'{{"{"a" * 200000}": 1}}',
    "a lone surrogate": '{"name": "\\ud800"}',
    "a lone surrogate as a field": '{"\\ud800": 1}',
    "bytes that are no text": b'{"name": "\xff"}',
}


@pytest.mark.parametrize("content", NONE.values(), ids=NONE)
def test_a_card_that_is_none_is_told_in_a_sentence(content, tmp_path):
    (tmp_path / "model.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ModelDamaged) as caught:
        read_card(tmp_path)
    told = caught.value.message
    assert len(told.encode()) < 2000 and "\n" not in told and told.endswith(AGAIN)


def test_a_card_of_gigabytes_is_not_read(tmp_path):
    with (tmp_path / "model.json").open("wb") as file:
        file.truncate(8 * 2**30)
    start = time.monotonic()
    with pytest.raises(ModelDamaged, match="more than 262,144 bytes"):
        read_card(tmp_path)
    assert time.monotonic() - start < 1


def test_what_is_smallest_is_a_hut_or_ten_by_ten_pixels(make_card):
    assert make_card(task="rooftops", gsd=0.15).separation.smallest == 2
    assert make_card(task="plants", gsd=0.0025).separation.smallest == 0.000625
    assert make_card(task="plants", gsd=10.0).separation.smallest == 2
    told = make_card(task="plants", gsd=0.0025, separation={"smallest": 0.5, "saddle": 0.3}).separation
    assert (told.smallest, told.saddle) == (0.5, 0.3)
    with pytest.raises(ValidationError):
        make_card(separation=[])
    with pytest.raises(ValidationError):
        make_card(gsd="far")

"""The model card: what it demands, and what it says of colours, logits and normalisation."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from rotacube.errors import ModelDamaged
from rotacube.models.card import CardClass, read_card


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


@pytest.mark.parametrize("content", ["", "[]", "null", "3", '{"name": "x"}', "\x00", "[" * 100000])
def test_a_card_that_is_none_is_told(content, tmp_path):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(ModelDamaged):
        read_card(tmp_path)

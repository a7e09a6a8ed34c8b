"""Shares and counts with intervals: on made maps of known truth the intervals hold it, and the algebra is sound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from rotacube.inference.shares import Blocks, roofs, shares

SIDE, BLOCK = 96, 16


class World:
    """Places of one kind: truth is smooth noise cut off, and a model sees it through smooth noise of its own.

    A place has its own shares, shifts what the model sees of each class, and lets it see some classes less well. The
    model's probabilities are those that fit the usual shares and no shift, sharpened, until a temperature is chosen
    on validation.

    Args:
        usual: shares of the classes.
        same: how little the shares of places differ (concentration of their Dirichlet distribution).
        skill: how far classes lie apart in what the model sees, in deviations of its noise.
        spread: by how much the log-odds of classes are shifted from place to place (standard deviation).
        size: pixels that objects are smooth over; errors are over `error` pixels.
    """

    def __init__(self, usual=(0.8, 0.2), same=15, skill=3.0, spread=0.35, size=5.0, error=4.0, seed=0):
        self.usual, self.same, self.skill, self.spread = np.array(usual), same, skill, spread
        self.size, self.error, self.rng = size, error, np.random.default_rng(seed)

    def smooth(self, count, sigma):
        field = self.rng.standard_normal((count, SIDE, SIDE))
        field = ndimage.gaussian_filter(field, (0, sigma, sigma), mode="wrap")
        return field / field.std((1, 2), keepdims=True)

    def place(self):
        """True labels (H, W), and log-probabilities (K, H, W)."""
        kinds, draw = len(self.usual), self.rng.standard_normal
        truth, share = np.zeros((SIDE, SIDE), int), self.rng.dirichlet(self.usual * self.same)
        for kind, field in enumerate(self.smooth(kinds - 1, self.size), start=1):
            there = int(share[kind] * SIDE**2)
            if there:
                free = np.where(truth == 0, field, -np.inf)
                truth[free >= np.partition(free.ravel(), -there)[-there]] = kind
        gain = self.skill * np.exp(0.3 * self.spread * draw((kinds, 1, 1)))
        seen = self.smooth(kinds, self.error) + gain * (np.arange(kinds)[:, None, None] == truth)
        logits = self.skill * seen + np.log(self.usual)[:, None, None] + self.spread * draw((kinds, 1, 1))
        return truth, cooled(logits, 0.6)


def cooled(logits, temperature):
    return logits / temperature - np.logaddexp.reduce(logits / temperature, 0)


def validated(places):
    """The temperature and the confusion of places, as a training writes them."""
    temperatures = np.exp(np.linspace(-0.9, 0.9, 13))

    def loss(temperature):
        some = [(cooled(logits[:, ::6, ::6], temperature), truth[None, ::6, ::6]) for truth, logits in places]
        return np.mean([-np.take_along_axis(logits, truth, 0).mean() for logits, truth in some])

    kinds, tables = len(places[0][1]), {}
    for truth, logits in places:
        pairs = np.bincount((truth * kinds + logits.argmax(0)).ravel(), minlength=kinds**2).reshape(kinds, kinds)
        tables[f"place {len(tables)}"] = (pairs / np.maximum(1, pairs.sum(1, keepdims=True))).round(6).tolist()
    return min(temperatures, key=loss), tables


def in_blocks(logits):
    """Log-probabilities (K, H, W) counted in blocks."""
    kinds, height, width = logits.shape
    rows, columns = np.arange(0, height, BLOCK), np.arange(0, width, BLOCK)

    def counted(values):
        return np.add.reduceat(np.add.reduceat(values, rows, 1), columns, 2).reshape(len(values), -1).T

    found = (logits.argmax(0) == np.arange(kinds)[:, None, None]).astype(float)
    return Blocks(counted(np.ones((1, height, width)))[:, 0], counted(found), counted(np.exp(logits)))


def coverage(world, places=3, maps=200, zones=(SIDE, 30), further=False):
    """Of zones of each side, in how many the interval holds the true share of a class, and its median width; shares
    of the whole, or of the further classes in these together.
    """
    held, widths = {side: [] for side in zones}, {side: [] for side in zones}
    kinds = len(world.usual)
    for _ in range(maps):
        temperature, tables = validated([world.place() for _ in range(places)])
        truth, logits = world.place()
        logits = cooled(logits, temperature)
        whole = in_blocks(logits)
        for side in zones:
            top, left = world.rng.integers(0, SIDE - side + 1, 2)
            zone = np.s_[..., top : top + side, left : left + side]
            true = np.bincount(truth[zone].ravel(), minlength=kinds) / side**2
            found = shares(in_blocks(logits[zone]), tables, [str(kind) for kind in range(kinds)], whole)
            if further:
                true[1:] /= max(true[1:].sum(), 1e-12)
            known = found.further if further else found.classes[1:]
            for share, there in zip(known, true[1:] if known else (), strict=True):
                if share.low is not None:
                    held[side].append(share.low - 1e-9 <= there <= share.high + 1e-9)
                    widths[side].append(share.high - share.low)
    return [float(np.mean(h)) for h in held.values()], [float(np.median(w)) for w in widths.values()]


@pytest.mark.parametrize(
    ("kind", "maps"),
    [({}, 200), ({"usual": (0.99, 0.01), "same": 100}, 200), ({"usual": (0.6, 0.25, 0.14, 0.01), "same": 30}, 100)],
    ids=["two classes", "a rare class", "four classes"],
)
def test_intervals_hold_the_truth_of_made_maps(kind, maps):
    (whole, zone), _ = coverage(World(**kind), maps=maps)
    assert 0.92 <= whole <= (0.98 if len(kind.get("usual", "two")) < 4 else 0.99)  # of more classes more is held
    assert zone >= 0.92


def test_intervals_of_shares_of_the_further_classes_hold_the_truth():
    (whole, zone), _ = coverage(World(usual=(0.6, 0.25, 0.15), same=30), maps=100, further=True)
    assert 0.92 <= whole <= 0.99 and zone >= 0.92


@pytest.mark.parametrize(("places", "usual"), [(2, 300), (3, 300), (3, 15), (5, 60)])
def test_intervals_of_counts_hold_the_truth(places, usual):
    """Recall and the false alarms to a roof differ by place; numbers are Poisson and matches binomial."""
    rng = np.random.default_rng(0)

    def place():
        recall = 1 / (1 + np.exp(-(0.8 + 0.8 * rng.standard_normal())))
        truth = rng.poisson(usual * rng.gamma(4) / 4) + 1
        matched = rng.binomial(truth, recall)
        return truth, int(matched + rng.poisson(0.4 * np.exp(0.8 * rng.standard_normal()) * truth)), int(matched)

    held = []
    for _ in range(200):
        truth, found, _ = place()
        number, _ = roofs(found, {str(k): place() for k in range(places)})
        held.append(number.low <= truth <= number.high)
    assert 0.92 <= np.mean(held) <= 0.98


def rows(kinds, places, seed, sharp=5.0):
    """Tables of confusion of places that differ."""
    rng = np.random.default_rng(seed)
    tables = np.eye(kinds) * sharp + rng.gamma(0.5, size=(places, kinds, kinds))
    return {str(k): (t / t.sum(1, keepdims=True)).tolist() for k, t in enumerate(tables)}


@st.composite
def cases(draw):
    """Blocks, tables of which rows may be zero, and a generator."""
    kinds, places, seed = draw(st.integers(2, 6)), draw(st.integers(1, 5)), draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 4097, draw(st.integers(1, 40))).astype(float)
    pixels[0] += 1
    likely = rng.dirichlet(np.full(kinds, draw(st.sampled_from([0.05, 1.0, 20.0]))), (2, len(pixels)))
    found, chance = likely * pixels[:, None]
    tables = rows(kinds, places, seed, draw(st.sampled_from([0.0, 1.0, 20.0])))
    for table in tables.values():
        for kind in range(kinds):
            if rng.random() < 0.2:
                table[kind] = [0.0] * kinds
    return Blocks(pixels, found, chance), tables, [f"class {kind}" for kind in range(kinds)]


@settings(max_examples=60, deadline=None)
@given(cases(), st.floats(1, 1e9))
def test_shares_are_bounded_ordered_and_scale(case, area):
    blocks, tables, names = case
    result = shares(blocks, tables, names)
    assert sum(share.found for share in result.classes) == pytest.approx(1)
    known = [any(any(table[kind]) for table in tables.values()) for kind in range(len(names))]
    for share, there, whole in zip(result.classes, known, result.areas(area), strict=True):
        assert (share.low is not None) == there and whole.found == share.found * area
        if there:
            assert 0 <= share.low <= share.best <= share.high <= 1
            assert whole.low <= whole.best <= whole.high <= area * 1.000001
    order = np.random.default_rng(1).permutation(len(blocks.pixels))
    again = shares(Blocks(blocks.pixels[order], blocks.found[order], blocks.chance[order]), tables, names)
    for one, other in zip(result.classes, again.classes, strict=True):
        assert [value or 0 for value in one] == pytest.approx([value or 0 for value in other], abs=1e-6)


def alike(count=60, roof=0.3, side=64):
    """Blocks of which a share is of the second class, as found and as likely."""
    pixels = np.full(count, side**2, float)
    both = pixels[:, None] * [1 - roof, roof]
    return Blocks(pixels, both, both)


GOOD = {"a": [[0.96, 0.04], [0.1, 0.9]], "b": [[0.94, 0.06], [0.12, 0.88]], "c": [[0.95, 0.05], [0.08, 0.92]]}


def test_the_estimate_is_what_the_errors_say():
    """Of 30% roof, 0.9 are found and 0.05 of the rest beside: 30.5%. Probabilities that agree say the same."""
    pixels = np.full(60, 4096.0)
    blocks = Blocks(pixels, pixels[:, None] * [0.695, 0.305], pixels[:, None] * [0.7, 0.3])
    roof = shares(blocks, GOOD, ["land", "roof"]).classes[1]
    assert roof.found == pytest.approx(0.305) and roof.best == pytest.approx(0.3, abs=0.005)


def test_more_and_more_alike_places_narrow_the_interval_and_small_zones_widen_it():
    def width(blocks, tables, whole=None):
        roof = shares(blocks, tables, ["land", "roof"], whole).classes[1]
        return roof.high - roof.low

    one = {"a": GOOD["a"]}
    assert width(alike(), GOOD) < width(alike(), one) < 1
    assert width(alike(), {str(k): GOOD["a"] for k in range(30)}) < 0.3 * width(
        alike(), GOOD | {"d": [[1, 0], [0.4, 0.6]]}
    )
    rng = np.random.default_rng(0)
    roof = (rng.random(200) < 0.3) * 256.0
    both = np.stack([256 - roof, roof], axis=1)
    whole = Blocks(np.full(200, 256.0), both, both)
    zones = [Blocks(whole.pixels[:n], both[:n], both[:n]) for n in (4, 40)]
    assert whole.clump == pytest.approx(256, rel=0.01)
    assert width(zones[0], GOOD, whole) > 1.5 * width(zones[1], GOOD, whole) > 1.5 * width(whole, GOOD)


def test_pixels_that_are_not_alike_are_clumps_of_one():
    found = np.random.default_rng(0).binomial(256, 0.3, 500).astype(float)
    both = np.stack([256 - found, found], axis=1)
    assert Blocks(np.full(500, 256.0), both, both).clump == pytest.approx(2, rel=0.15)


def test_shares_of_the_further_classes_are_a_ratio_that_errs_less_than_its_parts():
    """Of 0.8 land, 0.15 oak and 0.05 elm, plants are missed alike: their parts of the plants stay."""
    pixels = np.full(60, 4096.0)
    both = pixels[:, None] * [0.8, 0.15, 0.05]
    tables = {str(k): [[1, 0, 0], [m, 1 - m, 0], [m, 0, 1 - m]] for k, m in enumerate((0.05, 0.2, 0.4))}
    result = shares(Blocks(pixels, both, both), tables, ["land", "oak", "elm"])
    oak, elm = result.further
    assert oak.found == pytest.approx(0.75) and elm.found == pytest.approx(0.25)
    assert oak.low <= oak.best <= oak.high and oak.best + elm.best == pytest.approx(1)
    plants = result.classes[1]
    assert (oak.high - oak.low) / oak.found < (plants.high - plants.low) / plants.found
    nothing = pixels[:, None] * [1.0, 0.0, 0.0]
    assert shares(Blocks(pixels, nothing, nothing), tables, ["land", "oak", "elm"]).further == []
    oak = shares(Blocks(pixels, both, both), {}, ["land", "oak", "elm"]).further[0]
    assert oak.best == pytest.approx(0.75) and oak.low is None


def test_nothing_found_is_not_nothing_there():
    roof = shares(alike(roof=0.0), GOOD, ["land", "roof"]).classes[1]
    assert roof.low == 0 and 0 < roof.high < 0.1
    number, _ = roofs(0, {"a": (100, 100, 60), "b": (50, 40, 30)})
    assert number.low == 0 and 1 <= number.high < 20


def test_without_measured_errors_no_interval_is_made_up():
    result = shares(alike(), {}, ["land", "roof"])
    assert [share.low for share in result.classes] == [None, None] and "no interval" in result.said[0]
    assert result.areas(100)[1].best == pytest.approx(30) and result.areas(100)[1].high is None
    assert result == shares(alike(), {"a": [[0, 0], [0, 0]]}, ["land", "roof"])
    number, said = roofs(7, {"desert": (0, 3, 0)})
    assert number == (7, 7, None, None) and "no interval" in said[0]


def test_what_is_taken_for_granted_is_said():
    assert "3 places" in shares(alike(), GOOD, ["land", "roof"]).said[0]
    assert "guess" in shares(alike(), {"a": GOOD["a"]}, ["land", "roof"]).said[0]
    never = {"a": [[0.9, 0.1], [0, 0]]}
    result = shares(alike(), never, ["land", "roof"])
    assert "no roof" in result.said[-1] and result.classes[1].low is None and result.classes[0].low is not None


@pytest.mark.parametrize(
    ("pixels", "found", "chance"),
    [
        ([4], [[4]], [[4]]),
        ([4, 4], [[4, 0]], [[4, 0]]),
        ([4], [[4, 0]], [[4, 0, 0]]),
        ([4], [[5, -1]], [[4, 0]]),
        ([4], [[4, 0]], [[np.nan, 0]]),
        ([40], [[40, 0]], [[20, 0]]),
    ],
)
def test_blocks_that_do_not_fit_are_refused(pixels, found, chance):
    with pytest.raises(ValueError, match=r"found|pixels"):
        Blocks(np.array(pixels), np.array(found), np.array(chance))


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="2 classes"):
        shares(alike(), GOOD, ["land", "roof", "water"])
    with pytest.raises(ValueError, match="2 classes"):
        shares(alike(), rows(3, 2, 0), ["land", "roof"])
    with pytest.raises(ValueError, match="no pixel"):
        shares(Blocks(np.zeros(1), np.zeros((1, 2)), np.zeros((1, 2))), GOOD, ["land", "roof"])

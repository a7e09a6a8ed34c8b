"""How much of a map each class truly covers, and how many roofs there truly are: best estimates and 95% intervals.

What is found is not what is there: pixels of one class are found as another, at rates that differ from place to place.
The card says how often by place (`confusion`, `counts`), from validation, and the map itself says how sure the model
was. Good practice corrects an area by the errors of the map and gives an interval (Olofsson et al. 2014, Remote
Sensing of Environment 148, "Good practices for estimating area and assessing accuracy of land change"). They draw a
sample of the map itself for that; here there is none, so the errors on validation stand in for those on the map, and
the map counts as one more place of the same kind as the places of validation.

Where several views see the same ground, as a drone's frames do, each view's classes have those errors, not the mask of
their joint vote: the shares of votes are corrected. Views that disagree more than the places of validation lead to
expect widen what places may differ by (`inference.accord`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from rotacube.inference.accord import Accord

DRAWS = 4000
SPREAD = 0.7
"""Standard deviation between places of the log-odds of an error, as far as nothing is known: the odds differ by a
factor of two. Those of a roof model's misses and false alarms in three cities differed by 0.3 and 0.9; 0.5 to 1 is
usual where few studies are put together (Roever et al. 2021, Research Synthesis Methods 12)."""
WEIGHT = 3
"""Places that this guess counts as, beside those of the card."""
OFFSET = 0.01
LEAST = 1e-3
"""The rate of an error that validation has not seen, for the guess of its spread."""
RIDGE = 1e-3
"""Keeps the inversion finite where two classes are found alike."""
TINY, LARGEST = 1e-9, 50.0
UNSEEN = 0.5
"""Independent pieces of each class that are taken to have been found as any class on validation, beside what was."""

Array = NDArray[np.float64]
Tables = tuple[tuple[tuple[float, ...], ...], ...]
Confusion = Mapping[str, Sequence[Sequence[float]]]
Counts = Mapping[str, tuple[int, int, int]]


class Estimate(NamedTuple):
    """A share, an area or a number: as found, as it likely is, and its 95% interval where one can be given."""

    found: float
    best: float
    low: float | None = None
    high: float | None = None

    def times(self, factor: float) -> Estimate:
        """The same of a whole of that size."""
        return Estimate(*(None if value is None else value * factor for value in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Blocks:
    """Pixels of a map or a zone, counted in squares that are as large as what is alike, or larger.

    Attributes:
        pixels: (B,) with data; less at the edge of a zone, and a block without any may be left in.
        found: (B, K) pixels of each class as mapped.
        chance: (B, K) sums over pixels of the calibrated probability of each class.
        votes: (B, K) pixels of each class as single views find them, where the map is a vote of several; those of
            `found` if None.

    Raises:
        ValueError: shapes that do not fit, less than two classes, counts below 0, or that do not add up.
    """

    pixels: Array
    found: Array
    chance: Array
    votes: Array | None = None

    def __post_init__(self) -> None:
        for name in ("pixels", "found", "chance", "votes"):
            value = getattr(self, "found" if name == "votes" and self.votes is None else name)
            object.__setattr__(self, name, np.asarray(value, np.float64))
        if self.found.ndim != 2 or self.found.shape[1] < 2 or any(v.shape != self.found.shape for v in self._counts):
            raise ValueError("found, chance and votes need a column for each of two classes or more, and one shape")
        if self.pixels.shape != self.found.shape[:1]:
            raise ValueError("pixels needs a number for each block")
        if not all(np.isfinite(values).all() and (values >= 0).all() for values in vars(self).values()):
            raise ValueError("pixels, found, chance and votes must be 0 or more")
        if not all(np.allclose(v.sum(1), self.pixels, rtol=1e-3, atol=0.5) for v in self._counts):
            raise ValueError("found, chance and votes of a block must add up to its pixels")

    @property
    def _counts(self) -> tuple[Array, ...]:
        return self.found, self.chance, np.asarray(self.votes)

    @property
    def clump(self) -> float:
        """Pixels that are alike, as far as errors are concerned: the design effect of blocks (Kish 1965).

        How much the found shares differ between blocks says how far the pixels of a block are of one class; errors
        are taken to come in clumps of that size. Of a single block nothing is known: it is a clump.
        """
        total = self.pixels.sum()
        here = self.pixels > 0
        weight: Array = self.pixels[here] / total
        size = max(1.0, float(weight @ self.pixels[here]))
        shares = self.found[here] / self.pixels[here, None]
        mean = weight @ shares
        free = float(1 - weight @ weight)
        room = float(mean @ (1 - mean))
        if free < 1e-9 or room < 1e-9:
            return size
        alike = min(1.0, float(weight @ ((shares - mean) ** 2).sum(1)) / (free * room))
        return 1 + (size - 1) * alike


@dataclass(frozen=True)
class Shares:
    """Of each class the share of a map or a zone, with what it takes for granted in sentences.

    Attributes:
        classes: shares of the whole.
        said: the sentences.
        further: shares of the classes but the first in what these make together, which of plants is the vegetated
            area; none where nothing of them was found.
    """

    classes: list[Estimate]
    said: list[str]
    further: list[Estimate] = field(default_factory=list)

    def areas(self, area: float) -> list[Estimate]:
        """Of each class the area, of a map or zone of that area."""
        return [share.times(area) for share in self.classes]


def shares(
    blocks: Blocks,
    confusion: Confusion,
    names: Sequence[str],
    whole: Blocks | None = None,
    accord: Accord | None = None,
) -> Shares:
    """The true share of each class, with a 95% interval.

    With F the shares as found (by single views), T the true ones and C the rates at which each true class (rows) is
    found as each class, F = C' T. C is drawn as that of one more place (`_new_place`), and chance, errors in clumps,
    moves F. Of each draw two answers are pooled, half and half (linear opinion pool; Genest and Zidek 1986, Statistical
    Science 1):

    - T solves F = C' T: right where error rates hold for the map (adjusted count; Forman 2008, Data Mining and
      Knowledge Discovery 17; Lipton et al. 2018, ICML).
    - T is the mean probability M less (C - mean C)' M, as far off as the found shares of places are: right where
      probabilities hold on average.

    Whichever is right, no more than 5% of cases lie beyond either end.

    Args:
        blocks: of the map or the zone.
        confusion: the card's, which may be empty.
        names: of the classes, for the sentences.
        whole: the blocks of the whole map where `blocks` are those of a zone; the size of clumps is measured there.
        accord: how far several views of the same ground agree, where there are such.

    Raises:
        ValueError: shapes that do not fit, or no pixel with data.
    """
    total, count = float(blocks.pixels.sum()), blocks.found.shape[1]
    if len(names) != count or any(np.shape(table) != (count, count) for table in confusion.values()):
        raise ValueError(f"the blocks have {count} classes, the names or the confusion others")
    if not total:
        raise ValueError("no pixel has data")
    found, chance, votes = (counts.sum(0) / counts.sum() for counts in blocks._counts)
    tables = tuple(tuple(tuple(row) for row in table) for table in confusion.values())
    known = [any(any(table[k]) for table in tables) for k in range(count)]
    if not any(known):
        said = "How often classes are confused is not on the model's card, so no interval can be given; the best "
        said += "estimate is the mean probability, right where probabilities hold on average."
        return Shares(_plain(found, chance), [said], _plain(_further(found), _further(chance)))
    rates, mean = _new_place(tables)
    every = whole or blocks
    wider, words = accord.widening(every.chance.sum(0) / every.chance.sum(), rates) if accord else ((), [])
    if wider:
        rates, mean = _new_place(tables, wider)
    noise = _noise(_unseen(mean, every.chance.sum(0) / every.clump), blocks.chance.sum(0) / every.clump)
    gap = votes - noise - np.einsum("dij,i->dj", rates, chance)
    gram = rates @ rates.transpose(0, 2, 1) + RIDGE * np.eye(count)
    solved = chance + np.linalg.solve(gram, rates @ gap[..., None])[..., 0]
    leant = chance - noise - np.einsum("dij,i->dj", rates - mean, chance)
    drawn = _as_shares(np.concatenate([solved, leant]))
    classes = _between(_plain(found, chance), drawn, drawn, known)
    # Of plants as of plants together: both err at once, so the ratio is taken draw by draw. A draw without any says
    # nothing: it is 0 for the lower end, 1 for the upper one.
    plain, ratio = _plain(_further(found), _further(chance)), _further(drawn)
    further = _between(plain, ratio, np.where(ratio.any(1, keepdims=True), ratio, 1.0), known[1:])
    absent = [name for name, there in zip(names, known, strict=True) if not there]
    return Shares(classes, [*_said(len(tables), absent), *words], further)


def _plain(found: Array, chance: Array) -> list[Estimate]:
    """Shares without intervals; none where nothing was found."""
    there = zip(found, chance if chance.any() else found, strict=True) if found.any() else ()
    return [Estimate(float(share), float(best)) for share, best in there]


def _between(plain: list[Estimate], least: Array, most: Array, known: Sequence[bool]) -> list[Estimate]:
    """The same with the median of draws (draws, K) and their interval where a class is known.

    Args:
        plain: shares, or none.
        least: the draws for the lower end and the median.
        most: those for the upper end.
        known: of each class, whether its errors are.
    """
    low, best = np.quantile(least, (0.025, 0.5), axis=0)
    high = np.quantile(most, 0.975, axis=0)
    best = np.clip(best / max(float(best.sum()), TINY), low, high)
    return [
        Estimate(share.found, *map(float, row)) if there else share
        for share, there, *row in zip(plain, known, best, low, high, strict=bool(plain))
    ]


def _further(parts: Array) -> Array:
    """Shares (..., K) of the classes but the first in what these make together; zeros where there is nothing."""
    rest = parts[..., 1:]
    whole = rest.sum(-1, keepdims=True)
    result: Array = np.where(whole > TINY, rest / np.maximum(whole, TINY), 0.0)
    return result


def likely(found: Array, confusion: Confusion) -> Array:
    """How likely a pixel is of each class (columns) that was found as each class (rows), where nothing else is known.

    By Bayes' rule, with the mean rates of errors on validation, and the shares of which these make what was found
    (adjusted count; Forman 2008, Data Mining and Knowledge Discovery 17).

    Args:
        found: (K,) shares of the map.
        confusion: the card's.

    Returns:
        (K, K); rows sum to one.
    """
    tables = np.array([np.asarray(table, np.float64) for table in confusion.values()]).reshape(-1, *[len(found)] * 2)
    known = np.maximum(1, tables.any(axis=2).sum(0))[:, None]
    rates = tables.sum(0) / known
    rates[~rates.any(axis=1)] = np.eye(len(found))[~rates.any(axis=1)]
    heavy = 1e3  # shares sum to one
    true = optimize.nnls(np.vstack([rates.T, np.full(len(found), heavy)]), np.append(found, heavy))[0]
    both = (rates * true[:, None]).T
    total = both.sum(1, keepdims=True)
    turned: Array = np.where(total > TINY, both / np.maximum(total, TINY), np.eye(len(found)))
    return turned


def roofs(found: int, counts: Counts) -> tuple[Estimate, list[str]]:
    """The true number of roofs, with a 95% interval and what it takes for granted.

    The precision and the recall are drawn as those of one more place (`_new_place`). Of the found roofs as many are
    there as a binomial draw with the precision says; to each, missed ones come by a negative binomial draw with the
    recall (Jeffreys' prior for the number, so that none found does not mean none there).

    Args:
        found: roofs on the map or in the zone.
        counts: by place of validation the roofs that are there, that were found, and that match; places without
            roofs are left out.
    """
    there = [place for place in counts.values() if place[0] > 0]
    if not there:
        said = "How many roofs were missed on validation is not on the model's card, so no interval can be given."
        return Estimate(found, found), [said]
    rng = np.random.default_rng(1)
    rates, _ = _new_place(tuple((_hits(match, all_found), _hits(match, truth)) for truth, all_found, match in there))
    precision, recall = rates[:, :, 0].T
    right = rng.binomial(found, precision)
    number = right + rng.negative_binomial(right + 0.5, np.clip(recall, 1e-3, 1))
    low, best, high = np.quantile(number, (0.025, 0.5, 0.975), method="inverted_cdf")
    return Estimate(found, float(best), float(low), float(high)), [_places(len(there))]


def _hits(matched: int, every: int) -> tuple[float, float]:
    """Shares that match and that do not, zeros of nothing."""
    return (matched / every, 1 - matched / every) if every else (0.0, 0.0)


@lru_cache(maxsize=4)
def _new_place(tables: Tables, wider: tuple[float, ...] = ()) -> tuple[Array, Array]:
    """Rates of a place that is like those of the tables: draws, and the mean of the tables.

    Logarithms of rates, to which `OFFSET` is added so that rates of nothing and of next to nothing are alike, have
    Student's t of one more observation, jointly over all rates, as classes are confused together. The spread between
    places is that of the card's together with `SPREAD`, which counts as `WEIGHT` places: two to four alone say too
    little (Higgins et al. 2009, J. R. Stat. Soc. A 172, on the prediction of a new study from few).

    Args:
        tables: (P, R, K); each row sums to one, or is zero where nothing is known.
        wider: (K,) factors of the spread of all rates of a class, of two classes the larger one; 1 if empty.

    Returns:
        (draws, R, K) and (R, K); rows of which no place knows anything find each class as itself.
    """
    rng = np.random.default_rng(0)
    each = np.array(tables, np.float64)
    known: NDArray[np.bool_] = np.asarray(each.any(axis=2))
    number = np.maximum(1, known.sum(0))
    mean = each.sum(0) / number[:, None]
    logs = np.where(known[..., None], np.log(each + OFFSET), 0)
    middle = logs.sum(0) / number[:, None]
    apart = np.where(known[..., None], logs - middle, 0)
    likely = np.clip(mean, LEAST, 1 - LEAST)
    guess = SPREAD * likely * (1 - likely) / (likely + OFFSET)
    freedom = number - 1 + WEIGHT
    scale = 2 * special.gammaincinv(freedom / 2, rng.random((DRAWS, 1)))  # chi-squared, of all rows at one quantile
    drawn = np.einsum("dp,prk->drk", rng.standard_normal((DRAWS, len(each))), apart)
    drawn += WEIGHT**0.5 * guess * rng.standard_normal(drawn.shape)
    drawn *= np.sqrt((1 + 1 / number) / scale)[..., None]
    drawn *= np.maximum.outer(wider, wider) if wider else 1.0
    rates = np.maximum(np.exp(np.minimum(middle + drawn, LARGEST)) - OFFSET, TINY)
    rates /= rates.sum(2, keepdims=True)
    never = np.flatnonzero(~each.any(axis=(0, 2)))
    if len(never):
        rates[:, never] = mean[never] = np.eye(*mean.shape)[never]
    return rates, mean


def _unseen(rates: Array, pieces: Array) -> Array:
    """Rates (K, K) that allow for errors never seen in so many independent pieces (K,): additive smoothing.

    The card does not say how much there was on validation; it is taken for as much as on the whole map.
    """
    result: Array = (pieces[:, None] * rates + UNSEEN / len(pieces)) / (pieces[:, None] + UNSEEN)
    return result


def _noise(rates: Array, pieces: Array) -> Array:
    """What chance does to found shares (draws, K): errors in so many independent pieces (K,) of each true class.

    There may be one more of each than it seems: where none is likely, one may be missed.
    """
    drawn = np.random.default_rng(1).standard_normal((DRAWS, *rates.shape)) * np.sqrt(rates)
    moved = drawn - rates * drawn.sum(2, keepdims=True)
    noise: Array = np.einsum("dij,i->dj", moved, np.sqrt(pieces + 1)) / (pieces.sum() + len(pieces))
    return noise


def _as_shares(values: Array) -> Array:
    """Nothing below zero, each row of sum one."""
    kept = np.maximum(values, 0)
    kept[~kept.any(axis=1)] = 1
    result: Array = kept / kept.sum(axis=1, keepdims=True)
    return result


def _places(number: int) -> str:
    """What is taken for granted of places."""
    if number == 1:
        text = "Errors were measured at one place only, so how much they differ from place to place is a guess"
    else:
        text = f"Errors are taken to be as often here as at the {number} places of validation, give or take as much as"
        text += " those differ"
    if 1 < number <= WEIGHT + 1:
        text += "; of so few places the spread is partly a guess"
    return text + ". Where this map is of another kind than they are, the interval is too narrow."


def _said(number: int, absent: list[str]) -> list[str]:
    """The sentences beside an interval of shares."""
    said = [
        _places(number),
        "Errors come in clumps as large as the classes' own, and probabilities are taken to be right on average over "
        "places like these.",
    ]
    if absent:
        said.append(
            f"Validation had no {', no '.join(absent)}: no interval can be given for what was never measured, and that "
            "of the other classes takes it to be found without a mistake."
        )
    return said

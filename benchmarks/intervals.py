"""How often 95 % intervals hold the truth, and clean runs raise an alarm; writes docs/figures/intervals.json.

    python -m benchmarks.intervals

1,000 windows each of n = 1,000 and 10,000 simulated products (`simulated_ratings`) and 4,000 of n = 100, with
true PLCCs of 0.1 to 0.6 (`rho_10` to `rho_60`). `plcc` says in which share of the windows an interval holds
the truth:

    robust          what the monitor uses: Fisher's z with the error of `quality.correlation`
    fisher          Fisher's z as for bivariate normal data
    fourth_moments  Fisher's z with the distribution-free error, not corrected for leverage
    bootstrap       percentiles of 1,000 Poisson resamples, of 100 products only
    bca             the same percentiles, corrected for bias and acceleration

`scorers` compares two equally good scorers on the same products: how often the interval of their difference
holds 0, and how often a test at 5 %, one sided, calls the first one worse. `others` are intervals of the
change between two halves of a window, of the change of a share, of bias, of SRCC, and of PLCC weighted by
rating_number. `alarms` is explained in `false_alarms`.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random import Generator
from scipy import stats

from adgauge.quality.calibration import bias
from adgauge.quality.correlation import (
    Correlation,
    change_interval,
    correlation,
    difference,
    difference_interval,
    plcc_interval,
    rank_correlation,
)
from adgauge.quality.drift import share_change
from adgauge.quality.metrics import Array, Interval, fisher_interval
from adgauge.quality.significance import worse
from benchmarks import false_alarms
from benchmarks.record import write_figures
from benchmarks.simulated_ratings import SHAPES, Population, population

WINDOWS = {100: 4000, 1000: 1000, 10_000: 1000}
"""How many of each size: one share of 1,000 is 0.7 % off by chance, and small samples are the hard case."""
RHOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
RESAMPLES = 1000
FEWER_RHOS = (0.1, 0.3, 0.6)  # for what is not about one PLCC
BOOTSTRAPPED = 100  # products at most: more would take longer than all else together
LEVEL = 0.05
SEED = 7

Rows = npt.NDArray[np.int32]
Answers = Iterator[tuple[str, bool]]
Task = tuple[str, float]
Shares = dict[str, dict[str, float]]


def plcc_answers(products: Population, rows: Rows) -> Answers:
    """Whether each kind of interval of the window's PLCC holds the truth."""
    scores, labels = products.scores[rows], products.labels[rows]
    of = correlation(scores, labels)
    u, v = ((each - each.mean()) / each.std() for each in (scores, labels))
    contributions = u * v - of.plcc / 2 * (u * u + v * v)
    yield "robust", holds(plcc_interval(of), products.plcc)
    yield "fisher", holds(fisher_interval(of.plcc, of.pairs), products.plcc)
    yield "fourth_moments", holds(fourth_moments(of, contributions), products.plcc)
    if of.pairs <= BOOTSTRAPPED:
        drawn = resampled_plcc(u, v)
        yield "bootstrap", holds(Interval(*np.quantile(drawn, [0.025, 0.975]).tolist()), products.plcc)
        yield "bca", holds(bias_corrected(drawn, of.plcc, contributions), products.plcc)


def fourth_moments(of: Correlation, contributions: Array) -> Interval:
    """As `plcc_interval`, from the contributions as they are."""
    error = math.sqrt(float(contributions @ contributions)) / of.pairs
    return plcc_interval(Correlation(of.plcc, error, of.pairs))


@lru_cache(maxsize=2)
def resamples(n: int) -> Array:
    """How often each of n products is drawn, [RESAMPLES, n]; the same in every window, which biases none."""
    return np.random.default_rng([SEED, n]).poisson(1.0, (RESAMPLES, n)).astype(np.float64)


def resampled_plcc(u: Array, v: Array) -> Array:
    """PLCC of every resample [RESAMPLES] of standardized scores and labels [n]."""
    moments = np.stack([np.ones_like(u), u, v, u * u, v * v, u * v], axis=1)
    total, x, y, xx, yy, xy = (resamples(u.size) @ moments).T
    plcc: Array = (xy - x * y / total) / np.sqrt((xx - x * x / total) * (yy - y * y / total))
    return plcc


def bias_corrected(drawn: Array, plcc: float, contributions: Array) -> Interval:
    """BCa (Efron, J. Am. Stat. Assoc. 82, 1987); the acceleration comes from the contributions' skewness."""
    normal = NormalDist()
    offset = normal.inv_cdf(float(np.mean(drawn < plcc).clip(0.001, 0.999)))
    acceleration = float(np.sum(contributions**3) / (6 * np.sum(contributions**2) ** 1.5))
    shifted = (offset + normal.inv_cdf(tail) for tail in (0.025, 0.975))
    tails = [normal.cdf(offset + each / (1 - acceleration * each)) for each in shifted]
    return Interval(*np.quantile(drawn, tails).tolist())


def scorer_answers(products: Population, rows: Rows) -> Answers:
    """Whether the interval of the difference holds 0, and which tests call the first scorer worse."""
    scores, rivals, labels = (each[rows] for each in (products.scores, products.rivals, products.labels))
    found = difference(scores, rivals, labels)
    between = float(np.corrcoef(scores, rivals)[0, 1])
    yield "covered", holds(difference_interval(found), 0.0)
    yield "called_worse_by_robust", worse(found) <= LEVEL
    yield "called_worse_by_williams", williams(found.candidate, found.baseline, between, rows.size) <= LEVEL
    yield "called_worse_by_steiger", steiger(found.candidate, found.baseline, between, rows.size) <= LEVEL


def williams(r: float, s: float, between: float, n: int) -> float:
    """p-value of "r is no lower than s" for normal data: Steiger, Psychol. Bull. 87 (1980), Eq. (7)."""
    mean = (r + s) / 2
    determinant = 1 - r * r - s * s - between * between + 2 * r * s * between
    scale = 2 * (n - 1) / (n - 3) * determinant + mean**2 * (1 - between) ** 3
    return float(stats.t.cdf((r - s) * math.sqrt((n - 1) * (1 + between) / scale), n - 3))


def steiger(r: float, s: float, between: float, n: int) -> float:
    """The same by Fisher's z with a pooled covariance: Steiger, Psychol. Bull. 87 (1980), Eq. (14)."""
    mean = (r + s) / 2
    covariance = between * (1 - 2 * mean**2) - mean**2 * (1 - 2 * mean**2 - between**2) / 2
    together = covariance / (1 - mean**2) ** 2
    z = (math.atanh(r) - math.atanh(s)) * math.sqrt((n - 3) / (2 - 2 * together))
    return NormalDist().cdf(z)


def other_answers(products: Population, rows: Rows) -> Answers:
    """Whether the monitor's other intervals hold the truth."""
    scores, labels, ratings = (each[rows] for each in (products.scores, products.labels, products.ratings))
    half = rows.size // 2
    now, before = (correlation(scores[part], labels[part]) for part in (slice(half), slice(half, None)))
    few = ratings <= np.median(products.ratings) / 2
    moved = share_change(int(few[:half].sum()), half, int(few[half:].sum()), half)
    yield "plcc_change", holds(change_interval(now, before), 0.0)
    if few.any():  # there are none in normal data
        yield "share_change", holds(moved.interval, 0.0)
    yield "bias", holds(bias(scores, labels).interval, products.bias)
    yield "srcc", holds(plcc_interval(rank_correlation(scores, labels)), products.srcc)
    yield "plcc_weighted", holds(plcc_interval(correlation(scores, labels, ratings)), products.weighted_plcc)


KINDS: Mapping[str, Callable[[Population, Rows], Answers]] = {
    "plcc": plcc_answers,
    "scorers": scorer_answers,
    "others": other_answers,
}


def holds(interval: Interval, truth: float) -> bool:
    """Whether the interval covers the truth."""
    return interval.low <= truth <= interval.high


def measured(task: Task) -> dict[str, Shares]:
    """By kind, for one shape and PLCC."""
    shape, rho = task
    rng = np.random.default_rng([SEED, SHAPES.index(shape), round(rho * 100)])
    products = population(shape, rho, rng)
    kinds = KINDS if rho in FEWER_RHOS else ["plcc"]
    return {kind: shares(KINDS[kind], products, rng) for kind in kinds}


def shares(answers: Callable[[Population, Rows], Answers], products: Population, rng: Generator) -> Shares:
    """The share of windows in which an answer is yes, by its name and by n."""
    shares: Shares = defaultdict(dict)
    for n, windows in WINDOWS.items():
        said = defaultdict(list)
        for rows in products.rows(rng, windows, n):
            for name, answer in answers(products, rows):
                said[name].append(answer)
        for name, each in said.items():
            shares[name][f"n_{n}"] = round(sum(each) / len(each), 4)
    return dict(shares)


def gathered(tasks: Sequence[Task], measured: Iterable[Mapping[str, Shares]]) -> dict[str, Any]:
    """By kind, shape, name and n: the share for each PLCC, with the lowest and the highest of them."""
    figures: dict[str, Any] = {}
    for (shape, rho), kinds in zip(tasks, measured, strict=True):
        for kind, shares in kinds.items():
            for name, by_n in shares.items():
                place = figures.setdefault(kind, {}).setdefault(shape, {}).setdefault(name, {})
                for n, share in by_n.items():
                    cell = place.setdefault(n, {"lowest": share, "highest": share})
                    cell[f"rho_{rho * 100:.0f}"] = share
                    cell["lowest"] = min(share, cell["lowest"])
                    cell["highest"] = max(share, cell["highest"])
    return figures


def show(figures: Mapping[str, Any]) -> None:
    """A line for each kind, shape and name: the lowest and the highest share, by n."""
    for kind, shapes in figures.items():
        for shape, names in shapes.items():
            for name, by_n in names.items():
                ranges = (f"{n} {cell['lowest']:.3f}–{cell['highest']:.3f}" for n, cell in by_n.items())
                print(f"{kind:8} {shape:31} {name:25}", *ranges, sep="  ")


def main() -> int:
    """Measure, show and write."""
    tasks = list(itertools.product(SHAPES, RHOS))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        alarms = pool.map(false_alarms.measured, range(false_alarms.PARTS))
        figures = gathered(tasks, pool.map(measured, tasks))
        show(figures)
        figures["alarms"] = false_alarms.gathered(list(alarms))
    print(figures["alarms"])
    print(f"written to {write_figures('intervals', 'python -m benchmarks.intervals', figures)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

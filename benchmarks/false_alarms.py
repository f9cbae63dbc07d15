"""How often clean runs of the monitor over 100 slices raise an alarm, and whether runs with a fault do.

A run compares a window with a reference window on every slice: it tests whether the PLCC has dropped, whether
it lies below a floor (0.1 under the truth), and whether the share of missing images (4 %), the mix of ten
categories and the distribution of scores have changed. As in the monitor, all p-values of labels are
corrected together (Benjamini–Hochberg), and all of drift. A false alarm is a run in which any slice is
flagged, by any test, whatever the size of the change: the monitor also asks for a size, and raises fewer.
Then a fault is put into one slice of the run, labels shuffled or images missing from 4 % to 31 %, and the run
tested again: the fault is found when that test of that slice is flagged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from adgauge.quality.correlation import correlation
from adgauge.quality.drift import binned, chi_square, kolmogorov_smirnov, quantile_edges, share_change
from adgauge.quality.metrics import Array
from adgauge.quality.significance import below_floor, benjamini_hochberg, dropped
from benchmarks.simulated_ratings import SHAPES, Population, population

RUNS = 1000
SLICES = 100
PARTS = 20  # of the runs, for processes to share
SMALLEST, LARGEST = 50, 2000  # pairs of a slice; small ones are the hard case
RATES = (0.05, 0.02, 0.01)  # of false discovery
MISSING, FAULTY = 0.04, 0.31
TESTS = ("plcc_dropped", "plcc_below_floor", "images_missing", "category_mix", "scores")
POOLS = (slice(0, 2), slice(2, 5))
"""Of TESTS: what is corrected together."""
SEED = 11


@dataclass(frozen=True)
class Run:
    """p-values of a clean run [SLICES, TESTS], and of the two faults in slice `at`."""

    clean: Array
    at: int
    shuffled: float
    missing: float


@lru_cache(maxsize=1)
def products() -> tuple[Population, ...]:
    """One population for each of three PLCCs."""
    return tuple(population(SHAPES[1], rho, np.random.default_rng([SEED, 0])) for rho in (0.2, 0.4, 0.6))


def measured(part: int) -> list[Run]:
    """The runs of one part."""
    rng = np.random.default_rng([SEED, 1, part])
    return [_run(rng) for _ in range(RUNS // PARTS)]


def _run(rng: np.random.Generator) -> Run:
    sizes = np.geomspace(SMALLEST, LARGEST, SLICES).astype(int)
    clean = [_slice(products()[k % 3], int(n), rng) for k, n in enumerate(sizes)]
    at = int(rng.integers(SLICES))
    of, n = products()[at % 3], int(sizes[at])
    rows, before = of.rows(rng, 2, n)
    shuffled = correlation(of.scores[rows], rng.permutation(of.labels[rows]))
    reference = correlation(of.scores[before], of.labels[before])
    missing = share_change(int(rng.binomial(n, MISSING)), n, int(rng.binomial(n, FAULTY)), n)
    return Run(np.array(clean), at, dropped(shuffled, reference), missing.p_value)


def _slice(of: Population, n: int, rng: np.random.Generator) -> tuple[float, ...]:
    """p-values of one clean slice, as in TESTS."""
    rows, before = of.rows(rng, 2, n)
    now, reference = (correlation(of.scores[each], of.labels[each]) for each in (rows, before))
    edges = quantile_edges(of.scores[before], bins=50)
    scores = kolmogorov_smirnov(binned(of.scores[before], edges), binned(of.scores[rows], edges))
    mix = chi_square(*rng.multinomial(n, np.geomspace(1, 0.01, 10) / np.geomspace(1, 0.01, 10).sum(), 2))
    missing = share_change(int(rng.binomial(n, MISSING)), n, int(rng.binomial(n, MISSING)), n)
    return (
        dropped(now, reference),
        below_floor(now, of.plcc - 0.1),
        missing.p_value,
        mix.p_value,
        scores.p_value,
    )


def gathered(parts: list[list[Run]]) -> dict[str, Any]:
    """Runs with any alarm, of both pools and of each test alone, and shares of the faults found."""
    runs = [run for part in parts for run in part]
    figures: dict[str, Any] = {"runs": len(runs), "slices": SLICES, "tests": len(TESTS)}
    for rate in RATES:
        alone = {name: sum(_alarms(run.clean[:, at], rate) for run in runs) for at, name in enumerate(TESTS)}
        figures[f"rate_{rate * 100:.0f}"] = {
            "false_alarms": sum(any(_alarms(run.clean[:, each], rate) for each in POOLS) for run in runs),
            "false_alarms_of_one_test": alone,
            "found": _found(runs, rate),
        }
    return figures


def _alarms(p_values: Array, rate: float) -> bool:
    return bool((benjamini_hochberg(p_values.ravel()) <= rate).any())


def _found(runs: list[Run], rate: float) -> dict[str, dict[str, float]]:
    """Share of faults found, by fault and by the number of pairs in the slice."""
    sizes = np.geomspace(SMALLEST, LARGEST, SLICES)[[run.at for run in runs]]
    answers = {
        "labels_shuffled": np.array([_flagged(run, 0, run.shuffled, rate) for run in runs]),
        "images_missing": np.array([_flagged(run, 2, run.missing, rate) for run in runs]),
    }
    bands = ((50, 200), (200, 500), (500, 2001))
    return {
        fault: {
            f"{low}_pairs_up": round(float(found[(sizes >= low) & (sizes < high)].mean()), 4)
            for low, high in bands
        }
        for fault, found in answers.items()
    }


def _flagged(run: Run, test: int, p_value: float, rate: float) -> bool:
    (pool,) = (each for each in POOLS if each.start <= test < each.stop)
    p_values, column = run.clean[:, pool].copy(), test - pool.start
    p_values[run.at, column] = p_value
    return bool(benjamini_hochberg(p_values.ravel()).reshape(p_values.shape)[run.at, column] <= rate)

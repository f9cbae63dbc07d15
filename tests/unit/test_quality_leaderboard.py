"""Table 1 recomputed: which cells follow from the row's own figures, in which form."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from adgauge.errors import ConfigurationError
from adgauge.quality import leaderboard
from adgauge.quality.ces import Budget, CesForm, require_units
from adgauge.quality.leaderboard import (
    RECOUNTED_AS,
    Place,
    matching,
    place,
    published_rows,
    recomputed_rows,
    recounted_rows,
    standing,
)

PRINTED, LEADERBOARD = CesForm.PRINTED, CesForm.LEADERBOARD


def test_the_table_holds_the_ten_rows_of_the_report() -> None:
    rows = published_rows()
    assert [(row.rank, row.team) for row in rows] == [
        (1, "olacnqoddchl"), (2, "iamxredz"), (None, "wleach"), (3, "yinloonkhor"), (4, "ps3336"),
        (5, "skywalker5165"), (6, "monkeydminh49"), (7, "atul-dev342"), (8, "Shubhojit"), (9, "Hope"),
    ]  # fmt: skip
    assert sum(row.params_m for row in rows) == pytest.approx(1491.06)
    assert sum(row.flops_g for row in rows) == pytest.approx(357.42)
    assert sum(row.runtime_s for row in rows) == pytest.approx(4.15)


def test_the_factors_of_table_1_do_not_follow_equation_3() -> None:
    rows = recomputed_rows()
    assert matching(rows) == {
        "cost": 10,
        "efficiency_printed": 3,
        "efficiency_leaderboard": 10,
        "ces_printed": 9,
        "ces_leaderboard": 10,
    }
    follows = [row.published.team for row in rows if row.efficiency[PRINTED].matches]
    assert follows == ["wleach", "Shubhojit", "Hope"]


def test_the_published_figures_of_the_winner() -> None:
    winner = recomputed_rows()[0]
    assert winner.cost.computed == pytest.approx(math.sqrt(0.15212 * 31.14 / 20))
    assert winner.efficiency[PRINTED].computed == pytest.approx(1 + 0.05 * (1 - winner.cost.computed))
    assert winner.efficiency[LEADERBOARD].computed == pytest.approx(1 - 0.05 * math.log(winner.cost.computed))
    assert winner.ces[LEADERBOARD].computed == pytest.approx(0.42476, abs=1e-5)


def test_the_printed_cap_is_never_reached_and_the_other_is() -> None:
    assert Budget().efficiency(1e-12, PRINTED) == pytest.approx(1.05)
    assert Budget().efficiency(0.13, LEADERBOARD) == pytest.approx(1.1)


@pytest.mark.parametrize("form", CesForm)
def test_efficiency_is_one_at_the_budget(form: CesForm) -> None:
    assert Budget().efficiency(1.0, form) == 1.0
    assert Budget().efficiency(1.0 + 1e-12, form) == pytest.approx(1.0)


def test_over_the_budget_both_forms_punish() -> None:
    assert Budget().efficiency(1.25, PRINTED) == 0.5
    assert Budget().efficiency(1.5, PRINTED) == 0.0
    assert Budget().efficiency(9.0, PRINTED) == 0.0
    assert Budget().efficiency(math.e, LEADERBOARD) == pytest.approx(1 / 3)


def test_every_parameter_of_the_budget_decides() -> None:
    budget = Budget(target_params_m=100, target_flops_g=10, weight=0.25, alpha=0.2, beta=1.0, gamma=0.05)
    assert budget.cost(200, 5) == pytest.approx(2**0.25 * 0.5**0.75)
    assert budget.efficiency(0.9, PRINTED) == pytest.approx(1.02)
    assert budget.efficiency(0.1, PRINTED) == pytest.approx(1.05)
    assert budget.efficiency(1.5, PRINTED) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_params_m": 0.0}, "target_params_m is 0.0; it must lie in"),
        ({"target_flops_g": -1.0}, "target_flops_g is -1.0"),
        ({"alpha": math.nan}, "alpha is nan"),
        ({"beta": math.inf}, "beta is inf"),
        ({"weight": 1.5}, r"weight is 1.5; it must lie between 0 and 1"),
        ({"gamma": -0.1}, r"gamma is -0.1; it must be a number from 0"),
    ],
)
def test_a_budget_that_means_nothing_is_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Budget(**changes)


@pytest.mark.parametrize(
    ("params", "flops", "message"),
    [
        (27_706_365, 6.8, "params is 27706365; it must be in millions of parameters, 0.1 to 20,000"),
        (27.7, 6.811e9, "flops is 6811000000; it must be in GFLOPs for one item, 0.01 to 100,000"),
        (2.77e-5, 6.8, "params is 2.77e-05"),
        (math.nan, 6.8, "params is nan"),
    ],
)  # fmt: skip
def test_figures_in_another_unit_are_refused(params: float, flops: float, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        require_units(params, flops)


def test_a_recount_puts_our_figures_under_the_published_correlation() -> None:
    counted = {"pinco": {"params": 179_212_000, "flops": 52_660_000_000, "tokens": 256}}
    first, second = recounted_rows(counted)
    assert (first.published.team, second.published.team) == ("ps3336", "skywalker5165")
    assert (first.system, first.tokens) == ("pinco", 256)
    assert first.standing == standing(0.37, 179.212, 52.66)
    assert first.standing.cost == pytest.approx(math.sqrt(0.179212 * 2.633))
    assert first.standing.ces[PRINTED] == pytest.approx(0.37 * (1 + 0.05 * (1 - first.standing.cost)))


def test_a_package_without_a_recount_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard, "files", lambda _: tmp_path)
    with pytest.raises(
        ConfigurationError, match=r"recount\.json does not exist; run python tools/recount\.py"
    ):
        leaderboard.recount()


def test_teams_without_a_description_are_never_recounted() -> None:
    teams = {row.team for row in published_rows()}
    assert teams - set(RECOUNTED_AS) == {"monkeydminh49", "atul-dev342", "Shubhojit"}
    assert set(RECOUNTED_AS) < teams


@pytest.mark.parametrize(
    ("ces", "form", "expected"),
    [
        (0.5, PRINTED, Place(1, 1, 1)),
        (0.5, LEADERBOARD, Place(1, 1, 1)),
        (0.42, LEADERBOARD, Place(2, 1, 3)),  # below the winner's 0.4248, which may be 0.4196
        (0.2, PRINTED, Place(10, 10, 10)),
        (0.0, LEADERBOARD, Place(10, 10, 10)),
    ],
)
def test_the_baseline_takes_no_rank(ces: float, form: CesForm, expected: Place) -> None:
    assert place(ces, form) == expected


def test_an_equal_row_stays_before() -> None:
    last = recomputed_rows()[-1].ces[PRINTED].computed
    assert place(last, PRINTED).rank == 10
    assert place(math.nextafter(last, 1), PRINTED).rank == 9

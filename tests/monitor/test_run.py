"""One run from files to its document: what is compared with what, the figures, the alarms, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from adgauge.contract import ModelContract, load_contract
from adgauge.errors import ConfigurationError, ContractMismatch
from adgauge.monitor.engine import Engine
from adgauge.monitor.result import ALL, AlarmKind, Coverage, DriftKind, Result, Status
from adgauge.monitor.run import Question, Sources, run_once
from adgauge.monitor.settings import RunRules
from adgauge.monitor.slices import Declared
from adgauge.quality.ces import REPORT_BUDGET, CesForm
from tests.monitor.log_lines import DAY_MS, NOW_MS, deletion, label, score, write_lines

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "model_repository" / "effimini_lite0" / "1"
FIVE = RunRules(minimum_pairs=5)
PLAIN = Declared(main_category=("Books", "Toys"), text_length=(), script=False)


def run(
    engine: Engine,
    folder: Path,
    labels: Sequence[Mapping[str, Any]],
    scores: Sequence[Mapping[str, Any]],
    *,
    rules: RunRules = FIVE,
    declared: Declared = PLAIN,
    contract: ModelContract | None = None,
    items: Sequence[Mapping[str, Any]] | None = None,
    rejected: Sequence[Mapping[str, Any]] | None = None,
    training: Sequence[Mapping[str, Any]] | None = None,
    generation: int | None = None,
    threads: int = 1,
) -> Result:
    files = {"labels": labels, "scores": scores, "items": items, "rejected": rejected, "training": training}
    written = {
        name: write_lines(folder / f"{name}.jsonl", lines)
        for name, lines in files.items()
        if lines is not None
    }
    return run_once(
        engine,
        Sources(**written),
        Question(ends_ms=NOW_MS, window_ms=28 * DAY_MS, generation=generation),
        declared=declared,
        rules=rules,
        contract=contract,
        now_ms=NOW_MS,
        threads=threads,
    )


def made(
    n: int, rng: np.random.Generator, *, kept: float = 0.7, **fields: object
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    labels = np.round(np.clip(5 - rng.gamma(2, 0.4, n), 1, 5), 1).astype(np.float64)
    return np.round(4 + kept * (labels - 4) + rng.normal(0, 0.4, n), 6), labels


def test_every_label_meets_one_fate(engine: Engine, tmp_path: Path) -> None:
    """A label's window is the 28 days before it; the score that counts was live when it began."""
    labels = [label(name) for name in ("timely", "later", "other", "rejected", "deleted", "never", "trained")]
    scores = [
        score("timely", days_ago=30, generation=2),
        score("later", days_ago=20, generation=2),
        score("other", days_ago=40, generation=1),
        score("other", days_ago=10, generation=2),
        score("deleted", days_ago=60, generation=2),
        deletion("deleted", days_ago=50, generation=2),
        score("trained", days_ago=30, generation=2),
        score("unlabelled", days_ago=30, generation=2),
    ]
    result = run(
        engine,
        tmp_path,
        labels,
        scores,
        rejected=[{"parent_asin": name} for name in ("rejected", "timely", "later", "other")],
        training=[{"parent_asin": "trained"}],
    )
    assert result.overall.coverage == Coverage(
        labels=7,
        compared=1,
        training=1,
        scored_later=1,
        other_generation=1,
        rejected=1,
        deleted=1,
        never_scored=1,
    )
    assert (result.model.generation, result.model.previous_generation) == (2, 1)
    assert result.training is not None
    assert result.training.n == 1


def test_the_newest_score_before_the_window_counts_and_the_newest_label_in_it(
    engine: Engine, tmp_path: Path
) -> None:
    """The label before ends the window: a score that was made since then was live too late."""
    labels = [
        label("A", 2.0, days_ago=20),
        label("A", 3.0, days_ago=4),
        label("B", 4.5, days_ago=4),
    ]
    scores = [
        score("A", 1.1, days_ago=90),
        score("A", 1.2, days_ago=25),
        score("A", 1.3, days_ago=19),
        score("B", 1.4, days_ago=33),
        score("B", 1.5, days_ago=31),
    ]
    result = run(engine, tmp_path, labels, scores)
    assert {(each.id, each.score, each.label) for each in result.worst} == {("A", 1.2, 3.0), ("B", 1.4, 4.5)}


def test_a_shadow_that_has_scored_little_is_not_judged(engine: Engine, tmp_path: Path) -> None:
    names = [f"P{number}" for number in range(5)]
    labels = [label(name) for name in names]
    live = [score(name) for name in names]
    shadow = [score(name, generation=2) for name in names]
    assert run(engine, tmp_path / "shadow", labels, live + shadow[:2]).model.generation == 1
    assert run(engine, tmp_path / "filled", labels, live + shadow[:3]).model.generation == 2


def test_figures_equal_those_of_scipy(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    x, y = made(600, rng)
    names = np.where(rng.random(600) < 0.3, "Books", "Toys")
    counts = rng.integers(0, 3000, 600)
    labels = [
        label(f"P{k}", y[k], main_category=names[k], rating_number=int(counts[k]), price=float(k % 150))
        for k in range(600)
    ]
    contract = load_contract(MODEL)
    scores = [score(f"P{k}", x[k], contract=contract.digest()) for k in range(600)]
    result = run(engine, tmp_path, labels, scores, contract=contract, threads=2)
    cost = REPORT_BUDGET.cost(contract.cost.params / 1e6, contract.cost.flops / 1e9)
    assert result.model.cost == cost
    prices = np.arange(600) % 150
    for one, at in (
        (result.overall, np.full(600, True)),
        (result.slice_of("main_category", "Books"), names == "Books"),
        (result.slice_of("main_category", "Toys"), names == "Toys"),
        (result.slice_of("price", "10 to 20"), (prices >= 10) & (prices < 20)),
        (result.slice_of("rating_number", "from 1000"), counts >= 1000),
    ):
        assert one is not None
        assert one.judged
        found, a, b = one.figures, x[at], y[at]
        plcc = float(stats.pearsonr(a, b).statistic)
        assert found.n == at.sum()
        assert found.plcc.value == pytest.approx(plcc, abs=1e-9)
        assert found.srcc.value == pytest.approx(float(stats.spearmanr(a, b).statistic), abs=1e-9)
        assert found.mae.value == pytest.approx(np.abs(a - b).mean(), abs=1e-9)
        assert found.bias.value == pytest.approx((a - b).mean(), abs=1e-9)
        for form, ces in ((CesForm.PRINTED, found.ces_printed), (CesForm.LEADERBOARD, found.ces_leaderboard)):
            assert ces.value == pytest.approx(REPORT_BUDGET.ces(plcc, cost, form), abs=1e-9)
        for figure in (found.plcc, found.srcc, found.mae, found.bias, found.ces_printed):
            assert figure.value is not None
            assert figure.low is not None
            assert figure.high is not None
            assert figure.low < figure.value < figure.high


def test_pairs_can_be_weighted_by_the_number_of_ratings(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    x, y = made(80, rng)
    counts = rng.integers(0, 6, 80)
    labels = [label(f"P{k}", y[k], rating_number=int(counts[k])) for k in range(80)]
    rules = RunRules(weighted_by_rating_number=True)
    result = run(engine, tmp_path, labels, [score(f"P{k}", x[k]) for k in range(80)], rules=rules)
    repeated = stats.pearsonr(np.repeat(x, counts), np.repeat(y, counts)).statistic
    assert result.overall.figures.plcc.value == pytest.approx(float(repeated), abs=1e-9)
    assert result.overall.figures.effective_n == pytest.approx(counts.sum() ** 2 / (counts**2).sum())


def test_slices_too_small_are_counted_and_not_judged_and_constant_ones_have_no_correlation(
    engine: Engine, tmp_path: Path
) -> None:
    rng = np.random.default_rng(9)
    x, y = made(40, rng)
    labels = [label(f"P{k}", y[k], main_category="Books") for k in range(40)]
    labels += [label("T1", main_category="Toys")]
    labels += [label(f"C{k}", 4.0, main_category="Garden") for k in range(6)]
    scores = [score(each["parent_asin"], x[k % 40]) for k, each in enumerate(labels)]
    result = run(engine, tmp_path, labels, scores)
    toys, other = (result.slice_of("main_category", name) for name in ("Toys", "other"))
    assert toys is not None
    assert not toys.judged
    assert (toys.figures.n, toys.figures.plcc.value) == (1, None)
    assert other is not None
    assert other.judged
    assert (other.figures.plcc.value, other.figures.plcc_plus.value) == (None, 0.0)
    assert other.figures.mae.value is not None
    assert "NaN" not in result.to_json()


@pytest.mark.parametrize("labels", [[], [label("A", days_ago=400)], [label("A", 9.0)]])
def test_an_empty_window_is_no_data(engine: Engine, tmp_path: Path, labels: list[dict[str, Any]]) -> None:
    result = run(engine, tmp_path, labels, [score("A")])
    assert result.verdict.status is Status.NO_DATA
    assert result.overall.figures.n == 0
    assert Result.model_validate_json(result.to_json()) == result


def test_no_score_at_all_is_the_operators_mistake(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is it the score log"):
        run(engine, tmp_path, [label("A")], [])


def test_a_contract_that_did_not_score_is_refused(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(ContractMismatch, match="name the model that scored it"):
        run(engine, tmp_path, [label("A")], [score("A")], contract=load_contract(MODEL))


def test_a_slice_whose_labels_were_shuffled_alarms_and_no_other_does(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    labels: list[dict[str, Any]] = []
    scores: list[dict[str, Any]] = []
    for name in ("Books", "Toys"):
        x, before = made(400, rng)
        now = rng.permutation(before) if name == "Toys" else before
        for k in range(400):
            key = f"{name}{k}"
            labels += [
                label(key, before[k], days_ago=40, main_category=name),
                label(key, now[k], days_ago=2, main_category=name),
            ]
            scores.append(score(key, x[k], days_ago=90))
    result = run(engine, tmp_path, labels, scores, rules=RunRules())
    assert result.verdict.status is Status.ALARM
    assert {str(alarm.slice) for alarm in result.alarms if alarm.slice.dimension == "main_category"} == {
        "main_category Toys"
    }
    toys = result.slice_of("main_category", "Toys")
    assert toys is not None
    fell = toys.against("reference_window")
    assert fell is not None
    assert fell.difference.high is not None
    assert fell.difference.high < -0.3
    assert fell.q_value is not None
    assert fell.q_value < 0.01


def test_the_previous_generation_is_compared_on_the_same_items(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    x, y = made(300, rng)
    worse = x + rng.normal(0, 2, 300)
    labels = [label(f"P{k}", y[k]) for k in range(300)]
    scores = [score(f"P{k}", x[k], generation=1) for k in range(300)]
    scores += [score(f"P{k}", worse[k], generation=2) for k in range(300)]
    result = run(engine, tmp_path, labels, scores)
    assert {alarm.kind for alarm in result.alarms if alarm.slice == ALL} == {AlarmKind.WORSE_THAN_PREVIOUS}
    against = result.overall.against("previous_generation")
    assert against is not None
    assert against.plcc.value == pytest.approx(float(stats.pearsonr(x, y).statistic), abs=1e-9)
    theirs = result.slice_of("generation", "1")
    assert theirs is not None
    assert theirs.figures.plcc.value == against.plcc.value


def test_floor_bias_and_coverage_alarm_where_they_are_asked_for(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    x, y = made(200, rng, kept=0.0)
    labels = [label(f"P{k}", y[k]) for k in range(200)] + [label(f"N{k}") for k in range(300)]
    rules = RunRules(plcc_floor=0.5, bias_limit=0.3)
    result = run(engine, tmp_path, labels, [score(f"P{k}", x[k] - 1) for k in range(200)], rules=rules)
    assert {alarm.kind for alarm in result.alarms if alarm.slice == ALL} == {
        AlarmKind.PLCC_BELOW_FLOOR,
        AlarmKind.BIAS,
        AlarmKind.LOW_COVERAGE,
    }
    assert "300 never scored" in next(
        each.words for each in result.alarms if each.kind == AlarmKind.LOW_COVERAGE
    )


def test_pictures_that_go_missing_in_one_category_are_named_with_the_day(
    engine: Engine, tmp_path: Path
) -> None:
    rng = np.random.default_rng(13)
    scores: list[dict[str, Any]] = []
    items = []
    for name in ("Books", "Toys"):
        for k in range(1200):
            days = 56 * (k + 0.5) / 1200
            gone = name == "Toys" and days < 6
            missing = rng.random() < (0.5 if gone else 0.04)
            scores.append(
                score(
                    f"{name}{k}",
                    3.5,
                    days_ago=days,
                    flags=["no_image"] if missing else [],
                    image_reason="http_status" if missing else None,
                )
            )
            items.append({"parent_asin": f"{name}{k}", "main_category": name})
    result = run(engine, tmp_path, [], scores, items=items, rules=RunRules())
    found = [each for each in result.drift if each.alarming and each.slice.dimension == "main_category"]
    assert {(each.kind, each.slice.value, each.detail) for each in found} == {
        (DriftKind.IMAGES_MISSING, "Toys", None),
        (DriftKind.IMAGES_MISSING, "Toys", "http_status"),
    }
    assert found[0].since_ms == NOW_MS - 6 * DAY_MS
    assert found[0].words == "Toys: images missing 3% → 16%, 59% since Tue 24 Nov"
    assert result.verdict.status is Status.ALARM


def test_products_that_are_scored_again_and_again_are_no_drift(engine: Engine, tmp_path: Path) -> None:
    """Half of the products in each window, about ten times each: chance decides which, and how often."""
    rng = np.random.default_rng(20)
    values, missing = 4 + rng.normal(0, 0.5, 300), rng.random(300) < 0.1
    scores = []
    for begins in (0, 28):
        for k in np.flatnonzero(rng.random(300) < 0.5):
            for days in rng.uniform(0.1, 27.9, rng.geometric(0.1)):
                flags = ["no_image"] if missing[k] else []
                scores.append(score(f"P{k}", values[k], days_ago=begins + days, flags=flags))
    result = run(engine, tmp_path, [], scores, rules=RunRules())
    assert result.alarms == ()
    assert {each.n_after < 300 for each in result.drift} == {True}


def test_scores_texts_and_categories_that_change_are_drift(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(14)
    scores, items = [], []
    for k in range(800):
        late = k % 2 == 0
        scores.append(score(f"P{k}", 3.5 + rng.normal(0.5 if late else 0, 0.3), days_ago=5 if late else 40))
        items.append(
            {
                "parent_asin": f"P{k}",
                "main_category": "Toys" if rng.random() < (0.8 if late else 0.3) else "Books",
                "title": "x" * int(rng.integers(20, 60) * (4 if late else 1)),
            }
        )
    result = run(engine, tmp_path, [], scores, items=items)
    alarming = {each.kind: each for each in result.drift if each.alarming and each.slice == ALL}
    assert set(alarming) == {DriftKind.SCORE, DriftKind.TEXT_LENGTH, DriftKind.CATEGORY_MIX}
    assert "scores changed, on average 3.47 → 4.00 stars" in alarming[DriftKind.SCORE].words
    assert "category mix changed" in alarming[DriftKind.CATEGORY_MIX].words


def test_slices_come_from_the_declared_values_and_crosses_only(engine: Engine, tmp_path: Path) -> None:
    declared = Declared(
        main_category=("Books",),
        language=("en",),
        script=False,
        text_length=(),
        crosses=(("main_category", "image"),),
    )
    labels = [
        label("A", main_category="Books", language="EN", price="$15"),
        label("B", main_category="Rare thing", language="xx"),
        label("C"),
    ]
    scores = [score("A"), score("B", flags=["no_image", "no_text"]), score("C")]
    result = run(engine, tmp_path, labels, scores, declared=declared)
    found = {(each.slice.dimension, each.slice.value): each.figures.n for each in result.slices}
    assert found == {
        ("main_category", "Books"): 1,
        ("main_category", "other"): 1,
        ("main_category", "unknown"): 1,
        ("price", "10 to 20"): 1,
        ("price", "unknown"): 2,
        ("rating_number", "5 to 20"): 3,
        ("language", "en"): 1,
        ("language", "other"): 1,
        ("language", "unknown"): 1,
        ("image", "with"): 2,
        ("image", "without"): 1,
        ("flags", "no_image"): 1,
        ("flags", "no_text"): 1,
        ("main_category × image", "Books × with"): 1,
        ("main_category × image", "other × without"): 1,
        ("main_category × image", "unknown × with"): 1,
    }


def test_the_worst_residuals_show_title_and_picture(engine: Engine, tmp_path: Path) -> None:
    picture = "https://cdn.example/a.jpg"
    labels = [
        label(
            "A",
            1.0,
            title=" Rose water ",
            images=[{"variant": "MAIN", "large": picture}],
            main_category="Toys",
        ),
        label("B", 3.4),
    ]
    result = run(engine, tmp_path, labels, [score("A", 4.5), score("B", 3.5)])
    worst, other = result.worst
    assert (worst.id, worst.title, worst.picture, worst.main_category) == ("A", "Rose water", picture, "Toys")
    assert (other.id, other.title, other.picture, other.rating_number) == ("B", None, None, 12)


def test_calibration_and_scatter_rest_on_the_compared_pairs(engine: Engine, tmp_path: Path) -> None:
    x, y = made(1000, np.random.default_rng(15))
    labels = [label(f"P{k}", y[k]) for k in range(1000)]
    result = run(engine, tmp_path, labels, [score(f"P{k}", x[k]) for k in range(1000)])
    assert sum(each.n for each in result.calibration) == 1000
    assert len(result.calibration) == 10
    first = result.calibration[0]
    assert first.label.value == pytest.approx(y[x < first.high].mean())
    assert len(result.scatter) == 500
    assert {(each.score, each.label) for each in result.scatter} <= set(
        zip(x.tolist(), y.tolist(), strict=True)
    )


def test_a_model_that_says_the_same_of_everything_alarms_whatever_the_rules(
    engine: Engine, tmp_path: Path
) -> None:
    _, y = made(60, np.random.default_rng(16))
    labels = [label(f"P{k}", y[k]) for k in range(60)]
    result = run(engine, tmp_path, labels, [score(f"P{k}", 3.3) for k in range(60)])
    (alarm,) = result.alarms
    assert (alarm.kind, alarm.slice) == (AlarmKind.PLCC_BELOW_FLOOR, ALL)
    assert result.verdict.headline == "All 60 scores are the same, although labels differ."


def test_scores_that_have_become_all_the_same_fell(engine: Engine, tmp_path: Path) -> None:
    x, y = made(60, np.random.default_rng(17))
    labels = [label(f"P{k}", y[k], days_ago=days) for k in range(60) for days in (40, 2)]
    scores = [score(f"P{k}", x[k], days_ago=90, generation=g) for k in range(60) for g in (1, 2)]
    scores += [score(f"P{k}", 3.3, days_ago=41, generation=2) for k in range(60)]
    result = run(engine, tmp_path, labels, scores)
    assert {alarm.kind for alarm in result.alarms if alarm.slice == ALL} == {
        AlarmKind.PLCC_FELL,
        AlarmKind.WORSE_THAN_PREVIOUS,
    }
    assert result.overall.figures.plcc.value is None


def test_labels_that_are_all_the_same_conclude_nothing(engine: Engine, tmp_path: Path) -> None:
    x, _ = made(60, np.random.default_rng(18))
    labels = [label(f"P{k}", 4.0) for k in range(60)]
    result = run(engine, tmp_path, labels, [score(f"P{k}", x[k]) for k in range(60)])
    assert result.verdict.status is Status.NO_DATA
    assert result.verdict.headline.startswith("PLCC is undefined: labels of 60 products are all the same")


def test_a_product_deleted_while_its_score_was_being_made_is_deleted(engine: Engine, tmp_path: Path) -> None:
    """The deletion's event is a day older than the score of the version before it, which was a backlog's."""
    scores = [score("A", days_ago=40, event_ms=NOW_MS - 42 * DAY_MS), deletion("A", days_ago=41)]
    scores += [score("B", days_ago=39, event_ms=NOW_MS - 40 * DAY_MS), deletion("B", days_ago=41)]
    result = run(engine, tmp_path, [label("A"), label("B")], scores)
    assert result.overall.coverage == Coverage(labels=2, compared=1, deleted=1)


@pytest.mark.parametrize("value", [1e10, -1e300, 1e308])
def test_a_score_beyond_all_bounds_is_counted_and_decides_nothing(
    engine: Engine, tmp_path: Path, value: float
) -> None:
    x, y = made(60, np.random.default_rng(21))
    scores = [score(f"P{k}", x[k], days_ago=days) for k in range(60) for days in (40, 3)]
    scores += [score("Z", value, days_ago=days) for days in (40, 3)]
    labels = [*(label(f"P{k}", y[k]) for k in range(60)), label("Z")]
    result = run(engine, tmp_path, labels, scores)
    assert [(bad.reason, bad.rows) for bad in result.bad_rows] == [("no_score", 2)]
    assert result.overall.figures.plcc.value == pytest.approx(float(stats.pearsonr(x, y).statistic), abs=1e-9)


def test_the_limit_of_bias_is_judged_alike_whatever_the_confidence(engine: Engine, tmp_path: Path) -> None:
    x, y = made(400, np.random.default_rng(19))
    labels = [label(f"P{k}", y[k]) for k in range(400)]
    scores = [score(f"P{k}", x[k] + 0.2) for k in range(400)]
    q_values = []
    for confidence in (0.8, 0.95, 0.99):
        rules = RunRules(bias_limit=0.05, confidence=confidence)
        result = run(engine, tmp_path, labels, scores, rules=rules)
        q_values += [a.q_value for a in result.alarms if (a.kind, a.slice) == (AlarmKind.BIAS, ALL)]
    assert len(q_values) == 3
    assert q_values == pytest.approx([q_values[0]] * 3, rel=0.2)

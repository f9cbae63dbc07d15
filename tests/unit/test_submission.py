"""The challenge's submission: one row a product, and no file at all where one is missing or double."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from adgauge.cli.rows import Row
from adgauge.cli.submission import Submission, protocol_warning
from adgauge.contract import Cost
from adgauge.errors import ConfigurationError
from tests.contracts import contract

COST = Cost(params=27_706_369, flops=6_811_112_000, counter="by hand")


def row(line: int, product_id: str, score: float = 4.0) -> Row:
    return Row(line, product_id, score, (), None, "d")


def test_rows_state_the_score_and_what_the_model_costs() -> None:
    text = io.StringIO()
    submission = Submission(text.write, COST)
    submission.write([row(2, "B01", 4.1873), row(3, "B02", 1.0)])
    submission.write([row(5, 'B,"3', 4.996)])
    submission.require_complete("out.csv", [])

    assert text.getvalue() == (
        "item_id,score,params,flops\nB01,4.19,27.706,6.811\nB02,1.00,27.706,6.811\n"
        '"B,""3",5.00,27.706,6.811\n'
    )
    assert [each["item_id"] for each in csv.DictReader(io.StringIO(text.getvalue()))] == [
        "B01",
        "B02",
        'B,"3',
    ]


@pytest.mark.parametrize(
    ("lines", "unscored", "why"),
    [
        ([(2, "A")], [3], "line 3 without a score;"),
        ([(2, "A")], [3, 5, 6, 7, 8, 9, 10], "lines 3, 5, 6, 7, 8 and 2 more without a score;"),
        ([(2, "A"), (3, "B"), (4, "A")], [], "once: more than once: A (lines 2 and 4);"),
        ([(2, "A"), (3, "A")], [4], "once: line 4 without a score; more than once: A (lines 2 and 3);"),
        (
            [(line, "A") for line in range(2, 10)],
            [],
            "A (lines 2 and 3), A (lines 2 and 4), A (lines 2 and 5), A (lines 2 and 6), A (lines 2 and 7)"
            " and 2 more;",
        ),
    ],
)
def test_where_a_product_is_missing_or_double_the_lines_are_named(
    lines: list[tuple[int, str]], unscored: list[int], why: str
) -> None:
    submission = Submission(lambda _: None, COST)
    submission.write([row(*line) for line in lines])

    with pytest.raises(ConfigurationError) as error:
        submission.require_complete("out.csv", unscored)
    assert str(error.value).startswith("out.csv was not written")
    assert why in str(error.value)
    assert "--rejects FILE" in str(error.value)


def test_a_submission_without_a_product_is_refused() -> None:
    submission = Submission(lambda _: None, COST)

    with pytest.raises(ConfigurationError, match="the input holds no product"):
        submission.require_complete("out.csv", [])


def test_only_a_model_that_breaks_the_protocol_is_warned_of(tmp_path: Path) -> None:
    canonical = contract(tmp_path)
    ensemble = canonical.model_copy(
        update={"protocol": canonical.protocol.model_copy(update={"single_forward": False, "ensemble": True})}
    )

    assert protocol_warning(canonical) is None
    assert protocol_warning(ensemble) == (
        "small breaks the Canonical Inference Protocol (single_forward = false, ensemble = true):"
        " it may be refused"
    )

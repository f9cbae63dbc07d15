"""The document of a run: what it may hold, and that it comes back as it was written."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from adgauge.monitor.result import Coverage, Figure, Result
from adgauge.quality.metrics import UNKNOWN, Interval
from tests.monitor.example_result import BEAUTY, example_result


def test_a_document_reads_back_as_it_was_written() -> None:
    result = example_result()
    assert Result.model_validate_json(result.to_json()) == result


def test_what_is_undefined_is_null_and_never_nan() -> None:
    undefined = Figure.of(math.nan, UNKNOWN)
    assert undefined.model_dump_json() == '{"value":null,"low":null,"high":null}'
    with pytest.raises(ValidationError):
        Figure(value=math.nan)
    assert Figure.of(0.5, Interval(0.4, 0.6)) == Figure(value=0.5, low=0.4, high=0.6)


def test_a_document_of_another_format_is_refused() -> None:
    with pytest.raises(ValidationError):
        Result.model_validate({**example_result().model_dump(), "format": 2})


def test_items_of_the_training_set_do_not_lower_coverage() -> None:
    assert Coverage(labels=10, compared=6, training=2, never_scored=2).share == 0.75
    assert Coverage(labels=2, compared=0, training=2).share is None


def test_slices_are_found_by_name() -> None:
    result = example_result()
    beauty = result.slice_of("main_category", "Beauty")
    assert beauty is not None
    assert beauty.slice == BEAUTY
    assert str(BEAUTY) == "main_category Beauty"
    assert (fell := beauty.against("reference_window")) is not None
    assert fell.difference.value == pytest.approx(-0.39)
    assert beauty.against("previous_generation") is None
    assert result.slice_of("main_category", "Nothing") is None

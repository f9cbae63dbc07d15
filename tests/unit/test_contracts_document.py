import re
from pathlib import Path

import pytest

from adgauge.adapters import kafka_letters
from adgauge.adapters.redis import StoredScore, decode, encode
from adgauge.canonical.image import ImageReason
from adgauge.errors import RejectReason
from adgauge.pipeline.rescore import LASTING, PASSING, REASONS
from adgauge.pipeline.score_log import ScoreLogRecord
from adgauge.product import ID_BYTES
from adgauge.records import Flag, Order, Score, Tombstone

DOCUMENT = (Path(__file__).parents[2] / "docs/contracts/README.md").read_text()


def test_every_header_is_documented() -> None:
    headers = {value for name, value in vars(kafka_letters).items() if name.endswith("_HEADER")}

    assert len(headers) == 9
    assert headers == set(re.findall(r"^\| (?:header )?`(adgauge-[a-z-]+)`", DOCUMENT, re.MULTILINE))


def test_every_reason_of_a_dead_letter_is_documented() -> None:
    (row,) = re.findall(r"^\| `adgauge-reason` \| (.*) \|$", DOCUMENT, re.MULTILINE)

    assert row.replace("`", "").split(", ") == list(RejectReason)


def test_the_documented_lines_of_redis_are_the_ones_that_are_written() -> None:
    (lines,) = re.findall(r"\n\n```\n(.*?)\n```", DOCUMENT, re.DOTALL)
    scored, deleted = (decode("B1", line) for line in lines.splitlines())

    assert scored == StoredScore(
        "B1", 4.1873, Order(1763870400123, 4711), 1763870401456, frozenset({Flag.NO_IMAGE}), "9f86d081884c"
    )
    assert deleted == Tombstone("B1", Order(1763870400123, 4712))
    score = Score("B1", 4.1873, Order(1763870400123, 4711), 1763870401456, scored.flags, "9f86d081884c7d65")
    assert [encode(score), encode(deleted)] == lines.splitlines()


def test_every_flag_has_its_letter_documented() -> None:
    (row,) = re.findall(r"^\| flags \| (.*) \|$", DOCUMENT, re.MULTILINE)
    lines = [encode(Score("B1", 1.0, Order(0, 0), 0, frozenset({flag}), "d")) for flag in Flag]

    assert re.findall(r"`(\w)`", row) == [line.split(" ")[4] for line in lines]


def test_every_field_of_the_history_is_named() -> None:
    assert set(ScoreLogRecord.model_fields) <= set(re.findall(r"`(\w+)`", DOCUMENT))


@pytest.mark.parametrize("word", [PASSING, LASTING])
def test_every_reason_of_a_missing_picture_is_documented(word: str) -> None:
    (row,) = re.findall(rf"^\| {word} \| (.*) \|$", DOCUMENT, re.MULTILINE)

    assert row.replace("`", "").split(", ") == [each for each in ImageReason if each in REASONS[word]]


def test_the_documented_length_of_an_id_is_the_limit() -> None:
    assert f"at most {ID_BYTES} bytes" in DOCUMENT

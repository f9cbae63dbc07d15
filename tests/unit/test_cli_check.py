from pathlib import Path

import pytest

from adgauge.adapters.kafka_admin import TopicState
from adgauge.cli.check import READ, WRITE, readable, topic_usable
from adgauge.errors import ConfigurationError


def test_a_topic_that_may_be_used_is_described() -> None:
    state = TopicState(6, frozenset({"READ", "DESCRIBE"}))

    assert topic_usable("products", state, READ) == "6 partitions, readable"


def test_a_missing_right_is_named_with_its_remedy() -> None:
    with pytest.raises(ConfigurationError, match="we may not write it: allow WRITE on topic scores"):
        topic_usable("scores", TopicState(6, frozenset({"READ"})), WRITE)


def test_a_broker_that_does_not_speak_of_rights_is_believed() -> None:
    shown = topic_usable("scores", TopicState(1, None), WRITE)

    assert shown == "1 partitions, writable (the broker does not say what we may do)"


def test_an_image_root_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert readable(tmp_path) == "readable"
    with pytest.raises(ConfigurationError, match="it is no folder"):
        readable(tmp_path / "file")

from pathlib import Path

import pytest

from adgauge.adapters.kafka_admin import TopicState
from adgauge.adapters.settings import ServerSettings
from adgauge.cli.check import READ, WRITE, Finding, readable, topic_usable, unwise_topics
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


def unwise(products: dict[str, str], letters: dict[str, str], scores: dict[str, str], replicas: int) -> str:
    settings = ServerSettings(products_topic="p", dead_letters_topic="d", scores_topic="s")
    configs = {"p": products, "d": letters, "s": scores}
    states = {name: TopicState(1, None, replicas) for name in configs}
    return "\n".join(f"{what}: {detail}" for what, detail in unwise_topics(settings, states, configs))


def test_topics_of_the_design_are_not_unwise() -> None:
    sizes = {"max.message.bytes": str(2**24)}, {"max.message.bytes": str(2**24 + 2**16)}

    assert unwise(*sizes, {"cleanup.policy": "delete"}, replicas=3) == ""


def test_a_dead_letter_topic_without_room_for_headers_is_unwise() -> None:
    size = {"max.message.bytes": str(2**24)}

    assert "the dead letter of a large record cannot be written" in unwise(size, size, {}, replicas=3)


def test_what_a_scorer_takes_should_fit_the_topic() -> None:
    assert "publishers cannot send" in unwise({"max.message.bytes": "1000"}, {}, {}, replicas=3)


def test_a_compacted_history_and_a_single_replica_are_unwise() -> None:
    said = unwise({}, {}, {"cleanup.policy": "compact"}, replicas=1)

    assert "s: it is compacted: the history of scores goes" in said
    assert said.count("one replica") == 3


def test_what_is_unwise_is_marked_and_no_failure() -> None:
    assert Finding("x", ok=True, detail="", unwise=True).mark == "warn"

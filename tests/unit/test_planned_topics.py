import pytest

from adgauge.adapters.kafka_admin import planned_topics

NAMES = ("products", "scores", "dlq")


def test_of_three_replicas_two_must_have_a_write_before_it_counts() -> None:
    plans = planned_topics(*NAMES, replication=3)

    assert [plan.name for plan in plans] == list(NAMES)
    assert {plan.configs["min.insync.replicas"] for plan in plans} == {"2"}


@pytest.mark.parametrize("replication", [None, 1, 2])
def test_with_fewer_replicas_it_is_left_to_the_brokers(replication: int | None) -> None:
    plans = planned_topics(*NAMES, replication=replication)

    assert not any("min.insync.replicas" in plan.configs for plan in plans)

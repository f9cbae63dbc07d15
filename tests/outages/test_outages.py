"""The measurements of `make proof` in short: one world, the same bounds, the same judge."""

from collections.abc import Iterator

import pytest

from services.embedded.cache import ValkeyCluster
from tests.outages import dead_stub, forgetful_cluster, poison, triton_away
from tests.outages.forgetful_cluster import world_with_cluster
from tests.outages.load import Load, under_load

pytestmark = pytest.mark.timeout(200)

RATE = 30.0
AWAY_S = 15.0


def test_a_poison_row_costs_little_and_nobody_else_their_score() -> None:
    said: list[str] = []
    found = poison.measure(600, said.append)

    assert poison.problems(found) == [], said


@pytest.fixture(scope="module")
def scorers() -> Iterator[tuple[Load, ValkeyCluster]]:
    """At work; each test leaves them with everything committed."""
    with world_with_cluster() as (world, cluster), under_load(world, RATE) as load:
        yield load, cluster


@pytest.mark.tool("kafka")
@pytest.mark.tool("toxiproxy")
def test_work_goes_on_within_seconds_of_tritons_return(scorers: tuple[Load, ValkeyCluster]) -> None:
    said: list[str] = []
    away = triton_away.play(scorers[0], "stopped", AWAY_S, said.append)

    assert triton_away.problems(away) == [], said
    assert away.backlog > AWAY_S * RATE / 2


@pytest.mark.tool("kafka")
@pytest.mark.tool("toxiproxy")
def test_a_dead_stub_is_noticed_and_healed_with_and_without_load(
    scorers: tuple[Load, ValkeyCluster],
) -> None:
    said: list[str] = []
    found = dead_stub.play(scorers[0], 1, said.append)

    assert dead_stub.problems(found) == [], said
    assert [each.idle for each in found.deaths] == [False, True]


@pytest.mark.tool("kafka")
@pytest.mark.tool("toxiproxy")
def test_what_a_cluster_forgot_with_its_master_is_reconciled(scorers: tuple[Load, ValkeyCluster]) -> None:
    said: list[str] = []
    found = forgetful_cluster.play(*scorers, calm_s=2.0, say=said.append)

    assert forgetful_cluster.problems(found) == [], said

"""The measurements of `make proof` in short: the same servers, scorers and judge, wider bounds of time."""

from collections.abc import Iterator

import pytest

from services.embedded.workspace import Workspace
from tests.pictures import hostile, late_host, outage, republish
from tests.pictures.world import Servers, running_servers

pytestmark = [pytest.mark.tool("kafka"), pytest.mark.timeout(200)]

SHARE_OF_ALONE = 0.5
"""Of so few records, on a machine that others use as well."""
TRAILS_S = 15.0
RATE = 250.0


@pytest.fixture(scope="module")
def servers(workspace: Workspace, kafka_bootstrap: str) -> Iterator[Servers]:
    with running_servers(workspace, kafka_bootstrap) as servers:
        yield servers


def test_dead_slow_and_hostile_pictures_hold_up_nobody(servers: Servers) -> None:
    said: list[str] = []
    mixed = hostile.play(servers, 800, 1, said.append)

    assert hostile.problems(mixed, SHARE_OF_ALONE, TRAILS_S) == [], said


def test_what_is_published_again_unchanged_asks_neither_model_nor_pictures(servers: Servers) -> None:
    said: list[str] = []
    found = republish.play(servers, 400, [1], said.append)

    assert republish.problems(found, RATE) == [], said


def test_a_late_host_leaves_the_records_of_others_fresh(servers: Servers) -> None:
    said: list[str] = []
    late = late_host.play(servers, 6.0, said.append, calm_s=4.0)

    assert late_host.problems(late) == [], said


def test_pictures_of_a_host_that_is_away_are_waited_for(servers: Servers) -> None:
    said: list[str] = []
    found = outage.play(servers, 18.0, said.append)

    assert outage.problems(found) == [], said
    assert found.away_records > 80

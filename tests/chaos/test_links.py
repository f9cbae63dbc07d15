"""toxiproxy does to a connection what the faults are called after."""

import time
from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.embedded.cache import Cache
from services.embedded.workspace import Workspace
from tests.chaos.links import SLOW_MS, Link, Toxiproxy

pytestmark = pytest.mark.tool("toxiproxy")

Client = tuple[Link, redis.Redis]


@pytest.fixture
def client(workspace: Workspace, valkey: Cache) -> Iterator[Client]:
    toxiproxy = Toxiproxy(workspace)
    link = toxiproxy.link("redis", valkey.port)
    no_retry = Retry(NoBackoff(), 0)
    with redis.Redis(host="127.0.0.1", port=link.port, socket_timeout=1.0, retry=no_retry) as connection:
        connection.ping()
        yield link, connection
    toxiproxy.process.stop()


def test_a_cut_link_resets_open_and_new_connections_until_it_is_restored(client: Client) -> None:
    link, connection = client
    link.cut()
    for _ in range(2):
        with pytest.raises(redis.exceptions.ConnectionError):
            connection.ping()
    link.restore()

    assert connection.ping()


def test_a_hung_link_says_nothing_until_it_is_restored(client: Client) -> None:
    link, connection = client
    link.hang()
    for _ in range(2):
        with pytest.raises(redis.exceptions.TimeoutError):
            connection.ping()
    link.restore()

    assert connection.ping()


def test_a_slow_link_takes_its_time_and_loses_nothing(client: Client) -> None:
    link, connection = client
    link.slow()
    began = time.monotonic()
    connection.ping()

    assert time.monotonic() - began > SLOW_MS / 1000 / 2
    link.restore()
    assert connection.ping()

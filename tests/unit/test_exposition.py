import http.client
import socket
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from adgauge.errors import ConfigurationError
from adgauge.telemetry.exposition import CONNECTIONS, Health, TelemetryServer
from adgauge.telemetry.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock, stalled_after_s=30)


@pytest.fixture
def server(health: Health) -> Iterator[TelemetryServer]:
    with TelemetryServer(Metrics(CollectorRegistry()).registry, health, "127.0.0.1", 0) as server:
        yield server


def get(server: TelemetryServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def port_of(server: TelemetryServer) -> int:
    return int(server.url.rpartition(":")[2])


def test_metrics_are_served_in_prometheus_text(server: TelemetryServer) -> None:
    status, text = get(server, "/metrics?name[]=x")

    assert status == 200
    assert 'adgauge_records_total{outcome="scored",reason=""} 0.0' in text
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text


def test_before_the_first_loop_it_is_alive_but_neither_started_nor_ready(server: TelemetryServer) -> None:
    assert get(server, "/healthz/live") == (200, "starting\n")
    assert get(server, "/healthz/startup") == (503, "starting\n")
    assert get(server, "/healthz/ready") == (503, "starting\n")


def test_a_loop_that_stands_still_is_not_alive(server: TelemetryServer, health: Health, clock: Clock) -> None:
    health.progressed()
    clock.now += 30
    assert get(server, "/healthz/live")[0] == 200
    clock.now += 1
    assert get(server, "/healthz/live") == (503, "last progress 31.0 s ago\n")
    assert get(server, "/healthz/startup") == (200, "started\n")
    health.progressed()
    assert get(server, "/healthz/live")[0] == 200


def test_readiness_says_why_not(server: TelemetryServer, health: Health) -> None:
    health.ready()
    assert get(server, "/healthz/ready") == (200, "ready\n")
    health.ready("draining")
    assert get(server, "/healthz/ready") == (503, "draining\n")


def test_an_unknown_path_is_not_found(server: TelemetryServer) -> None:
    assert get(server, "/")[0] == 404


def test_a_port_in_use_is_one_clear_line(server: TelemetryServer, health: Health) -> None:
    with pytest.raises(ConfigurationError, match=r"metrics on 127.0.0.1:\d+: .*in use; choose another"):
        TelemetryServer(CollectorRegistry(), health, "127.0.0.1", port_of(server))


def test_a_host_that_is_not_ours_is_one_clear_line(health: Health) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot serve metrics on 192\.0\.2\.1:0"):
        TelemetryServer(CollectorRegistry(), health, "192.0.2.1", 0)


def test_idle_clients_do_not_block_the_probes_and_their_number_is_bounded(server: TelemetryServer) -> None:
    idle = [socket.create_connection(("127.0.0.1", port_of(server)), 5) for _ in range(CONNECTIONS - 1)]
    try:
        assert get(server, "/healthz/live")[0] == 200
        idle += [socket.create_connection(("127.0.0.1", port_of(server)), 5) for _ in range(3)]
        idle[-1].settimeout(5)
        assert idle[-1].recv(1) == b""
    finally:
        for connection in idle:
            connection.close()


def test_requests_write_nothing_to_standard_error(
    server: TelemetryServer, capfd: pytest.CaptureFixture[str]
) -> None:
    get(server, "/metrics")
    get(server, "/nothing")
    with socket.create_connection(("127.0.0.1", port_of(server)), 5) as rude:
        rude.sendall(b"\xff\xfe nonsense\r\n\r\n")

    assert capfd.readouterr().err == ""

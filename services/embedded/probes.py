"""Readiness probes that need no client library."""

import http.client
import socket

from services.embedded.ports import HOST

TIMEOUT_S = 1.0
# ApiVersions v0, correlation id 0, no client id: the one request every Kafka broker answers to anybody.
_API_VERSIONS = bytes([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF])


def kafka_answers(port: int) -> bool:
    """Whether a Kafka broker on `port` answers ApiVersions."""
    return len(_exchange(port, _API_VERSIONS)) > 0


def redis_answers(port: int) -> bool:
    """Whether a Redis server on `port` answers PING."""
    return _exchange(port, b"PING\r\n").startswith(b"+PONG")


def http_ok(port: int, path: str) -> bool:
    """Whether GET `path` is answered with status 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _exchange(port: int, request: bytes) -> bytes:
    try:
        with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as connection:
            connection.sendall(request)
            return connection.recv(1024)
    except OSError:
        return b""

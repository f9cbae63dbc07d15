"""kafka-python's client, with an end to every handshake and the reason when no broker is reached."""

from __future__ import annotations

import math
import ssl
import time
from typing import Any

from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import create_connection
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

HANDSHAKE_S = 3.0
"""A TLS handshake may take this long: less than a start waits for brokers, so that the reason is known."""

TELLING: tuple[type[Exception], ...] = (kafka_errors.BrokerResponseError, ssl.SSLCertVerificationError)
"""They say enough; any other may come of two who do not speak the same protocol."""


class Client(KafkaNetClient):  # type: ignore[misc]  # kafka-python is untyped
    """What consumers, producers and admin clients take as their `kafka_client`."""

    def __init__(self, **configs: Any) -> None:
        loop = NetworkSelector(**configs)
        super().__init__(net=loop, manager=_Manager(loop, **configs))


class _Manager(KafkaConnectionManager):  # type: ignore[misc]  # kafka-python is untyped
    def __init__(self, loop: NetworkSelector, **configs: Any) -> None:
        super().__init__(loop, **configs)
        self._why: Exception | None = None  # the latest failure to connect

    def bootstrap(self, timeout_ms: float | None = None, refresh: bool = True) -> None:
        """Only constructors call it: when it fails, nobody else can close what was opened."""
        try:
            super().bootstrap(timeout_ms, refresh)
        except BaseException:
            self.close()
            self._net.close()
            raise

    async def _do_bootstrap(self, deadline: float | None) -> bool:
        """Raises why the latest attempt failed; kafka-python only logs that."""
        try:
            reached: bool = await super()._do_bootstrap(deadline)
        except kafka_errors.KafkaTimeoutError:
            raise self._reason() from None
        return reached

    def _reason(self) -> Exception:
        if isinstance(self._why, TELLING):
            return self._why
        protocol = self.config["security_protocol"]
        unclear: Exception = kafka_errors.KafkaConnectionError(
            f"{self._why or 'no connection in time'} (ADGAUGE_KAFKA_SECURITY_PROTOCOL is {protocol})"
        )
        return unclear

    async def _connect(self, node: Any, conn: Any, **how: Any) -> None:
        conn.init_future.add_errback(self._failed)
        conn.close_future.add_errback(self._failed)
        await super()._connect(node, conn, **how)

    def _failed(self, error: Exception) -> None:
        self._why = error

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        socket = await create_connection(
            self._net, node.host, node.port, self.config["socket_options"], timeout_at=timeout_at
        )
        if not self.ssl_enabled:
            return _TCP(self._net, socket, host=node.host)
        transport = _TLS(self._net, socket, host=node.host, ssl_context=self.config["ssl_context"])
        try:
            await transport.handshake_until(min(timeout_at or math.inf, time.monotonic() + HANDSHAKE_S))
        except BaseException:
            transport.close()
            raise
        return transport


Received = tuple[bytes, Exception | None]


class _TCP(KafkaTCPTransport):  # type: ignore[misc]  # kafka-python is untyped
    def _sock_recv(self) -> Received:
        return _last_words(super()._sock_recv())


class _TLS(KafkaSSLTransport):  # type: ignore[misc]  # kafka-python is untyped
    def _sock_recv(self) -> Received:
        return _last_words(super()._sock_recv())

    async def handshake_until(self, until: float) -> None:
        """kafka-python's own waits for ever for a server that says nothing; `until` is its loop's time."""
        while True:
            try:
                self._sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                await self._net.wait_read(self._sock, until)
            except ssl.SSLWantWriteError:
                await self._net.wait_write(self._sock, until)


def _last_words(received: Received) -> Received:
    """A broker says why it refuses us and hangs up; kafka-python drops what came with the end."""
    data, error = received
    return data, None if data else error

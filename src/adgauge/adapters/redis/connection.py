"""Connections to Redis, one server or a cluster, and what its errors mean for us.

An error that an operator must end (rights, credentials, a key of another type) is a ConfigurationError;
everything else passes: no answer, a failover, a full memory (OOM), a server that still loads its data.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from adgauge.errors import BackendUnavailable, ConfigurationError

log = logging.getLogger(__name__)

Client = redis.Redis | RedisCluster

BACKEND = "redis"
FAILURES = (RedisError, RedisClusterException)
"""All that redis-py raises: errors of its cluster client are not RedisErrors."""
_REFUSALS = (AuthenticationError, AuthorizationError, NoPermissionError)


def connect(url: str, timeout_s: float, ca_file: Path | None = None) -> Client:
    """A client whose calls end within about `timeout_s` and are not repeated: retrying is ours.

    Whether a server is a member of a cluster it says itself; any member's URL will do. `rediss://` is TLS,
    trusted by `ca_file` (None: by the system); a client certificate is named in the URL:
    `?ssl_certfile=…&ssl_keyfile=…`. Raises ConfigurationError for a wrong URL, credentials or certificate,
    BackendUnavailable when nobody answers.
    """
    try:
        return _connected(url, _options(url, timeout_s, ca_file))
    except ValueError:
        # The error may quote a part of the password, so it is not repeated.
        raise ConfigurationError(
            "ADGAUGE_REDIS_URL: not of the form redis://[user:password@]host:port/db; in a password"
            " write / as %2F, # as %23, ? as %3F, @ as %40"
        ) from None
    except FAILURES as exc:
        raise _not_connected(url, exc) from exc


def _options(url: str, timeout_s: float, ca_file: Path | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
        "encoding_errors": "replace",
    }
    if ca_file is None:
        return options
    if not url.startswith("rediss://"):
        raise ConfigurationError("ADGAUGE_REDIS_CA_FILE is given and not used: the URL must be rediss://…")
    return options | {"ssl_ca_certs": str(ca_file)}


def _connected(url: str, options: dict[str, Any]) -> Client:
    client = redis.Redis.from_url(url, **options)
    client.ping()
    if not _is_cluster(client):
        return client
    try:
        # Asked here because redis-py takes a refusal for a server without cluster mode.
        cast(Any, client).execute_command("CLUSTER SLOTS")
        return RedisCluster.from_url(url, **options)
    finally:
        client.close()


def _is_cluster(client: redis.Redis) -> bool:
    """By HELLO's word; a server that is too old to know HELLO counts as a single one."""
    try:
        said = cast(Any, client).execute_command("HELLO")
    except ResponseError:
        return False
    fields = said if isinstance(said, dict) else dict(zip(said[::2], said[1::2], strict=True))
    return cast(str, fields.get("mode")) == "cluster"


def _not_connected(url: str, exc: BaseException) -> BackendUnavailable | ConfigurationError:
    where = _address(url)
    if isinstance(exc, _REFUSALS):
        return ConfigurationError(
            f"Redis at {where} refuses us: {exc}; check user and password in ADGAUGE_REDIS_URL and the rights"
        )
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(exc)):
        return ConfigurationError(
            f"Redis at {where}: {exc}; is ADGAUGE_REDIS_CA_FILE the one that signed it?"
        )
    return BackendUnavailable(
        BACKEND, f"no answer at {where}: {exc}; is ADGAUGE_REDIS_URL right and the server up?"
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn what redis-py raises into ConfigurationError or BackendUnavailable."""
    try:
        yield
    except FAILURES as exc:
        # A pipeline puts the whole command before what went wrong.
        said = str(exc).rsplit("caused error: ", 1)[-1]
        if said.startswith("ACL failure") or any(isinstance(cause, _REFUSALS) for cause in _causes(exc)):
            raise ConfigurationError(
                f"Redis refuses us: {said}; allow what docs/contracts/README.md lists, on ag:*"
            ) from exc
        if isinstance(exc, ResponseError) and said.startswith("WRONGTYPE"):
            raise ConfigurationError(f"Redis: {said}; another program uses our keys, ag:*") from exc
        raise BackendUnavailable(BACKEND, said) from exc


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def persistence(client: Client) -> str:
    """What the server writes to its disk, in words; that it does not say when CONFIG GET is refused."""
    try:
        commands = cast(Any, client)
        where = {"target_nodes": commands.get_random_node()} if isinstance(client, RedisCluster) else {}
        answers = [
            commands.execute_command("CONFIG", "GET", name, **where) for name in ("appendonly", "appendfsync")
        ]
    except FAILURES:
        return "it does not say what it writes to its disk (CONFIG GET is refused)"
    said = {str(name): str(value) for each in answers for name, value in dict(each).items()}
    if said.get("appendonly") != "yes":
        return "appendonly no: a crash loses what was written since its last snapshot"
    lost = {"always": "nothing", "everysec": "about a second of writes"}
    fsync = said.get("appendfsync", "no")
    loses = lost.get(fsync, "what the system had not written")
    return f"appendonly with appendfsync {fsync}: a crash loses {loses}"


def close(client: Client) -> None:
    """Close connections. Never raises."""
    try:
        client.close()
    except FAILURES:
        log.debug("closing redis", exc_info=True)


def _address(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}"

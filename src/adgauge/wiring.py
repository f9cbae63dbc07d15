"""What every program that scores puts together in the same way from the settings."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from adgauge.adapters.redis import RedisScoreStore
from adgauge.adapters.redis.connection import Client
from adgauge.adapters.settings import ServerSettings
from adgauge.contract import ImageSpec
from adgauge.images.hosts import Manners
from adgauge.images.http import HttpPolicy
from adgauge.images.loader import Disk, ImageLoader, Places
from adgauge.telemetry.metrics import Metrics


def score_store(client: Client, servers: ServerSettings, generation: int, ttl_s: float) -> RedisScoreStore:
    """The store of one generation; a score lives `ttl_s`, give or take a tenth."""
    return RedisScoreStore(
        client,
        generation,
        ttl_s,
        random.random,
        wait_replicas=servers.redis_wait_replicas,
        wait_s=servers.redis_timeout_s / 2,
    )


def image_places(servers: ServerSettings, roots: Sequence[Path] | None = None) -> Places:
    """Where pictures may come from; `roots`, where given, replace the configured ones, and what needs no
    network is allowed with them.
    """
    return Places(
        schemes=servers.image_schemes if roots is None else {*servers.image_schemes, "file", "data"},
        roots=servers.image_roots if roots is None else roots,
        buckets=servers.image_buckets,
        http=HttpPolicy(
            timeout_s=servers.image_timeout_s,
            ports=servers.image_ports,
            allowed_networks=servers.image_networks,
            allowed_hosts=servers.image_hosts,
            denied_hosts=servers.image_hosts_denied,
            proxy=servers.image_proxy,
            ca_file=servers.image_ca_file,
        ),
    )


def image_disk(servers: ServerSettings) -> Disk | None:
    """Where bodies are kept, if anywhere."""
    if servers.image_cache_dir is None:
        return None
    return Disk(servers.image_cache_dir, servers.image_cache_bytes)


def image_loader(
    spec: ImageSpec,
    servers: ServerSettings,
    metrics: Metrics,
    *,
    roots: Sequence[Path] | None = None,
    patience_s: float | None = None,
) -> ImageLoader:
    """The loader; `patience_s` instead of the configured one. Raises ConfigurationError."""
    manners = Manners(
        connections=servers.image_connections,
        per_host=servers.image_connections_per_host,
        picture_s=servers.image_timeout_s,
        patience_s=servers.image_host_patience_s if patience_s is None else patience_s,
    )
    places = image_places(servers, roots)
    return ImageLoader(spec, places, metrics, manners=manners, disk=image_disk(servers))

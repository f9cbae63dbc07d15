"""The servers the product stands on: each started here unless its address is given."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from services.embedded.broker import start_broker
from services.embedded.cache import start_cache
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import start_triton
from services.embedded.workspace import Workspace


@dataclass(frozen=True)
class Stack:
    """Addresses of running servers, ours or given."""

    kafka_bootstrap: str
    redis_url: str
    triton_url: str
    triton_metrics_url: str | None
    """None where Triton is not ours."""
    workspace: Workspace

    def check(self) -> None:
        """Raise ServerFailed, quoting its log, when one of our servers has died."""
        self.workspace.check()


@contextmanager
def running_stack(settings: EmbeddedSettings, models: Sequence[str]) -> Iterator[Stack]:
    """Start what is not given, wait until all is ready, and leave nothing behind; raises ServerFailed."""
    with Workspace() as workspace:
        broker = None if settings.kafka_bootstrap else start_broker(workspace, port=settings.kafka_port)
        cache = None if settings.redis_url else start_cache(workspace, port=settings.redis_port)
        triton = (
            None
            if settings.triton_url
            else start_triton(
                workspace,
                venv=settings.triton_venv,
                repository=settings.model_repository,
                models=models,
                port=settings.triton_port,
            )
        )
        for server in (broker, cache, triton):
            if server is not None:
                server.wait_until_ready()
        yield Stack(
            kafka_bootstrap=settings.kafka_bootstrap or (broker.bootstrap if broker else ""),
            redis_url=settings.redis_url or (cache.url if cache else ""),
            triton_url=settings.triton_url or (triton.url if triton else ""),
            triton_metrics_url=triton.metrics_url if triton else None,
            workspace=workspace,
        )

"""The scorer: products from Kafka, scored by Triton, into Redis. Everything is put together here.

poll (adapters/kafka) → batches (pipeline/runner) → each record's way (pipeline/scoring) → commit (runner).
"""

import logging
import os
import random
import signal
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version

from prometheus_client import CollectorRegistry

from adgauge.adapters.admission import admit
from adgauge.adapters.kafka import (
    KafkaDeadLetters,
    KafkaScoreLog,
    KafkaSource,
    KafkaWriter,
    require_topics,
)
from adgauge.adapters.redis import RedisScoreCache, connect, register_generation
from adgauge.adapters.settings import ServerSettings, load_settings, refuse_misspelt
from adgauge.errors import AdgaugeError
from adgauge.pipeline.circuit import Circuits, Patience
from adgauge.pipeline.runner import Runner
from adgauge.pipeline.scoring import ScoringPipeline
from adgauge.telemetry.exposition import Health, TelemetryServer
from adgauge.telemetry.logging import configure_logging
from adgauge.telemetry.metrics import Metrics
from adgauge.wiring import image_loader, score_store
from services.scorer.memory import Garbage, give_large_blocks_back
from services.scorer.settings import ScorerSettings

log = logging.getLogger("services.scorer")

STALLED_AFTER_S = 60.0
CONTENT_CACHE_TIMEOUT_S = 0.25
"""A look-up must cost less than the model would."""
PROBE_EVERY_S = 3.0
"""A model that died while nobody asked is noticed after this and the time of a probe."""


def main() -> int:
    """Exit code: 0 after a stop that was asked for, 1 with one line when the scorer cannot work."""
    try:
        give_large_blocks_back()
        refuse_misspelt(ServerSettings, ScorerSettings)
        servers, settings = load_settings(ServerSettings), load_settings(ScorerSettings)
        configure_logging(sys.stderr, getattr(logging, settings.log_level))
        logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what keeps us from starting is in our errors
        serve(servers, settings)
    except AdgaugeError as error:
        print(f"adgauge scorer: {error}", file=sys.stderr)
        return 1
    return 0


def serve(servers: ServerSettings, settings: ScorerSettings) -> None:
    """Check the model, Redis and the topics, then score until SIGTERM or SIGINT."""
    kafka, redis_url, triton, model_dir = (
        servers.kafka(),
        servers.redis(),
        servers.triton(),
        servers.model(),
    )
    metrics, health = Metrics(CollectorRegistry()), Health(time.monotonic, STALLED_AFTER_S)
    stop, at_once = _stop_on_signal(health)
    with ExitStack() as stack:
        telemetry = TelemetryServer(metrics.registry, health, settings.metrics_host, settings.metrics_port)
        stack.enter_context(telemetry)
        admitted = admit(model_dir, triton, metrics, requests=servers.triton_requests)
        stack.callback(admitted.scorer.close)
        contract, generation = admitted.contract, settings.generation
        model, digest = f"{contract.name}/{contract.version}", contract.digest()

        redis = connect(redis_url, servers.redis_timeout_s, servers.redis_ca_file)
        store = score_store(redis, servers, generation, settings.score_ttl_s)
        stack.callback(store.close)
        register_generation(redis, generation, {"model": model, "digest": digest})
        cache = _content_cache(servers, generation, digest)
        if cache is not None:
            stack.callback(cache.close)

        require_topics(kafka, servers.topics())
        writer = KafkaWriter(kafka)
        stack.callback(writer.close)
        images = image_loader(contract.spec.image, servers, metrics)
        stack.callback(images.close)

        circuits = Circuits(
            stop.wait,
            random.random,
            time.monotonic,
            metrics,
            probes={"triton": admitted.probe},
            patience=Patience(),
        )
        pipeline = ScoringPipeline(
            canonicalizer=admitted.canonicalizer,
            images=images,
            cache=cache,
            scorer=admitted.scorer,
            store=store,
            score_log=KafkaScoreLog(
                writer, servers.scores_topic, generation=generation, model=model, contract=digest
            ),
            dead_letters=KafkaDeadLetters(writer, servers.dead_letters_topic, version("adgauge")),
            circuits=circuits,
            fuse=settings.fuse(),
            metrics=metrics,
            clock_ms=_now_ms,
            max_record_bytes=servers.max_record_bytes,
        )
        source = KafkaSource(
            kafka,
            servers.products_topic,
            servers.group,
            instance_id=settings.instance_id,
            session_timeout_s=settings.session_timeout_s,
            max_records=settings.batch_records,
            clock_ms=_now_ms,
        )

        garbage = Garbage(time.monotonic)

        def progressed() -> None:
            garbage.collect_when_due()
            health.progressed()
            health.ready(because_not="draining" if stop.is_set() else circuits.why_open())
            metrics.last_progress_timestamp_seconds.set(time.time())

        runner = Runner(
            source,
            pipeline.run,
            settings.limits(),
            metrics,
            clock=time.monotonic,
            sleep=time.sleep,
            blocked=circuits.why_open,
            progressed=progressed,
            held=images.held,
        )
        metrics.describe_build(version("adgauge"), model, digest, generation)
        health.ready()
        log.info(
            "scoring with %s into generation %d; metrics at %s/metrics", model, generation, telemetry.url
        )
        logging.getLogger("kafka").setLevel(logging.ERROR)
        garbage.leave_out_what_stays()
        circuits.watch("triton", PROBE_EVERY_S)
        stack.callback(stop.set)  # however the run ends: batches that wait for a server give up
        runner.run(until=stop.is_set, at_once=at_once.is_set)


def _stop_on_signal(health: Health) -> tuple[threading.Event, threading.Event]:
    """Events for the first signal (finish what is running) and the second (stop at once)."""
    stop, at_once = threading.Event(), threading.Event()

    def first(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, second)
        signal.signal(signal.SIGINT, second)
        health.ready(because_not="draining")
        stop.set()

    def second(number: int, frame: object) -> None:
        at_once.set()

    signal.signal(signal.SIGTERM, first)
    signal.signal(signal.SIGINT, first)
    return stop, at_once


def _content_cache(servers: ServerSettings, generation: int, contract: str) -> RedisScoreCache | None:
    url = servers.content_cache()
    if url is None:
        return None
    ca_file = servers.redis_ca_file if url.startswith("rediss://") else None
    return RedisScoreCache(
        partial(connect, url, CONTENT_CACHE_TIMEOUT_S, ca_file),
        generation,
        contract,
        random.random,
        time.monotonic,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # Threads that hang in a call to a dead server would keep the process until it gives up.
    os._exit(code)

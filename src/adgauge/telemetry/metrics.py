"""Every metric of the scorer, once. A closed list: names carry units, labels come from closed sets.

Labels never carry a product, a URL or an address. `docs/metrics.md` is generated from this file.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from adgauge.errors import RejectReason
from adgauge.records import OutcomeKind, Partition

# Event time → readable: from an idle stream (tens of ms) to a backlog that has to be worked off (an hour).
FRESHNESS_BUCKETS_S = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0
)  # fmt: skip
# One batch in one stage: parsing takes under a millisecond, a fetch of slow pictures tens of seconds.
STAGE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
BACKENDS = ("images", "kafka", "redis", "triton", "fuse")
"""What `BackendUnavailable` names; the fuse is away when too many records are rejected."""


class Stage(StrEnum):
    """The steps of a batch, in the order of `pipeline/scoring.py`."""

    PARSE = "parse"
    IMAGES = "images"
    CANONICALIZE = "canonicalize"
    CACHE = "cache"
    SCORE = "score"
    STORE = "store"
    LOG = "log"
    DEAD_LETTERS = "dead_letters"


class CacheResult(StrEnum):
    """How the score of a canonical input was found; `miss` is the part that Triton computes."""

    HIT = "hit"
    MISS = "miss"
    DUPLICATE = "duplicate"  # equal content earlier in the same batch


class SourceResult(StrEnum):
    """Whether a record's text and picture references were scored before, and what its pictures said."""

    MISS = "miss"
    UNCHANGED = "unchanged"  # nothing was decoded or scored
    CHANGED = "changed"  # a picture behind the same reference is another one


class ImageAnswer(StrEnum):
    """What a picture cost that was asked for over http(s)."""

    FRESH = "fresh"  # nothing: the host said for how long nobody need ask
    NOT_MODIFIED = "not_modified"  # a request without a body
    SAME_BYTES = "same_bytes"  # a body, found to be the known one: nothing is decoded
    DOWNLOADED = "downloaded"
    NEGATIVE = "negative"  # nothing: it was refused a moment ago


class Rebalance(StrEnum):
    """How the group changed what is ours."""

    ASSIGNED = "assigned"
    REVOKED = "revoked"  # in order: what was done was committed
    LOST = "lost"  # too late to commit: another worker had it already


class ProbeResult(StrEnum):
    """What the golden record said about the served model."""

    GOOD = "good"
    UNAVAILABLE = "unavailable"  # no answer, or not the golden score
    MISMATCH = "mismatch"  # another contract: the worker ends


class ScorerFailure(StrEnum):
    """Why a request to Triton gave no scores."""

    DEADLINE = "deadline"  # no answer in time
    UNAVAILABLE = "unavailable"  # no connection, or model not loaded
    REFUSED = "refused"  # Triton answered with an error about the request
    INVALID_OUTPUT = "invalid_output"  # output missing, misshapen, mistyped, not finite or out of range
    CONTRACT = "contract"  # the served model is not the contracted one


class Metrics:
    """The scorer's metrics, registered with one registry; construct it once per process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        ProcessCollector(registry=registry)

        # Throughput and loss: every consumed record ends here once. `reason` is empty unless rejected.
        self.records = counter(
            "adgauge_records", "Records decided, by outcome and reason.", ["outcome", "reason"]
        )
        # The promise to recommenders. Replays keep their event time, so they show here as old.
        self.freshness_seconds = histogram(
            "adgauge_freshness_seconds",
            "Event time to readable in Redis, per stored score.",
            buckets=FRESHNESS_BUCKETS_S,
        )
        # Where the time of a batch goes.
        self.stage_seconds = histogram(
            "adgauge_stage_seconds", "Time one batch spent in a stage.", ["stage"], buckets=STAGE_BUCKETS_S
        )
        # Small requests waste the accelerator; compare with Triton's own rows per execution.
        self.request_rows = histogram(
            "adgauge_request_rows", "Rows in one request to Triton.", buckets=ROW_BUCKETS
        )

        # Backpressure: these stay below their configured bounds; at the bound the source is paused.
        self.in_flight_records = gauge("adgauge_in_flight_records", "Records polled and not yet decided.")
        self.in_flight_bytes = gauge("adgauge_in_flight_bytes", "Bytes of values polled and not yet decided.")
        self.in_flight_requests = gauge("adgauge_in_flight_requests", "Requests that wait for Triton.")
        self.paused = gauge("adgauge_paused", "1 while the source is paused by backpressure.")

        # An open circuit pauses consumption and takes readiness away; `/healthz/ready` says why in words.
        self.circuit_open = gauge(
            "adgauge_circuit_open", "1 while a backend is taken to be away.", ["backend"]
        )
        self.circuit_openings = counter(
            "adgauge_circuit_openings", "Times a backend was found to be away.", ["backend"]
        )
        # Time, not counts: grows for as long as anything keeps a record from its end.
        self.oldest_undecided_seconds = gauge(
            "adgauge_oldest_undecided_seconds", "Age since its poll of the oldest undecided record, or 0."
        )

        # A worker without partitions is idle; a stalled partition has lag and a committed offset that stands.
        self.assigned_partitions = gauge(
            "adgauge_assigned_partitions", "Partitions that the group gave to this worker."
        )
        self.lag_records = gauge(
            "adgauge_lag_records",
            "Records of a partition that are not decided yet, delivered ones included.",
            ["partition"],
        )
        self.committed_offset = gauge(
            "adgauge_committed_offset", "Committed offset of a partition.", ["partition"]
        )
        self.rebalances = counter("adgauge_rebalances", "Changes of the assignment, by kind.", ["kind"])
        # Records since the last good commit come again after a restart.
        self.commit_failures = counter("adgauge_commit_failures", "Commits that were not acknowledged.")
        self.last_progress_timestamp_seconds = gauge(
            "adgauge_last_progress_timestamp_seconds", "Unix time of the runner's last loop."
        )

        self.cache_lookups = counter(
            "adgauge_cache_lookups", "Look-ups of content digests, by result.", ["result"]
        )
        # What a creative that did not change saves: the model, and with validators the pictures as well.
        self.source_lookups = counter(
            "adgauge_source_lookups", "Look-ups of text and picture references, by result.", ["result"]
        )
        # `result` is `ok`, `unchanged` or a reason of the image loader's closed list.
        self.images = counter("adgauge_images", "Pictures asked for, by result.", ["result"])
        self.image_answers = counter(
            "adgauge_image_answers", "Requests for http(s) pictures, by what answered them.", ["by"]
        )
        self.image_bytes = counter("adgauge_image_bytes", "Bytes of picture bodies downloaded.")
        self.image_retries = counter("adgauge_image_retries", "Attempts at a picture made again.")
        # A host that is away holds back what needs it; the log names it, a label must not.
        self.image_hosts_away = gauge(
            "adgauge_image_hosts_away", "Hosts whose pictures are waited for, or were given up."
        )
        self.images_waiting = gauge("adgauge_images_waiting", "Pictures that wait for a host to come back.")
        self.scorer_failures = counter(
            "adgauge_scorer_failures", "Requests to Triton that gave no scores, by kind.", ["kind"]
        )
        self.model_probes = counter(
            "adgauge_model_probes", "Golden records asked for while serving, by result.", ["result"]
        )
        self.model_heals = counter("adgauge_model_heals", "Times a dead model was unloaded and loaded again.")
        self.retries = counter(
            "adgauge_retries", "Calls made again after a backend was unavailable.", ["backend"]
        )

        # Which program and which model these figures are about; always 1.
        self.build_info = gauge(
            "adgauge_build_info",
            "Version, model, contract digest (12 hex digits) and generation in use.",
            ["version", "model", "contract", "generation"],
        )
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        # A counter that appears with its first event hides that event from `rate()`.
        for kind in OutcomeKind:
            if kind is not OutcomeKind.REJECTED:
                self.records.labels(kind, "")
        for reason in RejectReason:
            self.records.labels(OutcomeKind.REJECTED, reason)
        for stage in Stage:
            self.stage_seconds.labels(stage)
        for result in CacheResult:
            self.cache_lookups.labels(result)
        for failure in ScorerFailure:
            self.scorer_failures.labels(failure)
        for backend in BACKENDS:
            self.retries.labels(backend)
            self.circuit_open.labels(backend)
            self.circuit_openings.labels(backend)
        for change in Rebalance:
            self.rebalances.labels(change)
        for probed in ProbeResult:
            self.model_probes.labels(probed)
        for source in SourceResult:
            self.source_lookups.labels(source)
        for answer in ImageAnswer:
            self.image_answers.labels(answer)
        for image in ("ok", "unchanged"):
            self.images.labels(image)

    def describe_build(self, version: str, model: str, contract: str, generation: int) -> None:
        """Say what runs; `contract` is the digest in full. Replaces what was said before."""
        self.build_info.clear()
        self.build_info.labels(version, model, contract[:12], str(generation)).set(1)

    def forget(self, partition: Partition) -> None:
        """Drop the series of a partition that is no longer ours: another worker reports it now."""
        for gauge in (self.lag_records, self.committed_offset):
            gauge.remove_by_labels({"partition": str(partition.number)})

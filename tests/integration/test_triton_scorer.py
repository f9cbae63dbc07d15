"""TritonScorer against a real tritonserver with the model `brightness`."""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from adgauge.adapters.triton import ModelHealth, Probe, Requests, TritonClient, TritonScorer, plain_triton
from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, load_golden
from adgauge.contract import GOLDEN_FILE, ModelContract, load_contract
from adgauge.errors import BackendUnavailable, ContractMismatch, RecordRejected, RejectReason
from adgauge.pipeline.admission import (
    require_golden_digests,
    require_golden_scores,
    require_served_contract,
)
from adgauge.product import parse_product
from adgauge.records import CanonicalInput
from adgauge.telemetry.metrics import Metrics
from tests.brightness import POISON, SIDE, grey_score, product_bytes

MAX_ROWS = 8
MAX_BATCH = 32


class Bench:
    """A scorer on the served model, and canonical inputs for it."""

    def __init__(self, url: str, model_dir: Path, contract: ModelContract | None = None) -> None:
        self.url = url
        self.contract = contract or load_contract(model_dir)
        self.canonicalizer = Canonicalizer(self.contract, model_dir)
        self.records = load_golden(model_dir / GOLDEN_FILE)
        self.golden = canonicalize_golden(self.canonicalizer, self.records)
        self.metrics = Metrics(CollectorRegistry())
        self.client = TritonClient(plain_triton(url, 5.0), self.contract)
        self.scorer = self.with_probe(self.records[0].score)

    def with_probe(self, score: float) -> TritonScorer:
        probe = Probe(self.golden[0], score)
        requests = Requests(self.client, self.contract, probe, self.metrics, MAX_BATCH)
        health = ModelHealth(
            plain_triton(self.url, 5.0),
            self.client,
            self.contract,
            probe,
            self.metrics,
            sleep=time.sleep,
            random=random.random,
        )
        return TritonScorer(self.client, requests, health.vouch, max_rows=MAX_ROWS, in_flight=4)

    def canonical(self, level: int, title: str = "a thing") -> CanonicalInput:
        product = parse_product(product_bytes("P", None, title), 10_000)
        pixels = np.full((3, SIDE, SIDE), level, dtype=np.uint8)
        (made,) = self.canonicalizer.canonicalize([product], [[pixels]])
        assert isinstance(made, CanonicalInput)
        return made

    def requests(self) -> float:
        return self.metrics.registry.get_sample_value("adgauge_request_rows_count") or 0.0

    def close(self) -> None:
        self.scorer.close()


@pytest.fixture
def bench(triton_url: str, brightness_dir: Path) -> Iterator[Bench]:
    bench = Bench(triton_url, brightness_dir)
    yield bench
    bench.close()


def test_scores_come_back_in_order_across_rungs_and_requests(bench: Bench) -> None:
    titles = ["a thing", "a thing " * 6]
    inputs = [bench.canonical(level, titles[level % 2]) for level in range(0, 250, 7)]
    expected = [grey_score(level) for level in range(0, 250, 7)]

    assert bench.scorer.score(inputs) == pytest.approx(expected, abs=1e-4)
    assert {each.rung for each in inputs} == {4, 16}
    assert bench.requests() == 2 * math.ceil(len(inputs) / 2 / MAX_ROWS)


def test_nothing_to_score_asks_nobody(bench: Bench) -> None:
    assert bench.scorer.score([]) == []


@pytest.mark.parametrize("rows", [1, 2, 4, 8])
def test_a_poison_row_is_rejected_alone_at_the_price_of_few_requests(bench: Bench, rows: int) -> None:
    poison = rows // 2
    inputs = [bench.canonical(level) for level in range(rows)]
    inputs[poison] = bench.canonical(poison, POISON)
    scores = bench.scorer.score(inputs)
    refused = scores[poison]

    assert isinstance(refused, RecordRejected)
    assert (refused.reason, refused.stage) == (RejectReason.MODEL_ERROR, "score")
    assert [each for each in scores if isinstance(each, float)] == pytest.approx(
        [grey_score(level) for level in range(rows) if level != poison], abs=1e-4
    )
    assert bench.requests() - 1 <= 2 * math.log2(rows) + 2


def test_rows_merged_with_anothers_poison_row_are_scored(bench: Bench) -> None:
    good, poison = bench.canonical(50), bench.canonical(50, POISON)

    def score(number: int) -> float | RecordRejected:
        return bench.scorer.score([poison if number % 4 == 0 else good])[0]

    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(score, range(40)))

    assert all(isinstance(each, RecordRejected) for each in scores[::4])
    assert [each for number, each in enumerate(scores) if number % 4] == pytest.approx(
        [grey_score(50)] * 30, abs=1e-4
    )


def test_a_request_that_failed_with_anothers_poison_row_is_asked_once_more(bench: Bench) -> None:
    good, poison = [bench.canonical(50)] * 4, [*[bench.canonical(50)] * 3, bench.canonical(50, POISON)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: bench.scorer.score(good if number % 4 else poison), range(40)))
    labels = {"kind": "refused"}
    refused = bench.metrics.registry.get_sample_value("adgauge_scorer_failures_total", labels) or 0.0
    beside = refused - 10 * 4  # a poison row of four is refused with all of them, alone, in a half, by itself

    assert beside >= 0
    assert bench.requests() == 40 + 10 * (2 * math.log2(4) + 2) + beside


def test_no_row_is_rejected_while_the_golden_record_fails(bench: Bench) -> None:
    scorer = bench.with_probe(score=1.0)
    with pytest.raises(BackendUnavailable, match="golden record scores"):
        scorer.score([bench.canonical(5, POISON)])
    scorer.close()


def test_the_served_model_names_its_contract_and_batch_size(bench: Bench) -> None:
    served = bench.client.served()
    assert (served.digest, served.max_batch) == (bench.contract.digest(), 32)


def test_golden_records_pass_the_check_at_start(bench: Bench) -> None:
    require_served_contract(bench.contract, bench.client.served().digest)
    require_golden_digests(bench.records, bench.golden)
    require_golden_scores(bench.contract, bench.records, bench.golden, bench.scorer)


def test_another_contract_is_refused_with_both_digests(triton_url: str, brightness_dir: Path) -> None:
    other = load_contract(brightness_dir).model_copy(update={"target": "clicks"})
    bench = Bench(triton_url, brightness_dir, other)
    served = bench.client.served().digest
    bench.close()
    with pytest.raises(ContractMismatch, match=f"(?s){served}.*{other.digest()}"):
        require_served_contract(other, served)


def test_other_golden_digests_are_refused(bench: Bench) -> None:
    with pytest.raises(ContractMismatch, match="GOLD1 canonicalizes to"):
        require_golden_digests(bench.records, bench.golden[::-1])


def test_other_golden_scores_are_refused(bench: Bench) -> None:
    with pytest.raises(ContractMismatch, match="GOLD1"):
        require_golden_scores(bench.contract, bench.records, bench.golden[::-1], bench.scorer)


Update = Callable[[ModelContract], ModelContract]


def renamed(contract: ModelContract) -> ModelContract:
    return contract.model_copy(update={"name": "nosuch"})


def other_version(contract: ModelContract) -> ModelContract:
    return contract.model_copy(update={"version": 7})


@pytest.mark.parametrize("update", [renamed, other_version])
def test_a_model_that_is_not_there_is_unavailable(
    triton_url: str, brightness_dir: Path, update: Update
) -> None:
    bench = Bench(triton_url, brightness_dir, update(load_contract(brightness_dir)))
    with pytest.raises(BackendUnavailable, match="ADGAUGE_TRITON_URL"):
        bench.client.served()
    with pytest.raises(BackendUnavailable):
        bench.scorer.score([bench.canonical(1)])
    bench.close()


def test_a_wrong_address_is_unavailable_at_once(brightness_dir: Path) -> None:
    bench = Bench("127.0.0.1:1", brightness_dir)
    with pytest.raises(BackendUnavailable, match=r"triton: no model brightness version 1 at 127\.0\.0\.1:1"):
        bench.client.served()
    with pytest.raises(BackendUnavailable):
        bench.scorer.score([bench.canonical(1)])
    bench.close()


def changed_output(**changes: object) -> Update:
    def update(contract: ModelContract) -> ModelContract:
        (output,) = contract.outputs
        return contract.model_copy(update={"outputs": (output.model_copy(update=changes),)})

    return update


def test_an_output_of_another_type_is_a_contract_mismatch(triton_url: str, brightness_dir: Path) -> None:
    bench = Bench(triton_url, brightness_dir, changed_output(dtype="int64")(load_contract(brightness_dir)))
    with pytest.raises(ContractMismatch, match="score is FP32"):
        bench.scorer.score([bench.canonical(1)])
    bench.close()


def test_an_output_of_another_shape_is_not_taken_for_a_score(triton_url: str, brightness_dir: Path) -> None:
    bench = Bench(triton_url, brightness_dir, changed_output(shape=(2,))(load_contract(brightness_dir)))
    with pytest.raises(BackendUnavailable, match=r"shape \[1, 1\] for 1 rows"):
        bench.scorer.score([bench.canonical(1)])
    bench.close()


def test_a_score_out_of_range_is_rejected_alone(triton_url: str, brightness_dir: Path) -> None:
    narrow = load_contract(brightness_dir).model_copy(update={"score_range": (1.0, 4.5)})
    bench = Bench(triton_url, brightness_dir, narrow)
    bright, dark = bench.scorer.score([bench.canonical(255), bench.canonical(0)])
    bench.close()

    assert isinstance(bright, RecordRejected)
    assert dark == pytest.approx(1.0)


def test_many_threads_share_a_scorer(bench: Bench) -> None:
    def score(level: int) -> Sequence[float | RecordRejected]:
        return bench.scorer.score([bench.canonical(level)] * 3)

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(score, range(0, 200, 10)))

    assert [row[0] for row in results] == pytest.approx([grey_score(n) for n in range(0, 200, 10)], abs=1e-4)
    assert bench.metrics.registry.get_sample_value("adgauge_in_flight_requests") == 0

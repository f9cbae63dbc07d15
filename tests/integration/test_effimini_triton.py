"""The default model on a real tritonserver: merged runs, errors one by one, golden scores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpc
import urllib3
from tritonclient.utils import InferenceServerException

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, load_golden
from adgauge.contract import GOLDEN_FILE, load_contract
from adgauge.records import CanonicalInput
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import Triton, start_triton
from services.embedded.workspace import Workspace

NAME = "effimini_lite0"
MODEL = EmbeddedSettings().model_repository / NAME / "1"
CONTRACT = load_contract(MODEL)
TYPES = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64"}


@pytest.fixture(scope="module")
def triton() -> Iterator[Triton]:
    settings = EmbeddedSettings()
    with Workspace() as workspace:
        server = start_triton(
            workspace, venv=settings.triton_venv, repository=settings.model_repository, models=[NAME]
        )
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def golden() -> list[CanonicalInput]:
    return canonicalize_golden(Canonicalizer(CONTRACT, MODEL), load_golden(MODEL / GOLDEN_FILE))


def infer(triton: Triton, rows: list[CanonicalInput]) -> list[float]:
    """Scores of rows of one length, in one request."""
    tensors = []
    for spec in CONTRACT.inputs:
        values = np.stack([row.arrays[spec.name] for row in rows])
        tensors.append(grpc.InferInput(spec.name, list(values.shape), TYPES[spec.dtype]))
        tensors[-1].set_data_from_numpy(values)
    with grpc.InferenceServerClient(triton.url) as client:
        answer = client.infer(NAME, tensors, client_timeout=60).as_numpy("score")
    assert answer is not None
    assert answer.shape == (len(rows), 1)
    return [float(score) for score in answer[:, 0]]


def counters(triton: Triton, *names: str) -> dict[str, float]:
    text = urllib3.request("GET", triton.metrics_url, timeout=10).data.decode()
    found = {name: re.findall(rf'^{name}{{.*"{NAME}".*}} (\S+)$', text, re.MULTILINE) for name in names}
    return {name: float(values[0]) for name, values in found.items()}


def settled(triton: Triton, *names: str) -> dict[str, float]:
    """Counters when they stand still: Triton counts an execution after it was answered."""
    before: dict[str, float] = {}
    while (found := counters(triton, *names)) != before:
        before = found
        sleep(0.5)
    return found


def changed(row: CanonicalInput, name: str, values: npt.NDArray[np.generic]) -> CanonicalInput:
    return CanonicalInput({**row.arrays, name: values}, row.rung, row.flags, row.digest)


def test_it_scores_the_golden_records_as_exported(triton: Triton, golden: list[CanonicalInput]) -> None:
    recorded = [record.score for record in load_golden(MODEL / GOLDEN_FILE)]
    served = [infer(triton, [row])[0] for row in golden]
    assert served == pytest.approx(recorded, abs=CONTRACT.tolerance)


def test_requests_that_wait_together_are_one_run(triton: Triton, golden: list[CanonicalInput]) -> None:
    names = ("adgauge_onnx_runs_total", "nv_inference_exec_count", "nv_inference_count")
    before = settled(triton, *names)
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda _: infer(triton, golden[:1]), range(48)))
    after = settled(triton, *names)
    runs, executions, rows = (after[name] - before[name] for name in names)
    assert rows == 48
    assert runs == executions
    assert runs <= rows / 2


def test_rows_of_different_lengths_are_all_scored(triton: Triton, golden: list[CanonicalInput]) -> None:
    assert len({row.rung for row in golden}) > 1
    alone = [infer(triton, [row])[0] for row in golden]
    with ThreadPoolExecutor(len(golden)) as pool:
        together = list(pool.map(lambda row: infer(triton, [row])[0], golden))
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_bad_request_does_not_fail_those_it_was_merged_with(
    triton: Triton, golden: list[CanonicalInput]
) -> None:
    good = golden[0]
    bad = changed(good, "input_ids", np.full_like(good.arrays["input_ids"], 99_999_999))
    expected = infer(triton, [good])[0]

    def answer(row: CanonicalInput) -> float | str:
        try:
            return infer(triton, [row])[0]
        except InferenceServerException as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answer, [good, good, bad, good] * 4))
    scored = [each for each in answers if isinstance(each, float)]
    errors = [each for each in answers if isinstance(each, str)]
    assert scored == pytest.approx([expected] * 12, abs=1e-5)
    assert len(errors) == 4
    assert all("cannot score" in error for error in errors)


def test_the_served_configuration_carries_the_digest_of_the_contract(triton: Triton) -> None:
    with grpc.InferenceServerClient(triton.url) as client:
        config = client.get_model_config(NAME, as_json=True)["config"]
    assert config["parameters"]["contract_digest.1"]["string_value"] == CONTRACT.digest()
    assert (MODEL.parent / "configs" / "cpu.pbtxt").is_file()

"""A tritonserver that loses its model's process, is replaced, or stops answering."""

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from adgauge.adapters.admission import AdmittedModel, admit
from adgauge.adapters.triton import ModelHealth, Probe, TritonClient, TritonConnection, plain_triton
from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, load_golden
from adgauge.contract import GOLDEN_FILE, load_contract
from adgauge.errors import BackendUnavailable, ContractMismatch
from adgauge.records import CanonicalInput
from adgauge.telemetry.metrics import Metrics
from services.embedded.ports import HOST, free_port
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import Triton, start_triton
from services.embedded.workspace import Workspace
from tests.brightness import export_brightness
from tests.certificates import issue

DEADLINE_S = 3.0
NOTICED_AND_HEALED_S = 10.0


@dataclass
class Served:
    """A tritonserver of its own and a worker's view of it."""

    workspace: Workspace
    triton: Triton
    model_dir: Path
    metrics: Metrics
    model: AdmittedModel

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def restart(self, model_dir: Path) -> None:
        self.triton.process.kill()
        self.triton = started(self.workspace, model_dir, self.triton.grpc_port)


def started(workspace: Workspace, model_dir: Path, port: int, flags: tuple[str, ...] = ()) -> Triton:
    triton = start_triton(
        workspace,
        venv=EmbeddedSettings().triton_venv,
        repository=model_dir.parents[1],
        models=[model_dir.parent.name],
        port=port,
        flags=flags,
    )
    triton.wait_until_ready()
    return triton


def admitted(url: str, model_dir: Path, metrics: Metrics) -> AdmittedModel:
    return admit(model_dir, plain_triton(url, DEADLINE_S), metrics, requests=4)


@pytest.fixture
def served(workspace: Workspace, tmp_path: Path) -> Iterator[Served]:
    model_dir = export_brightness(tmp_path / "repository")
    triton = started(workspace, model_dir, free_port())
    metrics = Metrics(CollectorRegistry())
    served = Served(workspace, triton, model_dir, metrics, admitted(triton.url, model_dir, metrics))
    yield served
    served.model.scorer.close()
    served.triton.process.kill()


def stubs(triton: Triton) -> list[int]:
    """The processes of the server's python models."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if int(parent) == triton.process.pid and "triton_python_backend_stub" in command:
                found.append(int(entry.name))
    return found


def test_a_healthy_model_passes(served: Served) -> None:
    served.model.probe()

    assert served.value("adgauge_model_probes_total", result="good") == 1


class OneOfTwoAway(TritonConnection):
    """A name that stands for two replicas; nobody listens at the second."""

    def replicas(self) -> list[TritonConnection]:
        return [*super().replicas(), plain_triton("127.0.0.1:1", DEADLINE_S)]


def test_a_row_is_to_blame_only_when_every_replica_scores_the_golden_record(served: Served) -> None:
    golden, score = golden_of(served.model_dir)
    contract = served.model.contract

    def health(connection: TritonConnection) -> ModelHealth:
        client = TritonClient(connection, contract)
        probe = Probe(golden, score)
        return ModelHealth(
            connection, client, contract, probe, served.metrics, sleep=time.sleep, random=random.random
        )

    whole = plain_triton(served.triton.url, DEADLINE_S)
    health(whole).vouch()
    half = OneOfTwoAway(whole.url, DEADLINE_S, tls=False, ca_file=None, cert_file=None, key_file=None)
    with pytest.raises(BackendUnavailable, match="triton: no model"):
        health(half).vouch()


def golden_of(model_dir: Path) -> tuple[CanonicalInput, float]:
    records = load_golden(model_dir / GOLDEN_FILE)
    return canonicalize_golden(Canonicalizer(load_contract(model_dir), model_dir), records)[0], records[
        0
    ].score


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_model_whose_process_is_dead_or_frozen_is_healed(served: Served, number: int) -> None:
    (stub,) = stubs(served.triton)
    os.kill(stub, number)
    began = time.monotonic()
    served.model.probe()
    seconds = time.monotonic() - began

    assert served.value("adgauge_model_heals_total") == 1
    assert seconds < NOTICED_AND_HEALED_S
    served.model.probe()
    assert served.value("adgauge_model_heals_total") == 1


def test_workers_that_notice_together_heal_it_and_all_go_on(served: Served) -> None:
    (stub,) = stubs(served.triton)
    workers = [
        served.model,
        *(admitted(served.triton.url, served.model_dir, served.metrics) for _ in range(2)),
    ]
    os.kill(stub, signal.SIGKILL)
    good = threading.Semaphore(0)

    def until_good(model: AdmittedModel) -> None:
        while True:
            try:
                model.probe()
            except BackendUnavailable:
                continue
            good.release()
            return

    threads = [threading.Thread(target=until_good, args=(each,)) for each in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert all(good.acquire(blocking=False) for _ in workers)
    for each in workers[1:]:
        each.scorer.close()


def test_a_server_that_is_away_is_unavailable_and_good_when_it_is_back(served: Served) -> None:
    served.triton.process.kill()
    with pytest.raises(BackendUnavailable):
        served.model.probe()
    served.triton = started(served.workspace, served.model_dir, served.triton.grpc_port)
    served.model.probe()

    assert served.value("adgauge_model_probes_total", result="unavailable") == 1


def test_another_model_of_the_same_name_ends_the_worker(served: Served, tmp_path: Path) -> None:
    other = export_brightness(tmp_path / "other", target="clicks")
    served.restart(other)
    with pytest.raises(ContractMismatch, match="point ADGAUGE_MODEL_DIR and Triton at the same"):
        served.model.probe()


def test_where_we_may_not_load_models_a_dead_process_is_said_with_what_to_do(
    workspace: Workspace, tmp_path: Path
) -> None:
    model_dir = export_brightness(tmp_path / "repository")
    triton = started(
        workspace, model_dir, free_port(), flags=("--grpc-restricted-protocol=model-repository:who=operator",)
    )
    model = admitted(triton.url, model_dir, Metrics(CollectorRegistry()))
    (stub,) = stubs(triton)
    os.kill(stub, signal.SIGKILL)
    with pytest.raises(BackendUnavailable, match="restart it, or run it with --model-control-mode=explicit"):
        model.probe()
    model.scorer.close()
    triton.process.kill()


class Relay:
    """Forwards connections to a port until `freeze`: then those it has go silent, and new ones are served."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._frozen: set[int] = set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server((HOST, 0))
        self.url = f"{HOST}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._frozen |= {id(pair) for pair in self._pairs}

    def close(self) -> None:
        self._listener.close()
        for pair in self._pairs:
            for end in pair:
                end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            pair = (client, socket.create_connection((HOST, self._port)))
            self._pairs.append(pair)
            for source, target in (pair, pair[::-1]):
                threading.Thread(target=self._pump, args=(pair, source, target), daemon=True).start()

    def _pump(
        self, pair: tuple[socket.socket, socket.socket], source: socket.socket, target: socket.socket
    ) -> None:
        try:
            while data := source.recv(65536):
                if id(pair) not in self._frozen:
                    target.sendall(data)
        except OSError:
            pass


def test_a_connection_that_died_without_a_word_is_replaced(served: Served) -> None:
    relay = Relay(served.triton.grpc_port)
    model = admitted(relay.url, served.model_dir, served.metrics)
    inputs = canonicalize_golden(model.canonicalizer, load_golden(served.model_dir / GOLDEN_FILE))
    relay.freeze()
    with pytest.raises(BackendUnavailable):
        model.scorer.score(inputs)
    model.probe()

    assert len(model.scorer.score(inputs)) == len(inputs)
    model.scorer.close()
    relay.close()


@pytest.mark.parametrize("mutual", [False, True])
def test_triton_is_reached_over_tls(workspace: Workspace, tmp_path: Path, mutual: bool) -> None:
    model_dir, made = export_brightness(tmp_path / "repository"), issue(tmp_path)
    flags = (
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={made.server_cert}",
        f"--grpc-server-key={made.server_key}",
        f"--grpc-root-cert={made.ca_file}",
        f"--grpc-use-ssl-mutual={str(mutual).lower()}",
    )
    triton = started(workspace, model_dir, free_port(), flags)
    ours = (made.client_cert, made.client_key) if mutual else (None, None)
    port, metrics = triton.grpc_port, Metrics(CollectorRegistry())
    model = admit(
        model_dir,
        TritonConnection(f"localhost:{port}", DEADLINE_S, True, made.ca_file, *ours),
        metrics,
        requests=1,
    )
    model.probe()  # of each address, under the name of the certificate
    model.scorer.close()
    strangers = [plain_triton(triton.url, 1.0), TritonConnection(triton.url, 1.0, True, None, *ours)]
    if mutual:
        strangers.append(TritonConnection(triton.url, 1.0, True, made.ca_file, None, None))
    for stranger in strangers:
        with pytest.raises(BackendUnavailable):
            admit(model_dir, stranger, metrics, requests=1)
    triton.process.kill()

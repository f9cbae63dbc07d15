"""The embedded servers start, answer, say what is wrong, and leave nothing behind however they end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
import tritonclient.grpc
from kafka import KafkaConsumer, KafkaProducer

from services.embedded.broker import start_broker
from services.embedded.cache import start_cache
from services.embedded.kafka import Kafka
from services.embedded.packages import packaged_program
from services.embedded.processes import ServerFailed, ServerProcess
from services.embedded.settings import ROOT, EmbeddedSettings
from services.embedded.stack import Stack, running_stack
from services.embedded.triton import TritonEnvironment, find_environment, require_libraries, start_triton
from services.embedded.workspace import Workspace, require_space
from tools.install import KAFKA_JARS

MODELS = Path(__file__).parents[1] / "models"
OWNER = """
import sys, time
from pathlib import Path
from services.embedded.settings import EmbeddedSettings
from services.embedded.stack import running_stack
with running_stack(EmbeddedSettings(model_repository=Path(sys.argv[1])), ["brightness"]) as stack:
    print(stack.workspace.shm_prefix, flush=True)
    while True:
        stack.check()
        time.sleep(0.05)
"""


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KAFKA_BOOTSTRAP", "REDIS_URL", "TRITON_URL", "KAFKA_PORT", "REDIS_PORT", "TRITON_PORT"):
        monkeypatch.delenv(f"ADGAUGE_{variable}", raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, in this process and in its children."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def settings() -> EmbeddedSettings:
    return EmbeddedSettings(model_repository=MODELS)


@pytest.fixture
def owned() -> Iterator[Workspace]:
    with Workspace() as workspace:
        yield workspace


def brightness(url: str, image: np.ndarray) -> float:
    """The score that the test model gives one image."""
    rows = {
        "image": (image[None], "UINT8"),
        "has_image": (np.ones((1, 1), np.float32), "FP32"),
        "input_ids": (np.zeros((1, 8), np.int64), "INT64"),
        "attention_mask": (np.ones((1, 8), np.int64), "INT64"),
    }
    inputs = []
    for name, (array, datatype) in rows.items():
        inputs.append(tritonclient.grpc.InferInput(name, array.shape, datatype))
        inputs[-1].set_data_from_numpy(array)
    with tritonclient.grpc.InferenceServerClient(url) as client:
        return float(client.infer("brightness", inputs).as_numpy("score")[0, 0])


def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    try:
        producer.send(topic, value).get(timeout=20)
    finally:
        producer.close()


def first_value(bootstrap: str, topic: str) -> bytes:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=20_000
    )
    try:
        value: bytes = next(iter(consumer)).value
    finally:
        consumer.close()
    return value


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that work in `folder` or name it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if str(folder) in command or (process / "cwd").readlink().is_relative_to(folder):
                found.append(command)
    return found


def leftovers(folder: Path, shm_prefix: str) -> list[str]:
    regions = Path("/dev/shm").glob(f"{shm_prefix}*")
    return [*map(str, folder.iterdir()), *processes_of(folder), *map(str, regions)]


def wait_for(holds: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def server(stack: Stack, name: str) -> ServerProcess:
    return next(process for process in stack.workspace.servers if process.name == name)


def test_stack_serves_all_three_protocols_and_leaves_nothing(
    folder: Path, settings: EmbeddedSettings
) -> None:
    with running_stack(settings, ["brightness"]) as stack:
        produce(stack.kafka_bootstrap, "catalog.products", b"record")
        assert first_value(stack.kafka_bootstrap, "catalog.products") == b"record"
        with redis.Redis.from_url(stack.redis_url) as client:
            client.set("ag:live", "1")
            assert client.get("ag:live") == b"1"
        grey = np.full((3, 224, 224), 51, np.uint8)
        assert brightness(stack.triton_url, grey) == pytest.approx(1.8)
        assert leftovers(folder, stack.workspace.shm_prefix) != []
    assert leftovers(folder, stack.workspace.shm_prefix) == []


def test_stacks_run_side_by_side(settings: EmbeddedSettings) -> None:
    with running_stack(settings, ["brightness"]) as one, running_stack(settings, ["brightness"]) as other:
        addresses = {
            address
            for stack in (one, other)
            for address in (
                stack.kafka_bootstrap,
                stack.redis_url,
                stack.triton_url,
                stack.triton_metrics_url,
            )
        }
        assert len(addresses) == 8
        dark, light = np.zeros((3, 224, 224), np.uint8), np.full((3, 224, 224), 255, np.uint8)
        assert brightness(one.triton_url, dark) == pytest.approx(1.0)
        assert brightness(other.triton_url, light) == pytest.approx(5.0)


def test_given_addresses_are_used_and_nothing_is_started_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADGAUGE_KAFKA_BOOTSTRAP", "kafka.example:9092")
    monkeypatch.setenv("ADGAUGE_REDIS_URL", "redis://redis.example/3")
    monkeypatch.setenv("ADGAUGE_TRITON_URL", "triton.example:8001")
    with running_stack(EmbeddedSettings(), ["brightness"]) as stack:
        assert stack.workspace.servers == ()
        assert stack.kafka_bootstrap == "kafka.example:9092"
        assert stack.redis_url == "redis://redis.example/3"
        assert stack.triton_url == "triton.example:8001"
        assert stack.triton_metrics_url is None


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_when_the_owner_is_ended_by(end: signal.Signals, folder: Path) -> None:
    owner = start_owner()
    shm_prefix = ready_owner(owner)
    os.killpg(owner.pid, end)
    owner.communicate(timeout=30)
    wait_for(lambda: leftovers(folder, shm_prefix) == [])


def test_nothing_is_left_after_an_impatient_second_ctrl_c(folder: Path) -> None:
    owner = start_owner()
    shm_prefix = ready_owner(owner)
    for _ in range(2):
        os.killpg(owner.pid, signal.SIGINT)
        time.sleep(0.1)
    owner.communicate(timeout=30)
    wait_for(lambda: leftovers(folder, shm_prefix) == [])


@pytest.mark.parametrize("name", ["tansu", "valkey", "triton"])
def test_a_crash_of_a_server_is_noticed_and_named(
    name: str, folder: Path, settings: EmbeddedSettings
) -> None:
    with running_stack(settings, ["brightness"]) as stack:
        stack.check()
        os.kill(server(stack, name).pid, signal.SIGKILL)
        wait_for(lambda: not server(stack, name).is_running())
        with pytest.raises(ServerFailed, match=f"^{name} was ended by SIGKILL, its log says: ."):
            stack.check()
    assert leftovers(folder, stack.workspace.shm_prefix) == []


def test_a_server_that_dies_before_it_is_ready_is_quoted(owned: Workspace) -> None:
    script = "echo starting; echo 'ERROR: no room for the log'; echo bye; exit 3"
    process = owned.start("shell", ["/bin/sh", "-c", script], {})
    with pytest.raises(
        ServerFailed, match=r"^shell exited with code 3, its log says: ERROR: no room for the log$"
    ):
        process.wait_until(lambda: False, timeout_s=10)


def test_a_server_that_never_answers_is_given_up(owned: Workspace) -> None:
    process = owned.start("sleeper", ["/bin/sleep", "60"], {})
    with pytest.raises(ServerFailed, match=r"^sleeper is not ready after 0\.1 s, its log says: \(nothing\)$"):
        process.wait_until(lambda: False, timeout_s=0.1)


def test_a_server_deaf_to_sigterm_is_killed(owned: Workspace) -> None:
    process = owned.start(
        "deaf", ["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"], {}
    )
    process.wait_until(lambda: "up" in process.log.read_text(), timeout_s=10)
    process.stop(grace_s=0.2)
    assert not process.is_running()


def test_a_program_that_does_not_exist_is_named(owned: Workspace) -> None:
    with pytest.raises(ServerFailed, match=r"^ghost cannot be started: No such file .*/no/such/program"):
        owned.start("ghost", ["/no/such/program"], {})


@pytest.mark.parametrize("kind", ["kafka", "redis", "triton"])
def test_a_port_in_use_is_named_with_its_setting(kind: str, settings: EmbeddedSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        taken = settings.model_copy(update={f"{kind}_port": port})
        expected = f"^port {port} on 127.0.0.1 is in use: .* ADGAUGE_{kind.upper()}_PORT$"
        with pytest.raises(ServerFailed, match=expected), running_stack(taken, ["brightness"]):
            pass


def test_chosen_ports_are_used(owned: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    broker = start_broker(owned, port=port)
    broker.wait_until_ready()
    assert broker.bootstrap == f"127.0.0.1:{port}"


def test_a_missing_package_is_named(owned: Workspace) -> None:
    with pytest.raises(
        ServerFailed, match=r"^the package no-such-dist is not installed .*adgauge\[embedded\]"
    ):
        packaged_program("no_such_module", Path("bin/x"), distribution="no-such-dist")


def test_a_full_disk_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=f"MiB free in {tmp_path}, .* are needed: free some"):
        require_space(tmp_path, 2**60, "free some")


def test_triton_without_its_environment_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"environment .* is missing: run `make .venv-triton/ready`"):
        find_environment(tmp_path / "absent")


def test_triton_refuses_numpy_2(owned: Workspace) -> None:
    """Its stub would return empty outputs with status OK."""
    with pytest.raises(ServerFailed, match=r"holds numpy 2\..*, Triton's stub needs numpy 1"):
        find_environment(Path(sys.prefix))


def test_triton_whose_stub_lacks_libpython_is_not_started(tmp_path: Path, settings: EmbeddedSettings) -> None:
    """The server would wait for the stub without end."""
    real = find_environment(settings.triton_venv)
    broken = TritonEnvironment(real.venv, real.version, real.libraries, tmp_path / "pytriton/tritonserver")
    (tmp_path / "nvidia_pytriton.libs").symlink_to(real.server.parents[1] / "nvidia_pytriton.libs")
    broken.stub.parent.mkdir(parents=True)
    library = f"libpython{real.version}.so".encode()
    broken.stub.write_bytes(real.stub.read_bytes().replace(library, b"libnothing".ljust(len(library), b"_")))
    broken.stub.chmod(0o755)
    with pytest.raises(
        ServerFailed, match=r"^Triton's python stub lacks libnothing[^ ,]*: install libpython3"
    ):
        require_libraries(broken)


def test_an_unknown_model_is_named(owned: Workspace, settings: EmbeddedSettings) -> None:
    with pytest.raises(ServerFailed, match=r"^there is no model sparkle in .*tests/models"):
        start_triton(owned, venv=settings.triton_venv, repository=MODELS, models=["sparkle"])


def test_a_model_that_cannot_load_is_quoted(
    owned: Workspace, settings: EmbeddedSettings, tmp_path: Path
) -> None:
    (tmp_path / "brightness/1").mkdir(parents=True)
    (tmp_path / "brightness/config.pbtxt").write_text((MODELS / "brightness/config.pbtxt").read_text())
    (tmp_path / "brightness/1/model.py").write_text("raise RuntimeError('the weights are missing')\n")
    triton = start_triton(owned, venv=settings.triton_venv, repository=tmp_path, models=["brightness"])
    with pytest.raises(ServerFailed, match=r"^triton exited .* the weights are missing"):
        triton.wait_until_ready(timeout_s=30)


@pytest.mark.tool("kafka")
@pytest.mark.parametrize("end", [Kafka.stop, Kafka.kill])
def test_kafka_keeps_its_records_through_a_restart(end: Callable[[Kafka], None], owned: Workspace) -> None:
    # A killed broker is let in again only when the session of its former self is over.
    properties = {"auto.create.topics.enable": "true", "broker.session.timeout.ms": "3000"}
    kafka = Kafka(owned, jars=KAFKA_JARS, properties=properties)
    kafka.start()
    produce(kafka.bootstrap, "adgauge-test-restart", b"kept")
    end(kafka)
    assert not kafka.process.is_running()
    kafka.start()
    assert first_value(kafka.bootstrap, "adgauge-test-restart") == b"kept"


def test_kafka_without_its_jars_says_how_to_get_them(owned: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="run `make tools`"):
        Kafka(owned, jars=tmp_path)


def test_redis_fixture_is_empty_and_volatile(redis_url: str, owned: Workspace) -> None:
    cache = start_cache(owned)
    cache.wait_until_ready()
    with redis.Redis.from_url(redis_url) as shared, redis.Redis.from_url(cache.url) as own:
        assert shared.dbsize() == 0
        assert own.config_get("save") == {"save": ""}


def start_owner() -> subprocess.Popen[str]:
    """A program that owns a stack, in a process group of its own as a terminal would give it."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(MODELS)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def ready_owner(owner: subprocess.Popen[str]) -> str:
    """Wait until its stack is up; the prefix of its shared memory."""
    assert owner.stdout is not None
    shm_prefix = owner.stdout.readline().strip()
    assert shm_prefix.startswith("adgauge_")
    return shm_prefix

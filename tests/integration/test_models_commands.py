"""`adgauge models list | load | unload | status` against tritonserver's repository API."""

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adgauge.cli import main
from adgauge.contract import CONTRACT_FILE, digest_parameter, load_contract
from services.embedded.ports import HOST, free_port
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import Triton, start_triton
from services.embedded.workspace import Workspace
from tests.brightness import export_brightness
from tests.certificates import issue

OTHER_HOST = "127.0.0.2"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def replica(self) -> Any:
        (replica,) = self.json["replicas"]
        return replica


Models = Callable[..., Ran]
Serve = Callable[..., Triton]


@pytest.fixture
def models(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Models:
    """`adgauge models …` in this process; keywords are settings."""
    monkeypatch.delenv("ADGAUGE_MODEL_DIR", raising=False)

    def run(*arguments: object, **settings: object) -> Ran:
        for name, value in settings.items():
            monkeypatch.setenv(f"ADGAUGE_{name.upper()}", str(value))
        code = main(["models", *map(str, arguments)])
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Version 1 of the model `brightness` in a repository of the test's own."""
    return export_brightness(tmp_path / "repository")


@pytest.fixture
def serve(workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """A tritonserver on the test's repository, at ADGAUGE_TRITON_URL."""
    started: list[Triton] = []

    def start(*flags: str, loaded: tuple[str, ...] = ("brightness",)) -> Triton:
        venv, repository = EmbeddedSettings().triton_venv, folder.parents[1]
        triton = start_triton(workspace, venv=venv, repository=repository, models=loaded, flags=flags)
        started.append(triton)
        triton.wait_until_ready()
        monkeypatch.setenv("ADGAUGE_TRITON_URL", triton.url)
        return triton

    yield start
    for triton in started:
        triton.process.kill()


def add_version_two(folder: Path, *, model: str | None = None, policy: str = "all { }") -> Path:
    """Export version 2 beside version 1 and have Triton serve what `policy` says; `model`: the code of 2."""
    contract = load_contract(folder)
    second = contract.model_copy(update={"version": 2})
    added = Path(shutil.copytree(folder, folder.parent / "2"))
    if model is not None:
        (added / "model.py").write_text(model)
    (added / CONTRACT_FILE).write_text(second.to_json())
    with (folder.parent / "config.pbtxt").open("a") as config:
        config.write(
            f'parameters {{ key: "{digest_parameter(2)}" value: {{ string_value: "{second.digest()}" }} }}\n'
        )
        config.write(f"version_policy {{ {policy} }}\n")
    return added


def add_broken(repository: Path, name: str) -> None:
    """A model whose code raises when it is loaded."""
    (repository / name / "1").mkdir(parents=True)
    config = (
        (repository / "brightness/config.pbtxt").read_text().replace('name: "brightness"', f'name: "{name}"')
    )
    (repository / name / "config.pbtxt").write_text(config)
    (repository / name / "1/model.py").write_text('raise ValueError("no weights\\nwere found")\n')


def test_a_model_is_loaded_checked_listed_and_unloaded(models: Models, serve: Serve, folder: Path) -> None:
    url = serve(loaded=()).url
    never = {"replica": url, "model": "brightness", "version": None, "state": "not loaded", "reason": ""}
    assert models("list", "--json").json == [never]

    loaded = models("load", "brightness", "--model-dir", folder)
    assert (loaded.code, loaded.out) == (
        0,
        f"{url} — brightness ready: version 1; version 1 scores as recorded\n",
    )
    assert models("list").out == f"{url}\n  brightness  1  ready\n"

    assert models("unload", "brightness").out == f"{url} — brightness unloaded, was ready: version 1\n"
    (gone,) = models("list", "--json").json
    assert gone["state"] in {"unloading", "unavailable"}
    again = models("unload", "brightness", "--json")
    assert (again.code, again.json) == (
        0, {"model": "brightness", "replicas": [{"replica": url, "unloaded": []}]}
    )  # fmt: skip


def test_a_loaded_model_tells_how_it_is_served_and_how_it_did(
    models: Models, serve: Serve, folder: Path
) -> None:
    url = serve().url
    first = models("status", "brightness", "--json")
    assert first.replica["versions"][0]["served"]["statistics"] == {
        "rows": 0, "executions": 0, "failed_requests": 0, "queue_ms": None, "compute_ms_per_row": None
    }  # fmt: skip
    assert models("status", "brightness", model_dir=folder).code == 0  # scores 3 golden records
    (status,) = models("status", "brightness", "--version", 1, "--json").replica["versions"]
    served, statistics = status["served"], status["served"].pop("statistics")

    assert served == {
        "digest": load_contract(folder).digest(),
        "version_policy": "latest 1",
        "batching": {"max_rows": 32, "preferred_rows": [8, 16, 32], "delay_us": 2000},
        "instances": ["1 x CPU"],
    }
    assert (statistics["rows"], statistics["failed_requests"]) == (3, 0)
    assert 1 <= statistics["executions"] <= 3
    assert 0 < statistics["compute_ms_per_row"] < 1000
    assert 0 < statistics["queue_ms"] < 1000
    assert models("status", "brightness").out.startswith(f"{url}\n  brightness version 1 is ready\n")


def test_a_folder_of_another_contract_or_other_golden_scores_is_noticed(
    models: Models, triton_url: str, brightness_dir: Path, tmp_path: Path
) -> None:
    other = export_brightness(tmp_path / "other", target="clicks")
    elsewhere = models("status", "brightness", "--model-dir", other, triton_url=triton_url)
    assert (elsewhere.code, elsewhere.out.splitlines()[-1]) == (1, "  FAIL another contract is served")

    drifted = Path(shutil.copytree(brightness_dir, tmp_path / "brightness"))
    golden = (drifted / "golden.jsonl").read_text().splitlines()
    first = json.loads(golden[0])
    golden[0] = json.dumps(first | {"score": first["score"] - 0.5})
    (drifted / "golden.jsonl").write_text("\n".join(golden) + "\n")
    verdict = models("status", "brightness", "--model-dir", drifted, "--json").replica["folder"]
    assert (verdict["version"], verdict["same_contract"]) == (1, True)
    assert verdict["golden"].startswith("Triton scores golden record GOLD1 4.137")

    refused = models("load", "brightness", "--model-dir", drifted)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith(
        f"adgauge: {triton_url} has loaded brightness, and no scorer may use it: Triton"
    )


def test_a_new_version_is_checked_beside_the_old_one(models: Models, serve: Serve, folder: Path) -> None:
    serve()
    second = add_version_two(folder)
    loaded = models("load", "brightness", "--json", model_dir=second)
    assert (loaded.replica["ready"], loaded.replica["golden"]) == ([1, 2], True)
    assert models("status", "brightness", "--model-dir", folder).code == 0

    status = models("status", "brightness", "--json")
    assert [(each["version"], each["state"]) for each in status.replica["versions"]] == [
        (1, "ready"),
        (2, "ready"),
    ]
    assert status.replica["folder"] == {"version": 2, "same_contract": True, "golden": None}
    statistics = [each["served"]["statistics"]["rows"] for each in status.replica["versions"]]
    assert statistics == [3, 3]  # the golden records of each, scored by itself


@pytest.mark.parametrize("policy", ["all { }", "specific { versions: [ 2 ] }"])
def test_a_version_that_fails_to_load_leaves_the_old_one_ready(
    models: Models, serve: Serve, folder: Path, policy: str
) -> None:
    url = serve().url
    second = add_version_two(folder, model='raise ValueError("no weights")\n', policy=policy)
    failed = models("load", "brightness", "--model-dir", second)

    assert (failed.code, failed.out, failed.err.count("\n")) == (1, "", 1)
    assert failed.err == (
        f"adgauge: Triton at {url}: load failed for model 'brightness': version 2 is at UNAVAILABLE state:"
        " Internal: ValueError: no weights (versions that are ready: 1)\n"
    )
    assert models("status", "brightness", "--version", 2).code == 1
    assert models("status", "brightness", "--version", 1).code == 0


def test_what_cannot_be_loaded_is_one_line_with_tritons_reason(
    models: Models, serve: Serve, folder: Path
) -> None:
    url = serve().url
    add_broken(folder.parents[1], "broken")
    (folder.parents[1] / "bare").mkdir()

    broken, bare, absent = (models("load", name) for name in ("broken", "bare", "absent"))
    assert broken.err.endswith(
        "Internal: ValueError: no weights were found (versions that are ready: none)\n"
    )
    assert "config.pbtxt is missing or wrong" in bare.err
    assert absent.err == (
        f"adgauge: Triton at {url} has no model absent; its repository has bare, brightness, broken\n"
    )
    assert [each.code for each in (broken, bare, absent)] == [1, 1, 1]
    assert all(each.err.count("\n") == 1 and each.out == "" for each in (broken, bare, absent))
    assert "  broken      1  unavailable  Internal: ValueError: no weights were found\n" in models("list").out
    assert models("unload", "absent").err == models("status", "absent").err == absent.err


def test_a_model_that_loads_longer_than_we_wait_is_said_to_be_loading(
    models: Models, serve: Serve, folder: Path
) -> None:
    serve(loaded=())
    source = folder / "model.py"
    source.write_text(f"import time\ntime.sleep(2)\n{source.read_text()}")
    late = models("load", "brightness", "--timeout", "0.5")
    assert (late.code, "brightness is not ready after 0.5 s and may still be loading" in late.err) == (
        1,
        True,
    )

    status = models("status", "brightness")
    assert (status.code, "brightness version 1 is loading" in status.out) == (1, True)
    assert models("load", "brightness").code == 0


def test_a_server_that_may_not_load_says_which_flag(models: Models, serve: Serve) -> None:
    url = serve("--model-control-mode=none", loaded=()).url
    line = (
        f"Triton at {url} may not be told what to load: start tritonserver with --model-control-mode=explicit"
    )
    for action in ("load", "unload"):
        refused = models(action, "brightness")
        assert (refused.code, refused.err) == (1, f"adgauge: {line}\n")
    assert models("status", "brightness").code == 0


def test_a_repository_api_that_is_restricted_is_said_to_be(models: Models, serve: Serve) -> None:
    serve("--grpc-restricted-protocol=model-repository:who=operator")
    refused = models("list")
    assert (refused.code, "restricts its repository API (--grpc-restricted-protocol" in refused.err) == (
        1,
        True,
    )


def test_a_server_that_is_away_is_one_line(models: Models) -> None:
    for action in (["list"], ["load", "brightness"], ["unload", "brightness"], ["status", "brightness"]):
        away = models(*action, triton_url="127.0.0.1:1")
        assert (away.code, away.out, away.err.count("\n")) == (1, "", 1)
        assert away.err.startswith(
            "adgauge: triton: 127.0.0.1:1: it does not answer, is ADGAUGE_TRITON_URL right? "
        )


def test_a_server_that_does_not_answer_is_given_up_at_the_deadline(models: Models) -> None:
    with socket.create_server((HOST, 0)) as silent:
        url = f"{HOST}:{silent.getsockname()[1]}"
        hung = models("load", "brightness", triton_url=url, triton_deadline_s=0.5)
    assert (hung.code, hung.err.count("\n")) == (1, 1)
    assert hung.err.startswith(f"adgauge: triton: {url}: it does not answer")


def test_every_replica_behind_the_name_is_loaded_and_checked(
    models: Models, serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    flags = [(f"--grpc-address={host}", f"--grpc-port={port}") for host in (HOST, OTHER_HOST)]
    _, other = [serve(*each, loaded=()) for each in flags]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port)) for host in (HOST, OTHER_HOST)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    urls = [f"{host}:{port}" for host in (HOST, OTHER_HOST)]

    loaded = models("load", "brightness", "--json", triton_url=f"triton.test:{port}", model_dir=folder)
    assert loaded.json == {
        "model": "brightness", "replicas": [{"replica": url, "ready": [1], "golden": True} for url in urls]
    }  # fmt: skip
    assert [each["replica"] for each in models("list", "--json").json] == urls
    other.process.kill()
    away = models("status", "brightness")
    assert (away.code, f"triton: {urls[1]}: it does not answer" in away.err) == (1, True)


def test_the_repository_is_reached_over_tls(
    models: Models, serve: Serve, folder: Path, tmp_path: Path
) -> None:
    made = issue(tmp_path)
    triton = serve(
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={made.server_cert}",
        f"--grpc-server-key={made.server_key}",
        f"--grpc-root-cert={made.ca_file}",
        "--grpc-use-ssl-mutual=true",
    )
    assert models("list").code == 1
    known = {
        "triton_url": f"localhost:{triton.grpc_port}",
        "triton_tls": "true",
        "triton_ca_file": made.ca_file,
        "triton_cert_file": made.client_cert,
        "triton_key_file": made.client_key,
    }
    assert models("load", "brightness", "--model-dir", folder, **known).code == 0

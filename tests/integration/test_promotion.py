"""`adgauge scores promote | rollback | generations` against Valkey and a Valkey Cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.cluster import RedisCluster

from adgauge.adapters.redis import (
    HISTORY_KEY,
    LIVE_KEY,
    Generations,
    Why,
    connect,
    register_generation,
    score_key,
)
from adgauge.cli import main
from adgauge.errors import BackendUnavailable
from adgauge.monitor.gate_result import Decision, GateResult, Side
from services.embedded.cache import Valkey, ValkeyCluster
from services.embedded.workspace import Workspace

PRODUCTS = [f"P{number}" for number in range(50)]
HOUR_MS = 3_600_000

Run = Callable[..., tuple[int, str, str]]


def digest(generation: int) -> str:
    return f"{generation}" * 64


@pytest.fixture(params=["server", "cluster"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Generation 1 is live; 2 is as full; 3 has a few scores; 4 has none."""
    url = request.getfixturevalue("redis_url") if request.param == "server" else _cluster(request)
    client: Any = connect(url, 2.0)
    for generation, held in ((1, 50), (2, 48), (3, 5), (4, 0)):
        register_generation(client, generation, {"model": f"m/{generation}", "digest": digest(generation)})
        for name in PRODUCTS[:held]:
            client.set(score_key(generation, name), f"{generation}.0000 1 0 501 - abababababab")
    monkeypatch.setenv("ADGAUGE_REDIS_URL", url)
    yield client
    client.close()


def _cluster(request: pytest.FixtureRequest) -> str:
    cluster: ValkeyCluster = request.getfixturevalue("valkey_cluster")
    with RedisCluster.from_url(cluster.url) as admin:
        admin.flushall(target_nodes=RedisCluster.PRIMARIES)
    return cluster.url


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["scores", *arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def side(generation: int | None, contract: str) -> Side:
    return Side(source="scores.jsonl", generation=generation, model="m", contract=contract)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def gate(tmp_path: Path) -> Callable[..., str]:
    def written(
        decision: Decision = Decision.PROMOTE,
        candidate: tuple[int | None, str] = (2, digest(2)),
        baseline: tuple[int | None, str] = (1, digest(1)),
        age_ms: int = HOUR_MS,
    ) -> str:
        result = GateResult(
            decided_at_ms=now_ms() - age_ms,
            decision=decision,
            reasons=("because of it",),
            candidate=side(*candidate),
            baseline=side(*baseline),
            checks=(),
        )
        path = tmp_path / "gate.json"
        path.write_text(result.to_json())
        return str(path)

    return written


def test_what_the_gate_promoted_goes_live(client: Any, run: Run, gate: Callable[..., str]) -> None:
    code, out, err = run("promote", "2", "--gate", gate(), "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "live": 2, "before": 1, "why": "gate", "model": "m/2", "digest": digest(2), "lacking": [],
        "filled": {"products": 50, "scored": 48},
    }  # fmt: skip
    assert client.get(LIVE_KEY) == "2"


def test_files_that_name_no_generation_are_known_by_their_contracts(
    client: Any, run: Run, gate: Callable[..., str]
) -> None:
    path = gate(candidate=(None, digest(2)), baseline=(None, digest(1)))
    assert run("promote", "2", "--gate", path)[0] == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"decision": Decision.HOLD}, "the gate says hold: because of it"),
        ({"decision": Decision.REJECT}, "the gate says reject: because of it"),
        ({"candidate": (2, digest(9))}, "the gate judged generation 2 (m, contract 999999999999), this is"),
        ({"candidate": (3, digest(2))}, "the gate judged generation 3 (m, contract 222222222222), this is"),
        ({"baseline": (1, digest(9))}, "compared with generation 1 (m, contract 999999999999), live is"),
        ({"baseline": (3, digest(3))}, "compared with generation 3 (m, contract 333333333333), live is"),
        ({"age_ms": 25 * HOUR_MS}, "over 24 hours ago"),
        ({"age_ms": -HOUR_MS}, "which is yet to come"),
    ],
)  # fmt: skip
def test_what_the_gate_did_not_show_is_refused_and_changes_nothing(
    client: Any, run: Run, gate: Callable[..., str], wrong: dict[str, Any], said: str
) -> None:
    code, out, err = run("promote", "2", "--gate", gate(**wrong))
    assert (code, out) == (1, "")
    assert said in err
    assert "--force" in err
    assert (client.get(LIVE_KEY), client.exists(HISTORY_KEY)) == ("1", 0)


def test_a_result_against_what_was_live_before_is_refused(
    client: Any, run: Run, gate: Callable[..., str]
) -> None:
    path = gate()
    assert run("promote", "3", "--force")[0] == 0
    code, _, err = run("promote", "2", "--gate", path)
    assert code == 1
    assert "compared with generation 1 (m, contract 111111111111), live is generation 3 (m/3" in err


def test_without_a_result_of_the_gate_it_is_refused_and_forced_it_is_said_aloud(
    client: Any, run: Run
) -> None:
    code, out, err = run("promote", "2")
    assert (code, out) == (1, "")
    assert "no result of `adgauge gate` is given with --gate" in err

    code, out, err = run("promote", "2", "--force", "--json")
    assert (code, json.loads(out)["why"]) == (0, "forced")
    assert err.startswith("adgauge: WARNING: generation 2 was promoted by --force, although no result of")
    assert json.loads(client.lindex(HISTORY_KEY, 0))["why"] == "forced"


def test_force_is_not_remembered_where_nothing_was_lacking(
    client: Any, run: Run, gate: Callable[..., str]
) -> None:
    code, out, err = run("promote", "2", "--gate", gate(), "--force")
    assert (code, err) == (0, "")
    assert "is live now (gate), before it was generation 1" in out


def test_a_generation_that_is_hardly_filled_is_refused(
    client: Any, run: Run, gate: Callable[..., str]
) -> None:
    path = gate(candidate=(3, digest(3)))
    code, _, err = run("promote", "3", "--gate", path)
    assert code == 1
    assert "it holds scores of only 5 of 50 products that are scored in the live one" in err


@pytest.mark.parametrize(
    ("number", "said"), [("9", "there is no generation 9"), ("4", "generation 4 holds no scores")]
)
def test_nothing_to_read_is_never_promoted(client: Any, run: Run, number: str, said: str) -> None:
    code, _, err = run("promote", number, "--force")
    assert code == 1
    assert said in err
    assert client.get(LIVE_KEY) == "1"


def test_what_is_live_already_is_no_error_and_no_change(client: Any, run: Run) -> None:
    code, out, _ = run("promote", "1")
    assert (code, out) == (0, "generation 1 (m/1, contract 111111111111) is live already\n")
    assert not client.exists(HISTORY_KEY)


def test_a_rollback_goes_back_a_second_one_further_and_a_third_says_so(client: Any, run: Run) -> None:
    run("promote", "2", "--force")
    run("promote", "3", "--force")
    code, out, err = run("rollback")
    assert (code, err) == (0, "")
    assert out.startswith("generation 2 (m/2, contract 222222222222) is live now (rollback), before it was")
    assert json.loads(run("rollback", "--json")[1])["live"] == 1
    code, _, err = run("rollback")
    assert code == 1
    assert "no generation is known to have been live before" in err
    assert client.get(LIVE_KEY) == "1"


def test_a_rollback_to_scores_that_have_expired_is_refused(client: Any, run: Run) -> None:
    run("promote", "2", "--force")
    for name in PRODUCTS:
        client.delete(score_key(1, name))
    code, _, err = run("rollback")
    assert code == 1
    assert "generation 1 holds no scores" in err
    assert client.get(LIVE_KEY) == "2"


def test_generations_are_listed_with_what_became_of_them(client: Any, run: Run) -> None:
    run("promote", "2", "--force")
    listed = json.loads(run("generations", "--json")[1])
    assert [(each["number"], each["live"], each["products"]) for each in listed["generations"]] == [
        (1, False, 50), (2, True, 48), (3, False, 5), (4, False, 0),
    ]  # fmt: skip
    assert listed["live"] == 2
    assert [(flip["before"], flip["after"], flip["why"]) for flip in listed["history"]] == [(1, 2, "forced")]
    text = run("generations")[1]
    assert "2  live  about 48 products  generation 2 (m/2, contract 222222222222)" in text
    assert text.endswith("1 → 2  forced\n")


def test_a_file_that_is_no_result_is_one_line(client: Any, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    for text, said in (("{}", "is no result of `adgauge gate --json`: "), ("", "is no result of")):
        path.write_text(text)
        code, _, err = run("promote", "2", "--gate", str(path))
        assert code == 1
        assert said in err
        assert err.count("\n") == 1
    code, _, err = run("promote", "2", "--gate", str(tmp_path / "missing.json"))
    assert (code, err) == (1, f"adgauge: cannot read {tmp_path}/missing.json: No such file or directory\n")


def test_of_two_operators_at_the_same_moment_both_are_told_what_is_live(client: Any) -> None:
    """Programs of their own: whoever loses says so, or was first and is said to have been so."""
    for number in (2, 3):
        for name in PRODUCTS:
            client.set(score_key(number, name), f"{number}.0000 1 0 501 - abababababab")
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "adgauge.cli", "scores", "promote", number, "--force", "--json"],
            env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in ("2", "3", "2", "3")
    ]  # fmt: skip
    ended = [(*each.communicate(timeout=60), each.returncode) for each in started]
    history = [json.loads(line) for line in client.lrange(HISTORY_KEY, 0, -1)]
    changed = [json.loads(out) for out, _, code in ended if code == 0 and json.loads(out)["why"]]
    assert sorted((each["before"], each["live"]) for each in changed) == sorted(
        (flip["before"], flip["after"]) for flip in history
    )
    assert all("somebody else was faster" in err for _, err, code in ended if code)
    assert client.get(LIVE_KEY) == str(history[0]["after"])


def test_a_flip_that_timed_out_is_done_late_whole_or_not_at_all(workspace: Workspace) -> None:
    server = Valkey(workspace, "valkey-promotion")
    server.start()
    hasty, patient = (Generations(connect(server.url, timeout_s)) for timeout_s in (0.3, 10.0))
    assert hasty.flip(hasty.live(), 1, Why.FORCED, at_ms=1)
    seen = hasty.live()
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(BackendUnavailable, match="redis"):
            hasty.flip(seen, 2, Why.GATE, at_ms=2)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    deadline = time.monotonic() + 10
    while (live := patient.live()).generation != 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [flip.after for flip in live.flips] == [2, 1]
    assert not patient.flip(seen, 2, Why.GATE, at_ms=3)
    server.kill()


def test_a_flip_survives_the_loss_of_its_master_with_its_history(valkey_cluster: ValkeyCluster) -> None:
    """Both are on one server and are replicated in one piece."""
    with RedisCluster.from_url(valkey_cluster.url) as admin:
        admin.flushall(target_nodes=RedisCluster.PRIMARIES)
        slot = admin.keyslot(LIVE_KEY)
        assert slot == admin.keyslot(HISTORY_KEY)
        master = valkey_cluster.node_at(admin.nodes_manager.slots_cache[slot][0].port)
    client = connect(valkey_cluster.url, 0.5)
    generations = Generations(client)
    for number in (1, 2):
        assert generations.flip(generations.live(), number, Why.FORCED, at_ms=number)
    time.sleep(0.5)  # replication is asynchronous
    master.kill()
    try:
        deadline = time.monotonic() + 15
        while True:
            try:
                assert generations.flip(generations.live(), 3, Why.GATE, at_ms=3)
                break
            except BackendUnavailable:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert [flip.after for flip in generations.live().flips] == [3, 2, 1]
    finally:
        client.close()
        master.start()
        valkey_cluster.wait_until_whole()

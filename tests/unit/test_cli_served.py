import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2

from adgauge.adapters.triton import Batching, IndexedVersion, LoadedVersion, Statistics, ready_versions
from adgauge.adapters.triton.repository import instance_of, one_line, policy_of, statistics_of
from adgauge.cli.served import (
    Folder,
    Verdict,
    VersionStatus,
    index_lines,
    model_folder,
    status_lines,
    verdict_lines,
)
from adgauge.contract import load_contract
from adgauge.errors import ConfigurationError, ContractMismatch

INDEX = [
    IndexedVersion("effimini_lite0", 1, "ready", ""),
    IndexedVersion("effimini_lite0", 12, "unavailable", "no weights"),
    IndexedVersion("smolvlm", None, "not loaded", ""),
]
FRESH = Statistics(0, 0, 0, None, None)
LOADED = LoadedVersion("ab12", "latest 1", Batching(32, (8, 16), 2000), ("2 x CPU",), FRESH)


def test_the_index_is_printed_in_columns() -> None:
    assert index_lines(INDEX) == [
        "effimini_lite0  1   ready",
        "effimini_lite0  12  unavailable  no weights",
        "smolvlm         -   not loaded",
    ]
    assert index_lines([]) == []


def test_only_versions_that_take_requests_are_ready() -> None:
    assert ready_versions(INDEX) == [1]


def test_a_version_that_never_scored_has_no_times() -> None:
    assert status_lines([VersionStatus(INDEX[0], LOADED)]) == [
        "effimini_lite0 version 1 is ready",
        "  contract    ab12",
        "  policy      latest 1",
        "  batches     at most 32 rows, preferred 8, 16, wait 2000 µs",
        "  instances   2 x CPU",
        "  rows        0 in 0 executions; 0 requests failed",
        "  time        queue -, compute - per row",
    ]


def test_rows_of_an_execution_and_times_are_means() -> None:
    scored = replace(LOADED, digest=None, statistics=Statistics(64, 5, 2, 6.115, 0.6405))
    lines = status_lines([VersionStatus(INDEX[0], scored)])

    assert lines[1] == "  contract    none is named"
    assert lines[-2:] == [
        "  rows        64 in 5 executions, 12.8 each; 2 requests failed",
        "  time        queue 6.12 ms, compute 0.64 ms per row",
    ]


def test_what_is_not_ready_says_why() -> None:
    assert status_lines([VersionStatus(each, None) for each in INDEX[1:]]) == [
        "effimini_lite0 version 12 is unavailable: no weights",
        "smolvlm is not loaded",
    ]


@pytest.mark.parametrize(
    ("verdict", "ok", "lines"),
    [
        (Verdict(2, None, None), False, ["FAIL the folder's version 2 is not ready"]),
        (Verdict(2, False, None), False, ["FAIL another contract is served"]),
        (
            Verdict(2, True, "GOLD1 scores 2, not 3"),
            False,
            ["ok   the served contract is the folder's", "FAIL GOLD1 scores 2, not 3"],
        ),
        (
            Verdict(2, True, None),
            True,
            ["ok   the served contract is the folder's", "ok   golden records score as recorded"],
        ),
    ],
)
def test_a_verdict_is_good_only_when_everything_is(verdict: Verdict, ok: bool, lines: list[str]) -> None:
    assert (verdict.ok, verdict_lines(verdict)) == (ok, lines)


def test_without_a_folder_it_is_said_that_nothing_was_checked() -> None:
    assert verdict_lines(None) == [
        "golden records not checked: neither --model-dir nor ADGAUGE_MODEL_DIR names its folder"
    ]


def test_the_given_folder_is_preferred_and_the_configured_one_is_used_where_it_fits(
    brightness_dir: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(brightness_dir, tmp_path / "copy"))
    ours = load_contract(brightness_dir)

    assert model_folder("brightness", None, copy, brightness_dir) == Folder(copy, ours)
    assert model_folder("brightness", 1, None, brightness_dir) == Folder(brightness_dir, ours)
    assert model_folder("smolvlm", None, None, brightness_dir) is None
    assert model_folder("brightness", 2, None, brightness_dir) is None
    assert model_folder("brightness", None, None, None) is None


@pytest.mark.parametrize(
    ("name", "version", "asked"), [("smolvlm", None, "smolvlm"), ("brightness", 2, "brightness version 2")]
)
def test_a_given_folder_of_something_else_is_refused(
    name: str, version: int | None, asked: str, brightness_dir: Path
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        model_folder(name, version, brightness_dir, None)
    assert str(refused.value) == f"--model-dir {brightness_dir} is brightness version 1, not {asked}"


def test_a_given_folder_without_a_contract_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractMismatch, match="does not exist; export a model there first"):
        model_folder("brightness", None, tmp_path, None)


def test_tritons_reasons_lose_their_traces_and_keep_every_version() -> None:
    trace = "\n\nAt:\n  /m/2/model.py(1): <module>\n  <frozen importlib._bootstrap>(241): _call\n"
    said = f"load failed: version 2 is bad: no weights\nhere{trace};\nversion 3 is bad: none{trace};\n"
    assert one_line(said) == "load failed: version 2 is bad: no weights here; version 3 is bad: none"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "latest 1"),
        ("version_policy { latest { num_versions: 3 } }", "latest 3"),
        ("version_policy { all { } }", "all"),
        ("version_policy { specific { versions: [ 1, 4 ] } }", "specific 1 4"),
    ],
)
def test_the_version_policy_reads_as_in_the_config(text: str, expected: str) -> None:
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert policy_of(config.version_policy) == expected


def test_instances_name_their_devices() -> None:
    text = "instance_group [ { count: 2 kind: KIND_CPU }, { count: 1 kind: KIND_GPU gpus: [ 0, 1 ] } ]"
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert [instance_of(group) for group in config.instance_group] == ["2 x CPU", "1 x GPU 0 1"]


def test_an_execution_of_many_requests_is_counted_once() -> None:
    found = text_format.Parse(
        """
        inference_count: 12 execution_count: 2
        inference_stats {
          fail { count: 1 } queue { count: 3 ns: 6000000 }
          compute_infer { count: 3 ns: 90000000 }
        }
        batch_stats { batch_size: 4 compute_infer { count: 1 ns: 10000000 } }
        batch_stats {
          batch_size: 8
          compute_input { count: 1 ns: 2000000 }
          compute_infer { count: 1 ns: 20000000 }
          compute_output { count: 1 ns: 4000000 }
        }
        """,
        service_pb2.ModelStatistics(),
    )
    assert statistics_of(found) == Statistics(
        rows=12, executions=2, failed_requests=1, queue_ms=2.0, compute_ms_per_row=3.0
    )

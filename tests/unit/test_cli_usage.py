import argparse
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adgauge import __version__
from adgauge.cli import BROKEN_PIPE, main
from adgauge.cli.parser import build_parser


@pytest.fixture(autouse=True)
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP", "REDIS_URL", "TRITON_URL", "MODEL_DIR"):
        monkeypatch.delenv(f"ADGAUGE_{name}", raising=False)


def commands(parser: argparse.ArgumentParser, *names: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every command of a parser with its help, groups of commands included."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, each in action.choices.items():
                yield (*names, name), each.format_help()
                yield from commands(each, *names, name)


COMMANDS = dict(commands(build_parser()))


def wrong_use(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def test_the_commands_are_those_of_this_version() -> None:
    assert {" ".join(names) for names in COMMANDS} == {
        "score", "publish", "scores", "scores get", "scores generations", "scores promote",
        "scores rollback", "gate", "monitor", "explain", "check", "topics", "topics create",
        "models", "models list", "models load", "models unload", "models status", "models verify",
        "models configure", "dlq",
        "dlq list", "dlq show", "dlq replay", "reconcile", "rescore", "doctor", "profile", "ces",
        "leaderboard", "import-checkpoint", "export", "parity",
    }  # fmt: skip


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_command_helps_with_an_example_of_itself(
    names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert wrong_use(*names, "--help") == 0
    shown = capsys.readouterr().out
    assert f"adgauge {' '.join(names)}" in shown.partition("example")[2]


@pytest.mark.parametrize(
    ("names", "text"), [(n, t) for n, t in COMMANDS.items() if "--json" not in t], ids=lambda v: " ".join(v)
)
def test_what_a_program_may_read_comes_as_json(names: tuple[str, ...], text: str) -> None:
    groups = {("scores",), ("topics",), ("models",), ("dlq",)}
    assert names in groups | {("topics", "create"), ("models", "configure")}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sing"],
        ["score"],
        ["scores", "get"],
        ["publish", "x.jsonl", "--rate", "0"],
        ["publish", "x.jsonl", "--rate", "fast"],
        ["publish", "x.jsonl", "--event-ms", "yesterday"],
        ["explain", "B1", "--timeout", "-1"],
        ["topics", "create", "--partitions", "0"],
        ["scores", "get", "B1", "--generation", "2"],
        ["dlq"],
        ["dlq", "list", "--since", "yesterday"],
        ["dlq", "list", "--reason", "bad_mood"],
        ["dlq", "replay", "--max-replays", "0"],
        ["reconcile", "--rate", "-1"],
        ["doctor"],
        ["models", "load"],
        ["models", "load", "effimini", "--timeout", "0"],
        ["models", "status", "effimini", "--version", "0"],
        ["models", "unload", "effimini", "--model-dir", "models"],
        ["scores", "promote"],
        ["gate", "--candidate", "2", "--baseline", "1"],
        ["scores", "promote", "0"],
        ["rescore"],
        ["rescore", "--where", "reason=bad_mood"],
        ["rescore", "--where", "mood=bad"],
    ],
)
def test_wrong_use_is_exit_2_and_says_how(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert wrong_use(*arguments) == 2
    assert "usage: adgauge" in capsys.readouterr().err


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert wrong_use("--version") == 0
    assert capsys.readouterr().out == f"adgauge {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["publish", "{here}/missing.jsonl"], "set ADGAUGE_KAFKA_BOOTSTRAP, for example to 127.0.0.1:9092"),
        (["topics", "create"], "set ADGAUGE_KAFKA_BOOTSTRAP, for example to 127.0.0.1:9092"),
        (["explain", "B1"], "set ADGAUGE_KAFKA_BOOTSTRAP, for example to 127.0.0.1:9092"),
        (["scores", "get", "B1"], "set ADGAUGE_REDIS_URL, for example to redis://127.0.0.1:6379/0"),
        (["models", "list"], "set ADGAUGE_TRITON_URL, for example to 127.0.0.1:8001"),
        (["score", "{here}/missing.jsonl"], "cannot read {here}/missing.jsonl: No such file or directory"),
        (["score", "{here}"], "cannot read {here}: Is a directory"),
        (["models", "verify", "{here}"], "{here}/contract.json does not exist; export a model there first"),
        (
            ["score", "-", "--image-root", "{here}/missing"],
            "--image-root {here}/missing is no folder",
        ),
    ],
)
def test_what_cannot_work_is_exit_1_and_one_line(
    arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(here=tmp_path) for argument in arguments]) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"adgauge: {line.format(here=tmp_path)}\n")


def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADGAUGE_REDIS_TIMEOUT_S", "soon")

    assert main(["scores", "get", "B1"]) == 1
    assert capsys.readouterr().err.startswith(
        "adgauge: ADGAUGE_REDIS_TIMEOUT_S: Input should be a valid number"
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_error(unbuffered: str, brightness_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "adgauge.cli", "models", "verify", str(brightness_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONUNBUFFERED": unbuffered},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(timeout=20) == BROKEN_PIPE
        assert process.stderr.read() == b""


def test_an_id_that_the_terminal_cannot_show_is_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", ascii_only)

    assert main(["score", "商品.jsonl"]) == 1
    ascii_only.seek(0)
    assert "\\u5546" in ascii_only.read()


def test_a_catalog_is_not_overwritten_by_its_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = tmp_path / "products.jsonl"
    catalog.write_text("{}\n")
    assert main(["score", str(catalog), "-o", str(tmp_path / "." / "products.jsonl")]) == 1
    assert "must be different files" in capsys.readouterr().err
    assert catalog.read_text() == "{}\n"


@pytest.mark.parametrize("command", [["leaderboard"], ["leaderboard", "--csv"], ["leaderboard", "--json"]])
def test_output_that_cannot_be_written_is_one_line(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "adgauge.cli", *command],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (
        1,
        "adgauge: cannot write the output: No space left on device\n",
    )


@pytest.mark.parametrize("name", ["contract.json", "contract.json/contract.json"])
def test_a_contract_where_no_folder_is_is_one_line(
    brightness_dir: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = brightness_dir / name
    assert main(["ces", "--plcc", "0.3", "--model", str(folder)]) == 1
    assert capsys.readouterr().err == (
        f"adgauge: cannot read {folder / 'contract.json'}: Not a directory; give the folder of a model\n"
    )

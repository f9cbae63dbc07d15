"""What can be typed. Each command's code is imported when it runs: `--help` must not wait for Kafka."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adgauge import __version__
from adgauge.cli.arguments import add_json, command_of, count, positive
from adgauge.cli.export import add_export
from adgauge.cli.gate import add_gate
from adgauge.cli.import_checkpoint import add_import_checkpoint
from adgauge.cli.model_arguments import add_models
from adgauge.cli.monitor import add_monitor
from adgauge.cli.parity import add_parity
from adgauge.cli.profile import add_profile
from adgauge.cli.quality import add_ces, add_leaderboard
from adgauge.cli.repairs import add_dlq, add_reconcile, add_rescore
from adgauge.cli.score_arguments import add_scores

if TYPE_CHECKING:
    from adgauge.cli.arguments import Commands


def build_parser() -> argparse.ArgumentParser:
    """The parser; a parsed command holds in `run` what to call with itself for the exit code."""
    parser = argparse.ArgumentParser(
        prog="adgauge",
        description="Scores the creative quality of catalog products.",
        epilog="Addresses come from ADGAUGE_* variables; `adgauge check` says what it finds under them.",
    )
    parser.add_argument("--version", action="version", version=f"adgauge {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_score(commands)
    _add_publish(commands)
    add_scores(commands)
    _add_explain(commands)
    _add_check(commands)
    _add_doctor(commands)
    _add_topics(commands)
    add_dlq(commands)
    add_reconcile(commands)
    add_rescore(commands)
    add_models(commands)
    add_export(commands)
    add_parity(commands)
    add_monitor(commands)
    add_gate(commands)
    add_profile(commands)
    add_ces(commands)
    add_leaderboard(commands)
    add_import_checkpoint(commands)
    return parser


def _add_score(commands: Commands) -> None:
    command = command_of(
        commands,
        "score",
        "score a catalog file without Kafka and Redis",
        "adgauge score products.jsonl -o scores.parquet --rejects rejects.jsonl",
        "zcat products.jsonl.gz | adgauge score - --image-root photos --json",
        "adgauge score input.csv --submission submission.csv --rejects rejects.jsonl",
    )
    command.add_argument(
        "file",
        metavar="FILE",
        help="one product a line (- is standard input), or .csv with parent_asin and image_paths; .gz too",
    )
    command.add_argument(
        "-o", "--output", type=Path, help="scores as .jsonl, .csv or .parquet; else they are printed"
    )
    command.add_argument("--rejects", type=Path, help="rejected lines with their reasons, as .jsonl")
    command.add_argument(
        "--submission", type=Path, metavar="CSV", help="item_id,score,params,flops, as the challenge takes it"
    )
    command.add_argument(
        "--model", help="the folder of a model's version, or NAME or NAME/VERSION in the repository"
    )
    command.add_argument(
        "--image-root", type=Path, help="folder of relative image paths (default: the file's own)"
    )
    add_json(command)
    command.set_defaults(run=_score)


def _add_publish(commands: Commands) -> None:
    command = command_of(
        commands,
        "publish",
        "send the lines of a catalog file to the input topic",
        "adgauge publish products.jsonl --wait",
        "adgauge publish export.jsonl.gz --event-ms file --rate 500",
    )
    command.add_argument(
        "file",
        metavar="FILE",
        help='one product a line, "_deleted": true deletes; or .csv; .gz too; - is standard input',
    )
    command.add_argument("--wait", action="store_true", help="return when every record is decided")
    command.add_argument(
        "--timeout", type=positive, default=600.0, metavar="SECONDS", help="how long to wait (default: 600)"
    )
    command.add_argument("--topic", help="another topic than ADGAUGE_PRODUCTS_TOPIC")
    command.add_argument("--rate", type=positive, metavar="N", help="at most N records a second")
    command.add_argument(
        "--event-ms",
        choices=["now", "file"],
        default="now",
        help="event time: when it is published, or when the file was written",
    )
    add_json(command)
    command.set_defaults(run=_publish)


def _add_explain(commands: Commands) -> None:
    command = command_of(
        commands, "explain", "say where a product stands and why", "adgauge explain B07XJ8C8F5"
    )
    command.add_argument("id", metavar="ID", help="parent_asin of a product")
    command.add_argument(
        "--timeout", type=positive, default=20.0, metavar="SECONDS", help="for reading topics (default: 20)"
    )
    add_json(command)
    command.set_defaults(run=_explain)


def _add_check(commands: Commands) -> None:
    command = command_of(
        commands, "check", "test settings, topics, rights, Redis, Triton and model", "adgauge check"
    )
    add_json(command)
    command.set_defaults(run=_check)


def _add_doctor(commands: Commands) -> None:
    command = command_of(
        commands,
        "doctor",
        "say, step by step, what a scorer makes of a picture's reference",
        "adgauge doctor https://cdn.example/pictures/B07XJ8C8F5.jpg",
        "adgauge doctor photos/B07XJ8C8F5.jpg --model model_repository/effimini_lite0/1",
    )
    command.add_argument(
        "url", metavar="URL", help="http(s), data, s3, gs or file: URL, or a path, as a product names it"
    )
    command.add_argument(
        "--model", type=Path, metavar="DIR", help="folder of the model to prepare it for (ADGAUGE_MODEL_DIR)"
    )
    add_json(command)
    command.set_defaults(run=_doctor)


def _add_topics(commands: Commands) -> None:
    topics = command_of(commands, "topics", "manage the topics", "adgauge topics create --partitions 12")
    actions = topics.add_subparsers(metavar="ACTION", required=True)
    create = command_of(
        actions,
        "create",
        "create the topics that are missing; existing ones are left as they are",
        "adgauge topics create --partitions 12",
    )
    create.add_argument(
        "--partitions", type=count, default=6, metavar="N", help="of each new topic (default: 6)"
    )
    create.add_argument(
        "--replication", type=count, metavar="N", help="replicas of each new topic (default: the brokers')"
    )
    create.set_defaults(run=_topics_create)


def _score(arguments: argparse.Namespace) -> int:
    from adgauge.cli.score import score_file

    return score_file(
        arguments.file,
        output=arguments.output,
        rejects=arguments.rejects,
        submission=arguments.submission,
        model=arguments.model,
        image_root=arguments.image_root,
        as_json=arguments.json,
    )


def _publish(arguments: argparse.Namespace) -> int:
    from adgauge.cli.publish import publish_file

    return publish_file(
        arguments.file,
        topic=arguments.topic,
        rate=arguments.rate,
        event_ms=arguments.event_ms,
        wait_s=arguments.timeout if arguments.wait else None,
        as_json=arguments.json,
    )


def _explain(arguments: argparse.Namespace) -> int:
    from adgauge.cli.explain import explain_product

    return explain_product(arguments.id, timeout_s=arguments.timeout, as_json=arguments.json)


def _check(arguments: argparse.Namespace) -> int:
    from adgauge.cli.check import check_everything

    return check_everything(as_json=arguments.json)


def _doctor(arguments: argparse.Namespace) -> int:
    from adgauge.cli.doctor import diagnose

    return diagnose(arguments.url, model=arguments.model, as_json=arguments.json)


def _topics_create(arguments: argparse.Namespace) -> int:
    from adgauge.cli.topics import create_missing_topics

    return create_missing_topics(arguments.partitions, arguments.replication)

"""What can be typed. Each command's code is imported when it runs: `--help` must not wait for Kafka."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adgauge import __version__

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


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
    _add_scores(commands)
    _add_explain(commands)
    _add_check(commands)
    _add_topics(commands)
    _add_models(commands)
    return parser


def _command(commands: Commands, name: str, summary: str, *examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog="\n  ".join([f"example{'s' if len(examples) > 1 else ''}:", *examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON for programs")


def _add_score(commands: Commands) -> None:
    command = _command(
        commands,
        "score",
        "score a catalog file without Kafka and Redis",
        "adgauge score products.jsonl -o scores.parquet --rejects rejects.jsonl",
        "zcat products.jsonl.gz | adgauge score - --image-root photos --json",
    )
    command.add_argument("file", metavar="FILE", help="one product a line, .gz too; - is standard input")
    command.add_argument(
        "-o", "--output", type=Path, help="scores as .jsonl, .csv or .parquet; else they are printed"
    )
    command.add_argument("--rejects", type=Path, help="rejected lines with their reasons, as .jsonl")
    command.add_argument("--model", help="a model's folder, or its name in the model repository")
    command.add_argument(
        "--image-root", type=Path, help="folder of relative image paths (default: the file's own)"
    )
    _add_json(command)
    command.set_defaults(run=_score)


def _add_publish(commands: Commands) -> None:
    command = _command(
        commands,
        "publish",
        "send the lines of a catalog file to the input topic",
        "adgauge publish products.jsonl --wait",
        "adgauge publish export.jsonl.gz --event-ms file --rate 500",
    )
    command.add_argument(
        "file", metavar="FILE", help='one product a line; "_deleted": true deletes; - is standard input'
    )
    command.add_argument("--wait", action="store_true", help="return when every record is decided")
    command.add_argument(
        "--timeout", type=_positive, default=600.0, metavar="SECONDS", help="how long to wait (default: 600)"
    )
    command.add_argument("--topic", help="another topic than ADGAUGE_PRODUCTS_TOPIC")
    command.add_argument("--rate", type=_positive, metavar="N", help="at most N records a second")
    command.add_argument(
        "--event-ms",
        choices=["now", "file"],
        default="now",
        help="event time: when it is published, or when the file was written",
    )
    _add_json(command)
    command.set_defaults(run=_publish)


def _add_scores(commands: Commands) -> None:
    scores = _command(commands, "scores", "read stored scores", "adgauge scores get B07XJ8C8F5")
    actions = scores.add_subparsers(metavar="ACTION", required=True)
    get = _command(
        actions, "get", "print the scores of products", "adgauge scores get B07XJ8C8F5 B000FH8R9A --json"
    )
    get.add_argument("ids", metavar="ID", nargs="+", help="parent_asin of a product")
    _add_json(get)
    get.set_defaults(run=_scores_get)


def _add_explain(commands: Commands) -> None:
    command = _command(
        commands, "explain", "say where a product stands and why", "adgauge explain B07XJ8C8F5"
    )
    command.add_argument("id", metavar="ID", help="parent_asin of a product")
    command.add_argument(
        "--timeout", type=_positive, default=20.0, metavar="SECONDS", help="for reading topics (default: 20)"
    )
    _add_json(command)
    command.set_defaults(run=_explain)


def _add_check(commands: Commands) -> None:
    command = _command(
        commands, "check", "test settings, topics, rights, Redis, Triton and model", "adgauge check"
    )
    _add_json(command)
    command.set_defaults(run=_check)


def _add_topics(commands: Commands) -> None:
    topics = _command(commands, "topics", "manage the topics", "adgauge topics create --partitions 12")
    actions = topics.add_subparsers(metavar="ACTION", required=True)
    create = _command(
        actions,
        "create",
        "create the topics that are missing; existing ones are left as they are",
        "adgauge topics create --partitions 12",
    )
    create.add_argument(
        "--partitions", type=_count, default=6, metavar="N", help="of each new topic (default: 6)"
    )
    create.set_defaults(run=_topics_create)


def _add_models(commands: Commands) -> None:
    models = _command(
        commands, "models", "look at models", "adgauge models verify model_repository/effimini_lite0"
    )
    actions = models.add_subparsers(metavar="ACTION", required=True)
    verify = _command(
        actions,
        "verify",
        "compare a model's files with its contract.json",
        "adgauge models verify model_repository/effimini_lite0",
    )
    verify.add_argument("dir", metavar="DIR", type=Path, help="the model's folder")
    _add_json(verify)
    verify.set_defaults(run=_models_verify)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be positive")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _score(arguments: argparse.Namespace) -> int:
    from adgauge.cli.score import score_file

    return score_file(
        arguments.file,
        output=arguments.output,
        rejects=arguments.rejects,
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


def _scores_get(arguments: argparse.Namespace) -> int:
    from adgauge.cli.scores import print_scores

    return print_scores(arguments.ids, as_json=arguments.json)


def _explain(arguments: argparse.Namespace) -> int:
    from adgauge.cli.explain import explain_product

    return explain_product(arguments.id, timeout_s=arguments.timeout, as_json=arguments.json)


def _check(arguments: argparse.Namespace) -> int:
    from adgauge.cli.check import check_everything

    return check_everything(as_json=arguments.json)


def _topics_create(arguments: argparse.Namespace) -> int:
    from adgauge.cli.topics import create_missing_topics

    return create_missing_topics(arguments.partitions)


def _models_verify(arguments: argparse.Namespace) -> int:
    from adgauge.cli.models import verify_model

    return verify_model(arguments.dir, as_json=arguments.json)

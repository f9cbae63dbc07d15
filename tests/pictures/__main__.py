"""Part of `make proof`: pictures that are dead, slow, hostile, unchanged or away, on real servers.

Each is held to its bounds; exit code 1 when one is missed. `python -m tests.pictures --only hostile` is one.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

from adgauge.errors import AdgaugeError
from benchmarks.record import write_figures
from services.embedded.kafka import Kafka
from services.embedded.workspace import Workspace
from tests.pictures import hostile, late_host, outage, republish
from tests.pictures.measured import Measured
from tests.pictures.world import Servers, running_servers
from tools.install import KAFKA_JARS

Measure = Callable[[Servers, argparse.Namespace], Measured]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 within all bounds, 1 not."""
    asked = _parser().parse_args(arguments)
    measured: list[Measured] = []
    try:
        with Workspace() as workspace:
            kafka = Kafka(workspace, jars=KAFKA_JARS)
            kafka.start()
            with running_servers(workspace, kafka.bootstrap) as servers:
                measured += [MEASURES[name](servers, asked) for name in asked.only]
        failed = [problem for each in measured for problem in each.problems]
    except AdgaugeError as error:
        failed = [str(error)]
    table = "\n\n".join(map(_section, measured))
    _say(table)
    for line in failed:
        _say(f"FAILED  {line}")
    if asked.figures and not failed:
        numbers = {each.name: each.figures for each in measured}
        write_figures("pictures", "make proof", {**numbers, "table": f"\n```text\n{table}\n```\n"})
    return 1 if failed else 0


def _hostile(servers: Servers, asked: argparse.Namespace) -> Measured:
    return hostile.measured(hostile.play(servers, asked.products, asked.rounds, _say), asked.products)


def _republish(servers: Servers, asked: argparse.Namespace) -> Measured:
    found = republish.play(servers, asked.products, asked.workers, _say)
    return republish.measured(found, asked.products)


def _outage(servers: Servers, asked: argparse.Namespace) -> Measured:
    return outage.measured(outage.play(servers, asked.outage, _say))


def _late_host(servers: Servers, asked: argparse.Namespace) -> Measured:
    return late_host.measured(late_host.play(servers, asked.late, _say))


MEASURES: Mapping[str, Measure] = {
    "hostile": _hostile,
    "republish": _republish,
    "late_host": _late_host,
    "outage": _outage,
}


def _section(measured: Measured) -> str:
    lines = (f"  {name:<52}{value:>36}" for name, value in measured.rows.items())
    return "\n".join([measured.title, *lines])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), help="some of them")
    parser.add_argument("--products", type=int, default=5000, help="in a catalog")
    parser.add_argument("--rounds", type=int, default=5, help="of healthy products alone and among others")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1, 2], help="that republishing is tried with"
    )
    parser.add_argument("--outage", type=float, default=600.0, help="seconds that a host is away")
    parser.add_argument("--late", type=float, default=40.0, help="seconds that a host answers late")
    parser.add_argument("--figures", action="store_true", help="write docs/figures/pictures.json")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""Part of `make proof`: long outages and rare deaths, each measured on real servers and held to its bound.

Exit code 1 when a bound is missed. `python -m tests.outages --only poison` measures one of them.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from adgauge.errors import AdgaugeError
from benchmarks.record import write_figures
from tests.chaos.world import running_world
from tests.outages import dead_stub, forgetful_cluster, poison, triton_away
from tests.outages.load import Load, under_load

ALL = ("triton_stopped", "triton_hung", "stub", "cluster", "poison")


@dataclass(frozen=True)
class Measured:
    """One outage as it came out."""

    name: str
    title: str
    rows: Mapping[str, str]
    figures: Mapping[str, object]
    problems: Sequence[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 within all bounds, 1 not."""
    asked = _parser().parse_args(arguments)
    measured: list[Measured] = []
    try:
        for part in (_around_triton, _cluster, _poison):
            measured += part(asked)
        failed = [problem for each in measured for problem in each.problems]
    except AdgaugeError as error:
        failed = [str(error)]
    table = "\n\n".join(map(_section, measured))
    _say(table)
    for line in failed:
        _say(f"FAILED  {line}")
    if asked.figures and not failed:
        numbers = {each.name: each.figures for each in measured}
        write_figures("outages", "make proof", {**numbers, "table": f"\n```text\n{table}\n```\n"})
    return 1 if failed else 0


def _around_triton(asked: argparse.Namespace) -> Iterator[Measured]:
    """Three measurements of one world, each judged when all is committed."""
    if not {"triton_stopped", "triton_hung", "stub"} & set(asked.only):
        return
    with running_world("always", cached=False) as world, under_load(world, asked.rate) as load:
        if "triton_stopped" in asked.only:
            yield _triton_away(load, "stopped", asked.triton_seconds)
        if "triton_hung" in asked.only:
            yield _triton_away(load, "hung", asked.hung_seconds)
        if "stub" in asked.only:
            yield _stub(load, asked.repeats)


def _triton_away(load: Load, how: triton_away.How, seconds: float) -> Measured:
    away = triton_away.play(load, how, seconds, _say)
    return Measured(
        f"triton_{how}",
        f"tritonserver {how} for {seconds:g} s under load",
        triton_away.rows(away),
        triton_away.figures(away),
        triton_away.problems(away),
    )


def _stub(load: Load, repeats: int) -> Measured:
    found = dead_stub.play(load, repeats, _say)
    return Measured(
        "stub",
        "tritonserver's python stub SIGKILLed",
        dead_stub.rows(found),
        dead_stub.figures(found),
        dead_stub.problems(found),
    )


def _cluster(asked: argparse.Namespace) -> Iterator[Measured]:
    if "cluster" not in asked.only:
        return
    with forgetful_cluster.world_with_cluster() as (world, cluster), under_load(world, asked.rate) as load:
        found = forgetful_cluster.play(load, cluster, asked.calm_seconds, _say)
    yield Measured(
        "cluster",
        "Redis Cluster, a master killed with what it alone held",
        forgetful_cluster.rows(found),
        forgetful_cluster.figures(found),
        forgetful_cluster.problems(found),
    )


def _poison(asked: argparse.Namespace) -> Iterator[Measured]:
    if "poison" not in asked.only:
        return
    found = poison.measure(asked.rows, _say)
    yield Measured(
        "poison",
        f"one poison row among {asked.rows:,}",
        poison.rows(found),
        poison.figures(found),
        poison.problems(found),
    )


def _section(measured: Measured) -> str:
    lines = (f"  {name:<52}{value:>36}" for name, value in measured.rows.items())
    return "\n".join([measured.title, *lines])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.outages", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL, help="some of them")
    parser.add_argument("--rate", type=float, default=30.0, help="records a second")
    parser.add_argument("--triton-seconds", type=float, default=180.0, help="tritonserver is stopped so long")
    parser.add_argument("--hung-seconds", type=float, default=30.0, help="and hangs so long")
    parser.add_argument("--repeats", type=int, default=5, help="deaths of the stub, idle and under load each")
    parser.add_argument("--calm-seconds", type=float, default=15.0, help="before and after a master's death")
    parser.add_argument("--rows", type=int, default=10_000, help="good ones beside the poison row")
    parser.add_argument("--figures", action="store_true", help="write docs/figures/outages.json")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

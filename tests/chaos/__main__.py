"""`make chaos`: nothing lost, nothing stale, whatever dies in between.

Without arguments two standard runs: Valkey with `appendfsync always`, and with `everysec`, the content cache
on and `adgauge reconcile` at the end. Exit code 0 when they prove the promise, 1 when not.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adgauge.errors import AdgaugeError
from benchmarks.record import ROOT, write_figures
from tests.chaos.plans import ALWAYS, EVERYSEC, SEED, SHORT, Plan
from tests.chaos.report import details, figures, problems, table
from tests.chaos.run import Result, perform

SIZE = ("products", "records", "rate", "faults")
KEPT = ROOT / ".cache" / "chaos"


def plans(arguments: argparse.Namespace) -> list[Plan]:
    """The runs that were asked for."""
    standard = {plan.appendfsync: plan for plan in (ALWAYS, EVERYSEC)}
    chosen = [standard[arguments.appendfsync]] if arguments.appendfsync else [ALWAYS, EVERYSEC]
    if arguments.short:
        size = {name: getattr(SHORT, name) for name in ("seed", *SIZE)}
        chosen = [replace(plan, **size) for plan in chosen]
    given = {name: value for name in ("seed", *SIZE) if (value := getattr(arguments, name)) is not None}
    chosen = [replace(plan, **given) for plan in chosen]
    if arguments.minutes is not None:
        chosen = [replace(plan, records=round(arguments.minutes * 60 * plan.rate)) for plan in chosen]
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 proven, 1 not."""
    asked = _parser().parse_args(arguments)
    results, failed = [], []
    for plan in plans(asked):
        kept = KEPT / time.strftime(f"%Y%m%d-%H%M%S-{plan.appendfsync}-{plan.seed}")
        try:
            results.append(perform(plan, kept, _say))
        except AdgaugeError as error:
            failed.append(f"{plan.name}: {error}")
        else:
            failed += [f"{plan.name}: {problem}" for problem in problems(results[-1])]
            for line in details(results[-1]):
                _say(line)
        if failed:
            return _give_up(results, failed, plan, kept)
        shutil.rmtree(kept)
    _say(table(results))
    if asked.figures:
        measured: dict[str, object] = {each.plan.appendfsync: figures(each) for each in results}
        write_figures("chaos", "make chaos", {**measured, "table": f"\n```text\n{table(results)}\n```\n"})
    return 0


def _give_up(results: Sequence[Result], failed: Sequence[str], plan: Plan, kept: Path) -> int:
    if results:
        _say(table(results))
    for line in failed:
        _say(f"FAILED  {line}")
    _say(f"logs and ledger: {kept}")
    _say(f"again: {plan.command}")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, help=f"of schedule and records (default {SEED}, short {SHORT.seed})"
    )
    parser.add_argument("--minutes", type=float, help="publish so long, at the rate")
    parser.add_argument("--records", type=int)
    parser.add_argument("--products", type=int)
    parser.add_argument("--rate", type=float, help="records a second")
    parser.add_argument("--faults", type=int)
    parser.add_argument("--appendfsync", choices=("always", "everysec"), help="only that run")
    parser.add_argument("--short", action="store_true", help="minutes instead of half an hour")
    parser.add_argument("--figures", action="store_true", help="write docs/figures/chaos.json")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

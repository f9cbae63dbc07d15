"""What a run is judged by, the table that people read, and the figures that documents quote."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tests.chaos.recovery import GROWTH, longest
from tests.chaos.run import Result
from tests.chaos.schedule import Kind

RECOVERY_S = 30.0
PEAK_BYTES = 512 * 2**20
"""Of a worker with its decoders, as a container's limit would have it."""
COUNTS = ("produced", "scored", "superseded", "deleted", "rejected", "lost", "stale", "undecided")


def problems(result: Result) -> list[str]:
    """Why a run proves the opposite of what it should; nothing where it is sound."""
    found = [
        f"{count} {name}"
        for name in ("lost", "stale", "undecided", "strangers")
        if (count := getattr(result.verdict, name))
    ]
    if not found and not result.verdict.sound:
        found.append("the outcomes do not add up to what was produced")
    for each in result.recoveries:
        if each.seconds is None:
            found.append(f"no recovery from: {each.kind} ({each.target})")
        elif each.seconds > RECOVERY_S:
            found.append(f"recovery after {each.seconds:.1f} s from: {each.kind} ({each.target})")
    if result.peak_bytes > PEAK_BYTES:
        found.append(f"a worker held {result.peak_bytes / 2**20:.0f} MiB")
    if result.growth is not None and result.growth > GROWTH:
        found.append(f"memory grew by {result.growth - 1:.0%}")
    return found


def table(results: Sequence[Result]) -> str:
    """One column a run."""
    rows = {"": [result.plan.name for result in results]}
    rows["faults"] = [str(len(result.recoveries)) for result in results]
    for name in COUNTS:
        rows[name] = [f"{getattr(result.verdict, name):,}" for result in results]
    rows["lost before reconcile"] = [
        f"{result.before.lost + result.before.stale:,}" if result.before else "-" for result in results
    ]
    rows["work done twice"] = [f"{result.verdict.twice:,}" for result in results]
    rows["peak memory of a worker"] = [f"{result.peak_bytes / 2**20:.0f} MiB" for result in results]
    rows["last third over first"] = [_ratio(result.growth) for result in results]
    rows["workers that gave up"] = [f"{len(result.departures)}" for result in results]
    rows["crashes of tritonserver's own"] = [f"{len(result.crashes)}" for result in results]
    rows["minutes"] = [f"{result.seconds / 60:.1f}" for result in results]
    rows |= {f"recovery: {name}": cells for name, cells in _recovery_rows(results).items()}
    return "\n".join(_line(name, cells) for name, cells in rows.items())


def details(result: Result) -> list[str]:
    """The first offenders, and why workers ended by themselves."""
    words = Counter(departure.words for departure in result.departures)
    said = [f"gave up {count}x: {line}" for line, count in words.most_common(10)]
    return [*result.verdict.examples, *said]


def figures(result: Result) -> dict[str, object]:
    """Numbers by name, for docs/figures."""
    counts = {name: getattr(result.verdict, name) for name in (*COUNTS, "twice", "rejected_twice")}
    recovered = longest(result.recoveries)
    return {
        **counts,
        "products": result.plan.products,
        "faults": len(result.recoveries),
        "seed": result.plan.seed,
        "lost_before_reconcile": result.before.lost + result.before.stale if result.before else 0,
        "longest_recovery_s": max(value or 0.0 for value in recovered.values()),
        "recovery_s": {_slug(kind): round(value or 0.0, 1) for kind, value in sorted(recovered.items())},
        "peak_mib": round(result.peak_bytes / 2**20),
        "growth": None if result.growth is None else round(result.growth, 3),
        "gave_up": len(result.departures),
        "triton_crashes": len(result.crashes),
        "minutes": round(result.seconds / 60, 1),
    }


def _recovery_rows(results: Sequence[Result]) -> dict[Kind, list[str]]:
    columns = [longest(result.recoveries) for result in results]
    kinds = sorted({kind for column in columns for kind in column})
    return {kind: [_cell(column, kind) for column in columns] for kind in kinds}


def _cell(column: Mapping[Kind, float | None], kind: Kind) -> str:
    if kind not in column:
        return "-"
    seconds = column[kind]
    return "never" if seconds is None else f"{seconds:.1f} s"


def _ratio(growth: float | None) -> str:
    return "too short to tell" if growth is None else f"{growth:.2f}"


def _line(name: str, cells: Sequence[str]) -> str:
    return f"{name:<46}" + "".join(f"{cell:>24}" for cell in cells)


def _slug(kind: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in kind).replace("__", "_")

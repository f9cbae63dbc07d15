"""What becomes of the picture suite in Pillow's source distribution; writes docs/figures/pillow_suite.json.

    python -m benchmarks.pillow_suite

About 1,060 files of every format, whole, damaged and hostile, through decoding processes as in production.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adgauge.contract import ImageSpec
from adgauge.images.decoder import Orders
from adgauge.images.decoders import DecoderPool
from adgauge.images.loader import Decoding
from adgauge.records import ImageMissing
from benchmarks.record import ROOT, write_figures

SUITE = ROOT / ".tools" / "pillow" / "Tests" / "images"
IMAGE = "image"
SPEC = ImageSpec(
    count=1,
    candidates=1,
    selection="first",
    height=224,
    width=224,
    collage=(),
    interpolation="bicubic",
    fit="squash",
    jpeg_scaling=False,
    required=False,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: `image` or the reason; seconds on the CPU of the process that decoded it."""

    name: str
    result: str
    detail: str
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Suite:
    """All files; `replaced` says whether a process ended, `peak_bytes` is the most that one held."""

    outcomes: Sequence[Outcome]
    replaced: bool
    peak_bytes: int

    def counts(self) -> Mapping[str, int]:
        """Files by result, the most frequent first."""
        return dict(Counter(outcome.result for outcome in self.outcomes).most_common())

    def slowest(self) -> Outcome:
        """The file that took longest."""
        return max(self.outcomes, key=lambda outcome: outcome.cpu_seconds)


def main() -> None:
    """Measure and write."""
    suite = decode_suite(suite_files())
    figures = {
        "files": len(suite.outcomes),
        "results": suite.counts(),
        "slowest_file": suite.slowest().name,
        "slowest_cpu_s": round(suite.slowest().cpu_seconds, 3),
        "peak_mb": round(suite.peak_bytes / 2**20),
    }
    print(json.dumps(figures, indent=2))
    write_figures("pillow_suite", "python -m benchmarks.pillow_suite", figures)


def suite_files() -> list[Path]:
    """Every file of the suite, in order."""
    return sorted(path for path in SUITE.rglob("*") if path.is_file())


def decode_suite(files: Sequence[Path]) -> Suite:
    """Decode `files` one after the other in the processes of production, with its limits."""
    usual = Decoding()
    orders = Orders(SPEC, usual.limits, usual.seconds, usual.memory_bytes)
    pool = DecoderPool(usual.processes, orders)
    try:
        for _ in range(usual.processes):  # starting is no file's cost
            pool.decode(b"")
        before = pool.process_ids()
        outcomes = [_outcome(pool, path) for path in files]
        after = pool.process_ids()
        return Suite(outcomes, before != after, max(map(peak_bytes, after)))
    finally:
        pool.close()


def _outcome(pool: DecoderPool, path: Path) -> Outcome:
    before = sum(map(cpu_seconds, pool.process_ids()))
    found = pool.decode(path.read_bytes())
    seconds = sum(map(cpu_seconds, pool.process_ids())) - before
    name = path.relative_to(SUITE).as_posix()
    if isinstance(found, ImageMissing):
        return Outcome(name, found.reason, found.detail, seconds)
    return Outcome(name, IMAGE, "", seconds)


def peak_bytes(process_id: int) -> int:
    """The most physical memory that the process ever held, by the kernel's own count."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def cpu_seconds(process_id: int) -> float:
    """Time on the CPU of the process's main thread, which decodes."""
    return int(Path(f"/proc/{process_id}/schedstat").read_text().split()[0]) / 1e9


if __name__ == "__main__":
    main()

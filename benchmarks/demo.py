"""Runs the demo as a stranger would and keeps what it printed; writes docs/figures/demo.json.

python -m benchmarks.demo
"""

from __future__ import annotations

import re
import subprocess
import sys
import time

from benchmarks.record import ROOT, write_figures

_TRITON = re.compile(r"([\d.]+) requests and ([\d.]+) rows per execution")


def main() -> None:
    """Measure and write."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "services.embedded", "demo"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    seconds = time.monotonic() - began
    if (merged := _TRITON.search(done.stdout)) is None:
        raise SystemExit(f"the demo does not say what Triton did:\n{done.stdout}")
    figures = {
        "output": f"\n```text\n{done.stdout}```\n",
        "seconds": round(seconds, 1),
        "requests_per_execution": float(merged[1]),
        "rows_per_execution": float(merged[2]),
    }
    print(done.stdout)
    write_figures("demo", "make proof", figures)


if __name__ == "__main__":
    main()

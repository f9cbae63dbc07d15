"""`python -m services.embedded demo [CATALOG]` and `… up`: what `make demo` and `make up` run."""

import argparse
import sys
from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "catalog" / "products.jsonl"


def main() -> int:
    """Exit code 0 done, 1 failed with one line that says what to do, 2 wrong use, 130 Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m services.embedded", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    demo = actions.add_parser("demo", help="score a catalog on real servers and stop")
    demo.add_argument("catalog", type=Path, nargs="?", default=SAMPLE, help="one product a line")
    actions.add_parser("up", help="keep servers and scorer running until Ctrl-C")
    arguments = parser.parse_args()
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130


def _run(arguments: argparse.Namespace) -> int:
    # Imported here, so that Ctrl-C is quiet from the first moment.
    from adgauge.errors import AdgaugeError
    from services.embedded.demo import run_demo
    from services.embedded.up import run_up

    try:
        return run_demo(arguments.catalog) if arguments.action == "demo" else run_up(Path.cwd())
    except AdgaugeError as error:
        print(f"adgauge: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

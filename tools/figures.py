"""Keeps the figures quoted in the documents equal to the measured ones in docs/figures/*.json.

A quoted figure stands between two comments that say where it comes from and how it is written:

    <!-- figure ranking.picture.blur.share:.1% -->98.4%<!-- /figure -->

`python tools/figures.py` fills them in; `--check` fails when one differs, when its source is missing, or when
a section whose heading contains "Measured" quotes a number with a unit outside such a pair.
"""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
QUOTE = re.compile(
    r"(<!-- figure (?P<path>[\w.\-]+)(?::(?P<format>[^ ]*))? -->)(?P<text>.*?)(<!-- /figure -->)", re.DOTALL
)
MEASURED = re.compile(r"^#+ .*measured", re.IGNORECASE)
HEADING = re.compile(r"^#+ ")
BARE_NUMBER = re.compile(r"\d(?:[\d.,]*\d)?\s?(?:%|×|(?:ms|s|MB|GB|min|records/s|rows)\b)")


def main(arguments: list[str]) -> int:
    """Fill in or check every Markdown file; returns 1 when a check fails."""
    check = "--check" in arguments
    complaints: list[str] = []
    for document in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        before = document.read_text()
        after = QUOTE.sub(partial(_filled, document, complaints), before)
        if check:
            complaints += _unquoted(document, before)
            if after != before:
                complaints.append(f"{document.relative_to(ROOT)}: stale figures; run python tools/figures.py")
        elif after != before:
            document.write_text(after)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


def _filled(document: Path, complaints: list[str], quote: re.Match[str]) -> str:
    try:
        value = _look_up(quote["path"])
    except (KeyError, FileNotFoundError):
        complaints.append(f"{document.relative_to(ROOT)}: no figure {quote['path']} in docs/figures")
        return quote[0]
    return f"{quote[1]}{value:{quote['format'] or ''}}{quote[5]}"


def _look_up(path: str) -> Any:
    name, *keys = path.split(".")
    value = json.loads((ROOT / "docs" / "figures" / f"{name}.json").read_text())["figures"]
    for key in keys:
        value = value[key]
    return value


def _unquoted(document: Path, text: str) -> list[str]:
    complaints, measured, fenced = [], False, False
    for number, line in enumerate(text.splitlines(), start=1):
        fenced ^= line.startswith("```")
        if HEADING.match(line) and not fenced:
            measured = bool(MEASURED.match(line))
        elif measured and not fenced and (bare := BARE_NUMBER.search(QUOTE.sub("", line))):
            where = f"{document.relative_to(ROOT)}:{number}"
            complaints.append(f"{where}: {bare[0]!r} is quoted without its source in docs/figures")
    return complaints


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""The short form of `make chaos`: the same world, publisher, faults and judge, for some minutes."""

from pathlib import Path

import pytest

from tests.chaos.plans import SHORT
from tests.chaos.report import details, problems, table
from tests.chaos.run import perform


@pytest.mark.tool("kafka")
@pytest.mark.tool("toxiproxy")
@pytest.mark.timeout(400)
def test_nothing_is_lost_and_nothing_stale_whatever_dies_in_between(tmp_path: Path) -> None:
    said: list[str] = []
    result = perform(SHORT, tmp_path / "kept", said.append)
    told = "\n".join([*said, table([result]), *details(result), f"again: {SHORT.command}"])

    assert problems(result) == [], told
    assert len(result.recoveries) == SHORT.faults

"""A test that needs a pinned tool is skipped, visibly, where it is absent, and fails under CI=true."""

import functools
import os

import pytest

from tools.install import PINNED

_ABSENT_TOOLS = pytest.StashKey[set[str]]()


@functools.cache
def tool_problem(name: str) -> str | None:
    """Why the tests of a pinned tool cannot run; asked once a session, for it starts the tool."""
    return PINNED[name].problem()


def require_tool(name: str, config: pytest.Config) -> None:
    """Skip the running test where a pinned tool is absent; fail it under CI=true."""
    problem = tool_problem(name)
    if problem is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(problem, pytrace=False)
    config.stash.setdefault(_ABSENT_TOOLS, set()).add(problem)
    pytest.skip(problem)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("tool"):
        require_tool(marker.args[0], item.config)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    absent: set[str] = config.stash.get(_ABSENT_TOOLS, set())
    for problem in sorted(absent):
        terminalreporter.write_line(f"TOOL ABSENT, its tests were skipped: {problem}", yellow=True, bold=True)

"""Programs that Python packages carry."""

import importlib.util
import os
from pathlib import Path

from services.embedded.processes import ServerFailed


def packaged_program(module: str, program: Path, *, distribution: str) -> Path:
    """The executable at `program` inside `module`'s folder; raises ServerFailed when it is not installed."""
    # The module is located, not imported: imports would pull in its client library.
    spec = importlib.util.find_spec(module)
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / program
        if os.access(path, os.X_OK):
            return path
    raise ServerFailed(
        f"the package {distribution} is not installed with its program {program.name}:"
        " run `pip install 'adgauge[embedded]'`, or point adgauge at a server of your own"
    )

"""What the monitor keeps between runs: the last result, the report of it, and the history."""

from pathlib import Path

from adgauge.cli.rows import line_file, writing
from adgauge.monitor.history import History
from adgauge.monitor.page.thumbnails import thumbnails
from adgauge.monitor.report import render
from adgauge.monitor.result import Result


class StateFolder:
    """`history.sqlite`, `report.html` and `result.json` in a folder, which is made.

    Raises ConfigurationError where nothing can be written, there and in its methods.
    """

    def __init__(self, folder: Path) -> None:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._history = History(folder / "history.sqlite")

    def last_good(self) -> Result | None:
        """What the newest run found."""
        return self._history.last_good()

    def keep(self, result: Result, picture_folders: tuple[Path, ...]) -> None:
        """Replace the result, add to the history, and replace the report, with pictures of the folders given.

        The result comes first, for the others are made of it: it is there even where they cannot be.
        """
        with line_file(self._folder / "result.json") as write:
            write(result.to_json())
        self._history.add(result)
        pictures = thumbnails(result.worst, picture_folders)
        with line_file(self._folder / "report.html") as write:
            write(render(result, self._history.runs(), pictures))

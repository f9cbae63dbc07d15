import io

from adgauge.cli.terminal import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_rewrites_its_line_and_leaves_it_empty() -> None:
    terminal, now = Terminal(), [0.0]
    progress = Progress(terminal, lambda: now[0])
    progress.show("1 of 2")
    now[0] = 0.05
    progress.show("too soon")
    now[0] = 0.2
    progress.show("2 of 2")
    progress.clear()

    assert terminal.getvalue() == "\r\x1b[K1 of 2\r\x1b[K2 of 2\r\x1b[K"


def test_a_pipe_sees_no_progress() -> None:
    pipe = io.StringIO()
    progress = Progress(pipe, lambda: 0.0)
    progress.show("1 of 2")
    progress.clear()

    assert pipe.getvalue() == ""

"""`adgauge score`: the pipeline of the scorer with a file as its source."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from adgauge.adapters.admission import AdmittedModel, admit
from adgauge.adapters.csv_catalog import open_catalog
from adgauge.adapters.files import STANDARD_INPUT, FileSource, LineStore, Nowhere
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.adapters.triton import TritonConnection, plain_triton
from adgauge.cli.decisions import Decisions
from adgauge.cli.rows import Row, Write, json_writer, line_file, row_file, text_writer
from adgauge.cli.submission import Submission, protocol_warning
from adgauge.cli.terminal import Progress
from adgauge.contract import CONTRACT_FILE, ModelContract, version_folders
from adgauge.errors import ConfigurationError
from adgauge.pipeline.circuit import Circuits, Patience
from adgauge.pipeline.fuse import Fuse
from adgauge.pipeline.ports import Images
from adgauge.pipeline.runner import Limits, Runner
from adgauge.pipeline.scoring import ScoringPipeline
from adgauge.telemetry.metrics import Metrics
from adgauge.wiring import image_loader

LIMITS = Limits(
    batch_records=32,
    linger_s=0.05,
    batches=4,
    records=512,
    bytes=64 * 2**20,
    commit_interval_s=0.5,
    drain_s=10.0,
)
HOST_PATIENCE_S = 30.0
"""Somebody waits at the terminal."""
EMBEDDED_DEADLINE_S = 60.0
"""Our own Triton shares this machine's CPU with whatever else runs: slow is not away."""


def score_file(
    path: str,
    *,
    output: Path | None,
    rejects: Path | None,
    submission: Path | None,
    model: str | None,
    image_root: Path | None,
    as_json: bool,
) -> int:
    """Score every record; rows go to files or are printed, and a summary says how all of them ended.

    The submission is written only where it is complete; raises ConfigurationError where it is not.
    """
    _refuse_same_file(Path(path), output, rejects, submission)
    settings = load_settings(ServerSettings)
    roots = image_roots(path, image_root, settings)
    metrics, stop = Metrics(CollectorRegistry()), threading.Event()
    with ExitStack() as submitted:  # the other files are written even if the submission is not
        write_submission = _lines(submitted, submission)
        with ExitStack() as stack:
            catalog = stack.enter_context(open_catalog(path, sys.stdin.buffer, settings.max_record_bytes))
            is_printed = output is None and submission is None
            write_rows = _rows(stack, output, is_printed=is_printed, as_json=as_json)
            write_rejects = _lines(stack, rejects)
            model_dir = _model_dir(model, settings)
            triton, check_triton = stack.enter_context(triton_for(model_dir, settings))
            admitted = admit(model_dir, triton, metrics, requests=settings.triton_requests)
            stack.callback(admitted.scorer.close)
            images = image_loader(
                admitted.contract.spec.image, settings, metrics, roots=roots, patience_s=HOST_PATIENCE_S
            )
            stack.callback(images.close)
            stack.callback(stop.set)  # before anything is closed: threads that wait for Triton give up
            pipeline = _pipeline(admitted, images, metrics, stop, settings.max_record_bytes)
            entered = None if submission is None else Submission(write_submission, admitted.contract.cost)
            decisions = Decisions(pipeline.run, _with(entered, write_rows), write_rejects)
            began = time.monotonic()
            _run(FileSource(catalog, _now_ms(), decisions.flush), decisions, metrics, check_triton)
            seconds = time.monotonic() - began
        if as_json and not is_printed:
            print(json.dumps(decisions.summary.as_json(catalog.blank, seconds)))
        else:
            # Standard output holds the rows, if they are not in a file.
            text = decisions.summary.as_text(catalog.blank, seconds)
            print(text, file=sys.stderr if is_printed else sys.stdout)
        if entered is not None:
            _warn_of_protocol(admitted.contract)
            entered.require_complete(str(submission), decisions.unscored)
    return 0


def _pipeline(
    admitted: AdmittedModel, images: Images, metrics: Metrics, stop: threading.Event, max_bytes: int
) -> ScoringPipeline:
    return ScoringPipeline(
        canonicalizer=admitted.canonicalizer,
        images=images,
        cache=None,
        scorer=admitted.scorer,
        store=LineStore(),
        score_log=Nowhere(),
        dead_letters=Nowhere(),
        circuits=Circuits(stop.wait, random.random, time.monotonic, metrics, probes={}, patience=Patience()),
        fuse=Fuse(window=1, judged_from=1, limit=1.0),  # a file may hold what it likes
        metrics=metrics,
        clock_ms=_now_ms,
        max_record_bytes=max_bytes,
    )


def _run(source: FileSource, decisions: Decisions, metrics: Metrics, check: Callable[[], None]) -> None:
    """Until every line that was read is decided; `check` raises when our own Triton has died."""
    progress = Progress(sys.stderr, time.monotonic)

    def finished() -> bool:
        check()
        decided = decisions.summary.decided
        progress.show(f"decided {decided} of {source.read}{'' if source.exhausted else '+'}")
        return source.exhausted and decided == source.read

    runner = Runner(
        source,
        decisions.decide,
        LIMITS,
        metrics,
        clock=time.monotonic,
        sleep=time.sleep,
        blocked=lambda: None,  # a file waits
        progressed=lambda: None,
    )
    try:
        runner.run(until=finished, at_once=lambda: False)
    finally:
        progress.clear()


def _rows(stack: ExitStack, output: Path | None, *, is_printed: bool, as_json: bool) -> Write:
    if output is not None:
        return stack.enter_context(row_file(output))
    if not is_printed:
        return lambda _: None
    return json_writer(sys.stdout) if as_json else text_writer(sys.stdout)


def _with(submission: Submission | None, write: Write) -> Write:
    if submission is None:
        return write

    def write_both(rows: Sequence[Row]) -> None:
        write(rows)
        submission.write(rows)

    return write_both


def _warn_of_protocol(contract: ModelContract) -> None:
    if (warning := protocol_warning(contract)) is not None:
        print(f"adgauge: warning: {warning}", file=sys.stderr)


def _lines(stack: ExitStack, path: Path | None) -> Callable[[str], object]:
    return stack.enter_context(line_file(path)) if path is not None else lambda _: None


def image_roots(path: str, image_root: Path | None, settings: ServerSettings) -> Sequence[Path]:
    """Where relative paths of pictures lead: the folder given, else the configured ones and the file's."""
    if image_root is not None:
        if not image_root.is_dir():
            raise ConfigurationError(f"--image-root {image_root} is no folder")
        return [image_root.resolve()]
    own = [] if path == STANDARD_INPUT else [Path(path).resolve().parent]
    return [*settings.image_roots, *own]


def _refuse_same_file(*paths: Path | None) -> None:
    """Nobody wants their catalog replaced by its scores."""
    named = [path.resolve() for path in paths if path is not None]
    if len(named) != len(set(named)):
        raise ConfigurationError("FILE, --output, --rejects and --submission must be different files")


def _model_dir(model: str | None, settings: ServerSettings) -> Path:
    """A folder, a name in the model repository, what the environment says, or the only model there is.

    Of a model with several versions it is the newest.
    """
    if model is None and settings.model_dir is not None:
        return settings.model_dir
    if model is not None and (folder := _version_folder(Path(model))):
        return folder
    repository = _repository()
    if model is not None and (folder := _version_folder(repository / model)):
        return folder
    found = [each for path in sorted(repository.glob("*")) if (each := _version_folder(path))]
    if model is None and len(found) == 1:
        return found[0]
    models = ", ".join(each.parent.name for each in found) or "none"
    raise ConfigurationError(
        f"{'choose a model' if model is None else f'there is no model {model}'}: --model takes a folder"
        f" with {CONTRACT_FILE}, or NAME or NAME/VERSION of {repository} ({models})"
    )


def _version_folder(path: Path) -> Path | None:
    """The folder itself, or the newest of a model's."""
    if (path / CONTRACT_FILE).is_file():
        return path
    return next(reversed(version_folders(path).values()), None)


def _repository() -> Path:
    try:
        from services.embedded.settings import EmbeddedSettings
    except ImportError as exc:
        raise ConfigurationError("give a model's folder with --model or ADGAUGE_MODEL_DIR") from exc
    return load_settings(EmbeddedSettings).model_repository


@contextmanager
def triton_for(
    model_dir: Path, settings: ServerSettings
) -> Iterator[tuple[TritonConnection, Callable[[], None]]]:
    """The Triton to use, started here unless one is given, and a check that it lives."""
    if settings.triton_url is not None:
        yield settings.triton(), lambda: None
        return
    try:
        from services.embedded.settings import EmbeddedSettings
        from services.embedded.triton import start_triton
        from services.embedded.workspace import Workspace
    except ImportError as exc:
        raise ConfigurationError(
            "set ADGAUGE_TRITON_URL: only a checkout can start a Triton of its own"
        ) from exc
    embedded = load_settings(EmbeddedSettings)
    with Workspace() as workspace:
        triton = start_triton(
            workspace,
            venv=embedded.triton_venv,
            repository=model_dir.resolve().parents[1],
            models=[model_dir.resolve().parent.name],
            port=embedded.triton_port,
        )
        triton.wait_until_ready()
        yield plain_triton(triton.url, EMBEDDED_DEADLINE_S), workspace.check


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

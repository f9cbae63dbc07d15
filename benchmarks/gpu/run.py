"""Serves each system in each precision, measures it, and prints a table as soon as a system is done."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import TypeVar, get_args

from adgauge.contract import Precision
from adgauge.errors import AdgaugeError, ConfigurationError
from adgauge.models.registry import SYSTEMS
from benchmarks.gpu.agreement import agreement
from benchmarks.gpu.load import Answered, Effort, Load
from benchmarks.gpu.machine import machine, require_device, used_mib
from benchmarks.gpu.report import Result, table, write
from benchmarks.gpu.serving import require_environment, serving
from benchmarks.gpu.subjects import Device, Rungs, Subject, exported_subject, torch_subjects
from services.embedded.settings import EmbeddedSettings

T = TypeVar("T")

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16")


def main(arguments: Sequence[str]) -> int:
    """0 when all was measured, 1 when something was not, with one line that says what and why."""
    options = _parser().parse_args(arguments)
    try:
        require_device(options.device)
        require_environment(options.triton_venv)
        if not options.out.parent.is_dir():
            raise ConfigurationError(f"there is no folder {options.out.parent} for --out")
        return _measure_all(options, shlex.join(["python", "-m", "benchmarks.gpu", *arguments]))
    except (AdgaugeError, OSError) as error:
        print(f"benchmarks.gpu: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _measure_all(options: argparse.Namespace, command: str) -> int:
    """A model that cannot be had is named, and the next one measured."""
    described, results, failed = machine(options.device), list[Result](), False
    idle_mib = used_mib(options.device)
    for model in options.models:
        of_model = list[Result]()
        try:
            for subject in _subjects(options, model):
                of_model.append(measure(subject, _effort(options), options.triton_venv, idle_mib))
                # What is there when time runs out.
                write(options.out, command, described, [*results, *of_model])
        except AdgaugeError as error:
            failed = True
            print(f"benchmarks.gpu: {' '.join(str(error).split())}", file=sys.stderr)
        results += of_model
        if of_model:
            print(table(of_model), end="\n\n", flush=True)
    return int(failed or any(result.not_reported for result in results))


def _effort(options: argparse.Namespace) -> Effort:
    return Effort(options.batches, options.in_flight, options.seconds, options.repeats)


def _subjects(options: argparse.Namespace, model: str) -> Iterator[Subject]:
    if options.repository is None:
        yield from torch_subjects(model, options.precisions, options.device, options.rungs, options.tokenizer)
    else:
        yield exported_subject(options.repository, model, options.device, options.rungs)


def measure(subject: Subject, effort: Effort, venv: Path, idle_mib: int | None) -> Result:
    """Serve a subject, check its answers, load it, and check those too.

    What keeps figures from being reported, a server that fails included, is in the result and not raised.
    `idle_mib` is what the GPU has in use without us, None where there is none.
    """
    result = Result(subject.name, subject.precision, subject.runtime)
    try:
        with (
            serving(subject, venv, max(effort.batches)) as server,
            closing(Load(server.url, subject, effort)) as load,
        ):
            result.triton = load.server_version()
            _fill(result, load, subject, effort)
            if idle_mib is not None:
                result.memory_mib = (used_mib("cuda") or 0) - idle_mib
    except AdgaugeError as error:
        result.not_reported = str(error)
    if result.not_reported:
        result.curve.clear()
    return result


def _fill(result: Result, load: Load, subject: Subject, effort: Effort) -> None:
    """Measure only what agrees; what agreed alone may not do so under load."""
    shapes = product(subject.products, effort.batches)
    answered = [load.every_product(products, batch) for products, batch in shapes]
    if not _agrees(result, subject, answered):
        return
    of_curves = [products for products in subject.products if products.tokens in subject.lengths]
    for products, in_flight, batch in product(of_curves, effort.in_flight, effort.batches):
        point, answers = load.measure(products, batch, in_flight)
        result.curve[products.tokens, in_flight, batch] = point
        answered.append(answers)
    _agrees(result, subject, answered)


def _agrees(result: Result, subject: Subject, answered: Sequence[Answered]) -> bool:
    result.agreement = agreement(subject.precision, answered)
    result.not_reported = "; ".join(result.agreement.complaints) or None
    return result.not_reported is None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    add = parser.add_argument
    add("--models", type=_names, default=tuple(SYSTEMS), help="systems or checkpoint folders (default: all)")
    add("--precisions", type=_precisions, default=PRECISIONS, help="default: fp32,fp16,bf16")
    add("--device", choices=get_args(Device), default="cuda", help="cpu tries the benchmark itself")
    add("--repository", type=Path, help="serve graphs exported there with onnxruntime, in their precision")
    add("--tokenizer", type=Path, help="tokenizer.json for systems, where its package is not installed")
    add("--rungs", choices=get_args(Rungs), default="all", help="text lengths of the ladder to measure")
    add("--batches", type=_counts, default=(1, 2, 4, 8, 16, 32), help="rows of a request: 1,2,4,8,16,32")
    add("--in-flight", type=_counts, default=(1, 2, 4), help="requests on their way at once: 1,2,4")
    add("--seconds", type=_seconds, default=1.0, help="of one run: %(default)s")
    add("--repeats", type=_count, default=3, help="runs of which the median counts: %(default)s")
    add("--triton-venv", type=Path, default=EmbeddedSettings().triton_venv, help="where tritonserver is")
    add("--out", type=Path, default=Path("figures.json"), help="JSON to write: %(default)s")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return _distinct(text.split(","))


def _precisions(text: str) -> tuple[Precision, ...]:
    chosen = _names(text)
    if unknown := [each for each in chosen if each not in PRECISIONS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(PRECISIONS)}")
    return tuple(each for each in PRECISIONS if each in chosen)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted(_distinct(map(_count, text.split(",")))))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to 600")
    return seconds


def _distinct(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))

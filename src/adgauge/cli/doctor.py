"""`adgauge doctor URL`: what a scorer makes of a picture's reference, step by step, with its own objects."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image
from prometheus_client import CollectorRegistry

from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.canonical.image import TRANSIENT, ImageError, ImageReason, image_format
from adgauge.cli.remedies import REFUSED, REMEDIES, consequence, kind_of
from adgauge.cli.terminal import printable
from adgauge.contract import ImageSpec, load_contract
from adgauge.images.decoder import Orders
from adgauge.images.decoders import DecoderPool
from adgauge.images.fetched import Body, Trace
from adgauge.images.guard import target_of
from adgauge.images.loader import Decoding, sources_of
from adgauge.images.sources import Sources, scheme_of
from adgauge.records import ImageMissing, Validators
from adgauge.telemetry.metrics import Metrics
from adgauge.wiring import image_places

_LONGEST = 400
# Without a model nobody knows what a picture becomes, and only that it can be decoded is said.
_ANY_SIZE = ImageSpec(
    count=1,
    candidates=1,
    selection="first",
    height=1,
    width=1,
    collage=(),
    interpolation="bilinear",
    fit="squash",
    jpeg_scaling=False,
    required=False,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it ended. A picture that is not there has a reason, that is lasting or passes."""

    ok: bool
    detail: str
    reason: ImageReason | None = None
    lasting: bool | None = None
    what_happens: str = ""
    what_to_do: str = ""

    def __str__(self) -> str:
        if self.reason is None:
            return f"ok: {self.detail}; a product that names it early enough is scored with it"
        how = "refused" if self.reason in REFUSED else "missing"
        return (
            f"{how}: {self.reason} ({'lasting' if self.lasting else 'passing'}): {self.detail};"
            f" what happens: {self.what_happens}; what to do: {self.what_to_do}"
        )


class _Steps:
    """What was done so far; each step is told at once."""

    def __init__(self, tell: Callable[[str], object], servers: ServerSettings) -> None:
        self.taken: list[dict[str, str]] = []
        self._tell = tell
        self._servers = servers

    def __call__(self, step: str, detail: str) -> None:
        if step == "resolve":
            kind = kind_of(detail.partition(" ")[0], self._servers.image_networks)
            detail = f"{detail}: {kind}"
        self.taken.append({"step": step, "detail": detail})
        self._tell(f"{step:10} {_on_one_line(detail)}")


def diagnose(reference: str, *, model: Path | None, as_json: bool) -> int:
    """Print each step and the verdict; 1 when there is no picture. One attempt, and nothing is cached."""
    servers = load_settings(ServerSettings)
    steps = _Steps(_silent if as_json else _print_at_once, servers)
    folder = model or servers.model_dir
    spec = load_contract(folder).spec.image if folder is not None else None
    try:
        verdict = Verdict(ok=True, detail=_picture(reference, spec, servers, steps))
    except ImageError as error:
        verdict = _failed(error, spec, servers)
    if as_json:
        print(json.dumps({"reference": reference, "steps": steps.taken, "verdict": asdict(verdict)}))
    else:
        print(_on_one_line(str(verdict), longest=None))
    return 0 if verdict.ok else 1


def _picture(reference: str, spec: ImageSpec | None, servers: ServerSettings, trace: Trace) -> str:
    """What the reference stands for, in words; raises ImageError."""
    decoding = Decoding(processes=1)
    with ExitStack() as stack:
        places = image_places(servers)
        sources = sources_of(places, decoding.limits.max_bytes, Metrics(CollectorRegistry()), disk=None)
        stack.callback(sources.close)
        body = _fetched(reference, servers, sources, trace)
        orders = Orders(spec or _ANY_SIZE, decoding.limits, decoding.seconds, decoding.memory_bytes)
        pool = DecoderPool(decoding.processes, orders)
        stack.callback(pool.close)
        made = _decoded(body.data, pool, trace)
    becomes = f"{spec.width} x {spec.height} RGB" if spec else "what a model wants: name one with --model"
    trace("canonical", becomes)
    return made


def _fetched(reference: str, servers: ServerSettings, sources: Sources, trace: Trace) -> Body:
    scheme = scheme_of(reference)
    said = "allowed" if scheme in servers.image_schemes else "not allowed"
    trace("scheme", f"{scheme}: {said} ({', '.join(servers.image_schemes)} are)")
    if scheme in ("http", "https"):
        _parse(reference, trace)
    if scheme == "file":
        trace("roots", ", ".join(map(str, servers.image_roots)) or "none, so no file is allowed")
    if scheme in ("s3", "gs"):
        trace("buckets", ", ".join(servers.image_buckets) or "none, so no object is allowed")
    if scheme in ("http", "https") and (servers.image_hosts or servers.image_hosts_denied):
        allowed, denied = ", ".join(servers.image_hosts) or "all", ", ".join(servers.image_hosts_denied)
        trace("hosts", f"allowed: {allowed}; denied: {denied or 'none'}")
    began_ms = time.time_ns() // 1_000_000
    body = sources.fetch(reference, None, trace)
    if not isinstance(body, Body):
        raise AssertionError("nothing was known that could be unchanged")
    if scheme == "data":
        trace("body", f"{len(body.data)} bytes inside the record")
    elif scheme == "file":
        trace("body", f"{len(body.data)} bytes, read again when the file has changed")
    else:
        trace("later", _later(body.validators, began_ms))
    return body


def _parse(reference: str, trace: Trace) -> None:
    """How the URL is read, where it can be; whether it may be asked for is said later."""
    with suppress(ImageError):
        url = f"https:{reference}" if reference.startswith("//") else reference
        target = target_of(url, ("http", "https"), range(65536))
        trace("parsed", f"{target.scheme}, host {target.host}, port {target.port}, path {target.path}")


def _later(validators: Validators, asked_ms: int) -> str:
    """What a scorer does when the same reference comes again."""
    told = [f"etag {validators.etag}"] if validators.etag else []
    told += [f"last-modified {validators.last_modified}"] if validators.last_modified else []
    if validators.fresh_until_ms > asked_ms:
        reuse = f"may be reused for {(validators.fresh_until_ms - asked_ms) / 1000:.0f} s"
    elif told:
        reuse = "asked about every time, a 304 costs no body"
    else:
        reuse = "no validators: downloaded each time"
    return ": ".join([", ".join(told), reuse]) if told else reuse


def _decoded(data: bytes, pool: DecoderPool, trace: Trace) -> str:
    """The picture in words, after a decoding process took it; raises ImageError."""
    pool.decode(b"")  # the start of a process takes longer than most pictures
    began, worked = time.perf_counter(), _seconds_worked(pool)
    result = pool.decode(data)
    took_ms, worked_ms = 1000 * (time.perf_counter() - began), 1000 * (_seconds_worked(pool) - worked)
    if isinstance(result, ImageMissing):
        raise ImageError(ImageReason(result.reason), result.detail)
    made = _header(data)
    trace("decode", f"{made}, in {took_ms:.1f} ms, {worked_ms:.1f} ms on the CPU")
    return made


def _header(data: bytes) -> str:
    """Of a picture that a decoding process has taken without harm."""
    kind = image_format(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(BytesIO(data), formats=[kind]) as picture:
            orientation = _orientation(picture)
            turned = f", EXIF orientation {orientation}" if orientation else ""
            return f"{kind}, {picture.width} x {picture.height}, mode {picture.mode}{turned}"


def _orientation(picture: Image.Image) -> int | None:
    try:
        found = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF may hold anything, and then says nothing
        return None
    return found if isinstance(found, int) else None


def _seconds_worked(pool: DecoderPool) -> float:
    """On the CPU, to the nanosecond where the kernel counts them."""
    try:
        spent = [Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in pool.process_ids()]
    except OSError:
        return 0.0
    return sum(map(int, spent)) / 1e9


def _failed(error: ImageError, spec: ImageSpec | None, servers: ServerSettings) -> Verdict:
    asked_later = f" (asked to wait {error.retry_after_s:.0f} s)" if error.retry_after_s else ""
    return Verdict(
        ok=False,
        detail=error.detail + asked_later,
        reason=error.reason,
        lasting=error.reason not in TRANSIENT,
        what_happens=consequence(
            error.reason,
            required=spec is not None and spec.required,
            several=spec is not None and spec.candidates > 1,
            patience_s=servers.image_host_patience_s,
        ),
        what_to_do=REMEDIES[error.reason],
    )


def _on_one_line(text: str, longest: int | None = _LONGEST) -> str:
    """Words of strangers: headers and URLs may hold whatever moves a cursor, and go on for long."""
    cut = f"{text[:longest]}…" if longest is not None and len(text) > longest else text
    return printable(cut)


def _print_at_once(line: str) -> None:
    print(line, flush=True)


def _silent(line: str) -> None:
    """JSON comes in one piece."""

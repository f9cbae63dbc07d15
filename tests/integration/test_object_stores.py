"""Pictures out of S3 and GCS: real servers, and one of ours for what those never say."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

import obstore
import pytest
from obstore.store import S3Store

from adgauge.canonical.image import TRANSIENT, ImageError, ImageReason
from adgauge.errors import ConfigurationError
from adgauge.images.fetched import Body, Fetched
from adgauge.images.objects import KEY_BYTES, ObjectStores, bucket_of, object_of
from adgauge.records import Unchanged, Validators
from services.embedded.ports import HOST, free_port
from services.embedded.processes import ServerProcess
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace
from tests.certificates import Certificates, issue
from tests.pinned_tools import require_tool
from tools.install import BIN

MAX_BYTES = 200_000
KEYS = {"AWS_ACCESS_KEY_ID": "gauge", "AWS_SECRET_ACCESS_KEY": "not a secret"}
SHOP = "s3://shop"
ODD_KEYS = (
    "plain.jpg",
    "a/b/c.jpg",
    "ä ö ü/日本 画像.png",
    "one+one=2&more.jpg",
    "100%.jpg",
    "x%41y.jpg",
    "what?.jpg",
    "#1.jpg",
    'it\'s "odd" ~(*)[x]{y}^|`<z>;:@,$!.jpg',
    "back\\slash.jpg",
    "..hidden..jpg",
    "k" * 200,
)

Stores = Callable[..., ObjectStores]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing that the machine knows about stores."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def stores() -> Iterator[Stores]:
    opened: list[ObjectStores] = []

    def open_stores(*buckets: str, max_bytes: int = MAX_BYTES, timeout_s: float = 5.0) -> ObjectStores:
        opened.append(ObjectStores(buckets or [SHOP], max_bytes, timeout_s))
        return opened[-1]

    yield open_stores
    for each in opened:
        each.close()


def reason_of(fetch: Callable[[], object]) -> ImageReason:
    with pytest.raises(ImageError) as caught:
        fetch()
    return caught.value.reason


def body_of(fetched: Fetched) -> Body:
    assert isinstance(fetched, Body)
    return fetched


@dataclass(frozen=True)
class S3:
    """A running versitygw whose buckets are folders."""

    process: ServerProcess
    url: str
    folder: Path

    def point_at(self, environment: pytest.MonkeyPatch, **variables: str) -> None:
        ours = {"AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true", **KEYS, **variables}
        for name, value in ours.items():
            environment.setenv(name, value)

    def put(self, key: str, data: bytes, bucket: str = "shop") -> None:
        (self.folder / bucket).mkdir(exist_ok=True)
        store = S3Store(
            bucket,
            endpoint=self.url,
            access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )
        obstore.put(store, key, data)


def start_s3(workspace: Workspace, name: str, certificates: Certificates | None = None) -> S3:
    folder, metadata, port = workspace.subfolder(name), workspace.subfolder(f"meta-{name}"), free_port()
    keys = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    argv: list[str | Path] = [BIN / "versitygw", "--port", f"{HOST}:{port}", "--keep-alive"]
    if certificates:
        argv += ["--cert", certificates.server_cert, "--key", certificates.server_key]
    argv += ["posix", "--sidecar", metadata, folder]
    process = workspace.start(name, argv, child_environment() | keys)
    process.wait_until(lambda: listens(port), timeout_s=15.0)
    return S3(process, f"{'https' if certificates else 'http'}://{HOST}:{port}", folder)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@pytest.fixture(scope="module")
def server(workspace: Workspace, request: pytest.FixtureRequest) -> S3:
    require_tool("versitygw", request.config)
    return start_s3(workspace, "s3")


@pytest.fixture
def s3(server: S3, environment: pytest.MonkeyPatch) -> S3:
    server.point_at(environment)
    return server


# --- A real S3 server.


@pytest.mark.tool("versitygw")
@pytest.mark.parametrize("key", ODD_KEYS)
def test_s3_gives_an_object_by_its_percent_encoded_key(s3: S3, stores: Stores, key: str) -> None:
    s3.put(key, key.encode())

    assert body_of(stores().fetch(f"{SHOP}/{quote(key)}")).data == key.encode()


@pytest.mark.tool("versitygw")
def test_s3_keys_may_be_written_as_they_are_but_for_percent_query_and_fragment(
    s3: S3, stores: Stores
) -> None:
    s3.put("ä ö+/é.jpg", b"as written")

    assert body_of(stores().fetch("S3://shop/ä ö+/é.jpg")).data == b"as written"


@pytest.mark.tool("versitygw")
def test_s3_tells_etag_date_and_digest_and_later_that_nothing_changed(s3: S3, stores: Stores) -> None:
    s3.put("kept.jpg", b"picture")
    source, steps = stores(), list[tuple[str, str]]()

    first = body_of(source.fetch(f"{SHOP}/kept.jpg")).validators
    again = source.fetch(f"{SHOP}/kept.jpg", first, lambda step, detail: steps.append((step, detail)))

    assert first.etag == f'"{hashlib.md5(b"picture", usedforsecurity=False).hexdigest()}"'
    assert first.last_modified.endswith(" GMT")
    assert first.sha256 == hashlib.sha256(b"picture").hexdigest()[:32]
    assert first.fresh_until_ms == 0
    assert again == Unchanged(first)
    assert steps == [
        ("ask", f"s3://shop for 'kept.jpg', unless its etag is {first.etag}"),
        ("answer", f"unchanged, etag {first.etag}"),
    ]


@pytest.mark.tool("versitygw")
def test_s3_a_changed_object_is_new_bytes_and_a_new_etag_of_the_same_bytes_is_no_change(
    s3: S3, stores: Stores
) -> None:
    s3.put("changing.jpg", b"before")
    source = stores()
    before = body_of(source.fetch(f"{SHOP}/changing.jpg")).validators
    s3.put("changing.jpg", b"after")

    after = body_of(source.fetch(f"{SHOP}/changing.jpg", before))
    with_another_etag = Validators('"another"', "", after.validators.sha256)

    assert after.data == b"after"
    assert after.validators.sha256 != before.sha256
    assert source.fetch(f"{SHOP}/changing.jpg", with_another_etag) == Unchanged(after.validators)


@pytest.mark.tool("versitygw")
def test_s3_an_object_without_an_etag_is_known_by_its_bytes(s3: S3, stores: Stores) -> None:
    (s3.folder / "shop").mkdir(exist_ok=True)
    (s3.folder / "shop/put-there.jpg").write_bytes(b"as a file")
    source = stores()

    first = body_of(source.fetch(f"{SHOP}/put-there.jpg"))

    assert (first.data, first.validators.etag) == (b"as a file", "")
    assert source.fetch(f"{SHOP}/put-there.jpg", first.validators) == Unchanged(first.validators)


@pytest.mark.tool("versitygw")
def test_s3_a_missing_key_is_missing_and_a_missing_bucket_is_the_operators(s3: S3, stores: Stores) -> None:
    s3.put("one.jpg", b"1")
    source = stores(SHOP, "s3://never-made")

    assert reason_of(lambda: source.fetch(f"{SHOP}/none.jpg")) is ImageReason.NOT_FOUND
    assert reason_of(lambda: source.fetch("s3://never-made/one.jpg")) is ImageReason.STORE_ERROR


@pytest.mark.tool("versitygw")
def test_s3_objects_up_to_the_limit_are_read_and_larger_ones_are_not(s3: S3, stores: Stores) -> None:
    s3.put("empty.jpg", b"")
    s3.put("limit.jpg", b"x" * MAX_BYTES)
    s3.put("over.jpg", b"x" * (MAX_BYTES + 1))
    source = stores()

    assert body_of(source.fetch(f"{SHOP}/empty.jpg")).data == b""
    assert len(body_of(source.fetch(f"{SHOP}/limit.jpg")).data) == MAX_BYTES
    assert reason_of(lambda: source.fetch(f"{SHOP}/over.jpg")) is ImageReason.TOO_LARGE


@pytest.mark.tool("versitygw")
@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_ACCESS_KEY_ID": "nobody"},
        {"AWS_SECRET_ACCESS_KEY": "wrong"},
        {"AWS_SESSION_TOKEN": "expired"},
        {"AWS_REGION": "eu-west-1"},
        {"AWS_ENDPOINT_URL": "no-scheme"},
        {"AWS_ALLOW_HTTP": "false"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_s3_what_is_wrong_with_our_own_setting_up_passes(
    server: S3, environment: pytest.MonkeyPatch, stores: Stores, variables: Mapping[str, str]
) -> None:
    server.put("one.jpg", b"1")
    server.point_at(environment, **variables)

    assert reason_of(lambda: stores().fetch(f"{SHOP}/one.jpg")) is ImageReason.STORE_ERROR


@pytest.mark.tool("versitygw")
def test_s3_an_object_that_is_not_ours_to_read_is_refused_for_good(
    server: S3, environment: pytest.MonkeyPatch, stores: Stores
) -> None:
    server.put("private.jpg", b"1")
    server.point_at(environment, AWS_SKIP_SIGNATURE="true")

    with pytest.raises(ImageError, match=r"the store refuses: s3://shop: HTTP 403 AccessDenied") as caught:
        stores().fetch(f"{SHOP}/private.jpg")

    assert caught.value.reason is ImageReason.HTTP_ERROR


@pytest.mark.tool("versitygw")
def test_s3_many_threads_get_each_its_own_object(s3: S3, stores: Stores) -> None:
    bodies = {f"{number}.jpg": f"{number}".encode() * 5_000 for number in range(20)}
    for key, body in bodies.items():
        s3.put(key, body)
    source, keys = stores(), list(bodies) * 50

    with ThreadPoolExecutor(32) as pool:
        got = list(pool.map(lambda key: source.fetch(f"{SHOP}/{key}"), keys))

    assert [body_of(each).data for each in got] == [bodies[key] for key in keys]


@pytest.mark.tool("versitygw")
def test_s3_that_hangs_costs_the_time_limit_and_is_as_before_after_it(
    workspace: Workspace, environment: pytest.MonkeyPatch, stores: Stores
) -> None:
    hanging = start_s3(workspace, "s3-hanging")
    hanging.point_at(environment)
    hanging.put("one.jpg", b"1")
    source = stores(timeout_s=1.0)
    source.fetch(f"{SHOP}/one.jpg")
    os.kill(hanging.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            reasons = set(pool.map(lambda _: reason_of(lambda: source.fetch(f"{SHOP}/one.jpg")), range(8)))
        took = time.monotonic() - began
    finally:
        os.kill(hanging.process.pid, signal.SIGCONT)

    assert reasons == {ImageReason.TIMEOUT}
    assert 0.9 < took < 1.8
    assert body_of(source.fetch(f"{SHOP}/one.jpg")).data == b"1"


@pytest.mark.tool("versitygw")
def test_s3_that_is_gone_fails_in_a_way_that_passes(
    workspace: Workspace, environment: pytest.MonkeyPatch, stores: Stores
) -> None:
    stopped = start_s3(workspace, "s3-stopped")
    stopped.point_at(environment)
    stopped.put("one.jpg", b"1")
    source = stores()
    source.fetch(f"{SHOP}/one.jpg")
    stopped.process.stop()

    assert reason_of(lambda: source.fetch(f"{SHOP}/one.jpg")) is ImageReason.CONNECTION


@pytest.mark.tool("versitygw")
def test_s3_over_tls_is_verified_with_the_systems_authorities_or_those_of_ssl_cert_file(
    workspace: Workspace, environment: pytest.MonkeyPatch, stores: Stores, tmp_path: Path
) -> None:
    certificates = issue(tmp_path)
    private = start_s3(workspace, "s3-tls", certificates)
    private.point_at(environment, AWS_ALLOW_HTTP="false")
    (private.folder / "shop").mkdir()
    (private.folder / "shop/one.jpg").write_bytes(b"1")

    with pytest.raises(ImageError, match=r"the endpoint's certificate: UnknownIssuer") as caught:
        stores().fetch(f"{SHOP}/one.jpg")
    environment.setenv("SSL_CERT_FILE", str(certificates.ca_file))

    assert caught.value.reason is ImageReason.TLS
    assert body_of(stores().fetch(f"{SHOP}/one.jpg")).data == b"1"


# --- A real GCS server. It takes every credential, ignores If-None-Match and words no refusals.


@pytest.fixture(scope="module")
def gcs_url(workspace: Workspace, request: pytest.FixtureRequest) -> str:
    require_tool("fake-gcs-server", request.config)
    port, folder = free_port(), workspace.subfolder("gcs")
    (folder / "shop/public").mkdir(parents=True)
    argv: list[str | Path] = [BIN / "fake-gcs-server", "-scheme", "http", "-host", HOST, "-port", str(port)]
    argv += ["-public-host", HOST, "-backend", "filesystem", "-filesystem-root", folder]
    process = workspace.start("gcs", argv, child_environment())
    process.wait_until(lambda: listens(port), timeout_s=15.0)
    return f"http://{HOST}:{port}"


@pytest.fixture
def gcs(gcs_url: str, environment: pytest.MonkeyPatch) -> Callable[[str, bytes], None]:
    """Puts an object into the bucket `shop`."""
    environment.setenv("GOOGLE_BASE_URL", gcs_url)
    environment.setenv("GOOGLE_ALLOW_HTTP", "true")
    environment.setenv("GOOGLE_SKIP_SIGNATURE", "true")

    def put(key: str, data: bytes) -> None:
        name = quote(key, safe="")
        url = f"{gcs_url}/upload/storage/v1/b/shop/o?uploadType=media&name={name}"
        request = urllib.request.Request(url, data, {"Content-Type": "image/jpeg"})  # noqa: S310 - loopback
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            answer.read()

    return put


@pytest.mark.tool("fake-gcs-server")
@pytest.mark.parametrize("key", [key for key in ODD_KEYS if not key.startswith("..")])
def test_gcs_gives_an_object_by_its_percent_encoded_key(
    gcs: Callable[[str, bytes], None], stores: Stores, key: str
) -> None:
    gcs(key, key.encode())

    assert body_of(stores("gs://shop").fetch(f"gs://shop/{quote(key)}")).data == key.encode()


@pytest.mark.tool("fake-gcs-server")
def test_gcs_bytes_that_are_known_are_unchanged_and_too_many_are_refused(
    gcs: Callable[[str, bytes], None], stores: Stores
) -> None:
    gcs("public/one.jpg", b"one")
    gcs("public/large.jpg", b"x" * (MAX_BYTES + 1))
    source = stores("gs://shop/public/")

    first = body_of(source.fetch("gs://shop/public/one.jpg")).validators

    assert first.etag
    assert source.fetch("gs://shop/public/one.jpg", first) == Unchanged(first)
    assert reason_of(lambda: source.fetch("gs://shop/public/large.jpg")) is ImageReason.TOO_LARGE


# --- A server of ours, for what those two never say.


@dataclass
class Stub:
    """Answers whatever it is asked, and counts connections."""

    answer: bytes = b""
    pause_s: float = 0.0
    """Between the bytes of an answer."""
    connections: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and If-None-Match."""


@pytest.fixture
def stub(environment: pytest.MonkeyPatch) -> Iterator[Stub]:
    """Both kinds of stores are there; nothing is signed."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stub.asked.append((self.path, self.headers.get("If-None-Match", "")))
            whole = stub.answer
            pieces = [whole[at : at + 1] for at in range(len(whole))] if stub.pause_s else [whole]
            try:
                for piece in pieces:
                    self.wfile.write(piece)
                    time.sleep(stub.pause_s)
            except OSError:  # the client has had enough
                return
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """In nobody's terminal."""

    class Server(ThreadingHTTPServer):
        def get_request(self) -> tuple[socket.socket, object]:
            stub.connections += 1
            return super().get_request()

    server = Server((HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for name in ("AWS_ENDPOINT_URL", "GOOGLE_BASE_URL"):
        environment.setenv(name, f"http://{HOST}:{server.server_port}")
    for name in ("AWS_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP", "AWS_SKIP_SIGNATURE", "GOOGLE_SKIP_SIGNATURE"):
        environment.setenv(name, "true")
    yield stub
    server.shutdown()
    server.server_close()


def answer(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def refusal(status: str, code: str) -> bytes:
    text = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>"…"</Message></Error>'
    return answer(status, text.encode(), "Content-Type: application/xml")


OBJECT = ('ETag: "e"', "Last-Modified: Wed, 25 Nov 2026 08:00:00 GMT")
ANSWERS: Sequence[tuple[bytes, ImageReason]] = [
    (refusal("404 Not Found", "NoSuchKey"), ImageReason.NOT_FOUND),
    (refusal("404 Not Found", "NoSuchBucket"), ImageReason.STORE_ERROR),
    (answer("404 Not Found", b"<html>nginx</html>"), ImageReason.STORE_ERROR),
    (answer("404 Not Found"), ImageReason.STORE_ERROR),
    (refusal("403 Forbidden", "AccessDenied"), ImageReason.HTTP_ERROR),
    (refusal("403 Forbidden", "InvalidObjectState"), ImageReason.HTTP_ERROR),
    (refusal("403 Forbidden", "InvalidAccessKeyId"), ImageReason.STORE_ERROR),
    (refusal("403 Forbidden", "RequestTimeTooSkewed"), ImageReason.STORE_ERROR),
    (answer("403 Forbidden", b"denied by a proxy"), ImageReason.STORE_ERROR),
    (refusal("401 Unauthorized", "AuthenticationRequired"), ImageReason.STORE_ERROR),
    (refusal("400 Bad Request", "ExpiredToken"), ImageReason.STORE_ERROR),
    (refusal("301 Moved Permanently", "PermanentRedirect"), ImageReason.STORE_ERROR),
    (refusal("429 Too Many Requests", "SlowDown"), ImageReason.STORE_ERROR),
    (refusal("500 Internal Server Error", "InternalError"), ImageReason.STORE_ERROR),
    (refusal("503 Slow Down", "SlowDown"), ImageReason.STORE_ERROR),
    (answer("200 OK", b"cut", *OBJECT, length=100), ImageReason.CONNECTION),
    (answer("200 OK", b"", *OBJECT, length=10**12), ImageReason.TOO_LARGE),
    (b"220 smtp.example.com\r\n", ImageReason.STORE_ERROR),
    (b"", ImageReason.CONNECTION),
]


@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize(("said", "reason"), ANSWERS, ids=lambda value: str(value)[:50])
def test_an_answer_has_its_reason(
    stub: Stub, stores: Stores, scheme: str, said: bytes, reason: ImageReason
) -> None:
    stub.answer = said

    assert reason_of(lambda: stores(f"{scheme}://shop").fetch(f"{scheme}://shop/x")) is reason
    assert len(stub.asked) == 1


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_store_is_asked_on_condition_of_the_etag(stub: Stub, stores: Stores, scheme: str) -> None:
    stub.answer = answer("304 Not Modified", b"", *OBJECT)
    known = Validators('"e"', "Wed, 25 Nov 2026 08:00:00 GMT", "0" * 32)

    assert stores(f"{scheme}://shop").fetch(f"{scheme}://shop/x", known) == Unchanged(known)
    assert stub.asked == [("/shop/x", '"e"')]


@pytest.mark.parametrize("bytes_sent", ["head", "body"])
def test_an_answer_that_drips_costs_the_time_limit(stub: Stub, stores: Stores, bytes_sent: str) -> None:
    stub.answer = answer("200 OK", b"x" * 1000, *OBJECT)
    stub.pause_s = 0.05 if bytes_sent == "head" else 0.005
    source, began = stores(timeout_s=1.0), time.monotonic()

    assert reason_of(lambda: source.fetch(f"{SHOP}/x")) is ImageReason.TIMEOUT
    assert 0.9 < time.monotonic() - began < 1.8


def test_a_key_that_reads_like_the_librarys_words_decides_nothing(stub: Stub, stores: Stores) -> None:
    key = 'inner: Status { status: 404, body: Some( "<Code>NoSuchKey</Code>", kind: Timeout,'
    stub.answer = refusal("404 Not Found", "NoSuchBucket")

    assert reason_of(lambda: stores().fetch(f"{SHOP}/{quote(key)}")) is ImageReason.STORE_ERROR


@pytest.mark.parametrize(
    "reference",
    [
        "s3://other/x",
        "gs://shop/x",
        "gs://shop/publicity/x",
        "gs://shop/public",
        "s3://shop2/x",
        "s3://sho/x",
    ],
)
def test_what_is_outside_the_allowed_buckets_is_never_asked_for(
    stub: Stub, stores: Stores, reference: str
) -> None:
    stub.answer = answer("200 OK", b"private", *OBJECT)
    source = stores(SHOP, "gs://shop/public")

    assert reason_of(lambda: source.fetch(reference)) is ImageReason.OUTSIDE_ROOT
    assert stub.connections == 0
    assert body_of(source.fetch("gs://shop/public/x")).data == b"private"
    assert stub.connections == 1


def test_credentials_that_do_not_come_cost_all_who_wait_the_time_limit_and_no_more(
    environment: pytest.MonkeyPatch, stores: Stores
) -> None:
    with socket.create_server((HOST, 0)) as silent:
        environment.setenv("AWS_METADATA_ENDPOINT", f"http://{HOST}:{silent.getsockname()[1]}")
        source, began = stores(timeout_s=1.0), time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            reasons = list(pool.map(lambda _: reason_of(lambda: source.fetch(f"{SHOP}/x")), range(8)))

        assert set(reasons) == {ImageReason.TIMEOUT}
        assert time.monotonic() - began < 1.8


# --- References and configuration; no server.


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("s3://shop/a.jpg", "a.jpg"),
        ("GS://shop/a.jpg", "a.jpg"),
        ("s3://shop/a%20b.jpg", "a b.jpg"),
        ("s3://shop/a+b.jpg", "a+b.jpg"),
        ("s3://shop/a%2520b", "a%20b"),
        ("s3://shop/a%2Fb", "a/b"),
        ("s3://shop/%C3%A4", "ä"),
        ("s3://shop/...", "..."),
        ("s3://shop/a..b", "a..b"),
        (f"s3://shop/{'k' * KEY_BYTES}", "k" * KEY_BYTES),
    ],
)
def test_a_reference_names_a_key(reference: str, key: str) -> None:
    name = object_of(reference)

    assert (name.bucket, name.key) == ("shop", key)
    assert bucket_of(reference) == f"{urlsplit(reference).scheme}://shop"


@pytest.mark.parametrize(
    "reference",
    [
        "s3://shop",
        "s3://shop/",
        "s3:///a.jpg",
        "s3:shop/a.jpg",
        "s3://shop//a.jpg",
        "s3://shop/a//b.jpg",
        "s3://shop/a/",
        "s3://shop/../other/a.jpg",
        "s3://shop/a/../../b",
        "s3://shop/./a.jpg",
        "s3://shop/%2e%2e/a.jpg",
        "s3://shop/a%2f..%2fb",
        "s3://shop/a%2F%2Fb",
        "s3://shop/a\nb",
        "s3://shop/a%0Ab",
        "s3://shop/a%00",
        "s3://shop/a\x7f",
        "s3://shop/a\u0085",
        "s3://shop/100%.jpg",
        "s3://shop/%zz",
        "s3://shop/%ff",
        "s3://shop/\ud800",
        "s3://shop/a.jpg?versionId=1",
        "s3://shop/a.jpg#x",
        "s3://key:secret@shop/a.jpg",
        "s3://shop:443/a.jpg",
        "s3://shop%2F/a.jpg",
        "s3://[::1]/a.jpg",
        "s3://-shop/a.jpg",
        "s3://../a.jpg",
        "s3n://shop/a.jpg",
        "https://shop/a.jpg",
        f"s3://shop/{'k' * (KEY_BYTES + 1)}",
        f"s3://shop/{'ä' * (KEY_BYTES // 2 + 1)}",
        "",
    ],
    ids=lambda reference: ascii(reference)[:40],
)
def test_a_reference_that_names_no_key_is_refused(stub: Stub, stores: Stores, reference: str) -> None:
    assert reason_of(lambda: stores().fetch(reference)) is ImageReason.BAD_REFERENCE
    assert bucket_of(reference) is None
    assert stub.connections == 0


@pytest.mark.parametrize(
    "entry",
    ["shop", "s3://", "s3://shop/../x", "s3://a:b@shop", "https://shop", "s3://shop//", "s3://shop/%"],
)
def test_an_entry_that_is_no_bucket_is_the_operators_to_mend(stores: Stores, entry: str) -> None:
    with pytest.raises(ConfigurationError, match="is no bucket for pictures"):
        stores(entry)


def test_credentials_that_cannot_be_read_are_the_operators_to_mend(
    environment: pytest.MonkeyPatch, stores: Stores
) -> None:
    environment.setenv("GOOGLE_SERVICE_ACCOUNT", "/nowhere.json")

    with pytest.raises(ConfigurationError, match=r"^gs://shop: .*/nowhere\.json.*No such file") as caught:
        stores("gs://shop")

    assert "\n" not in str(caught.value)


def test_without_the_extra_buckets_ask_for_it_and_no_buckets_do_not(
    environment: pytest.MonkeyPatch, stores: Stores
) -> None:
    for module in ("obstore", "obstore.exceptions", "obstore.store"):
        environment.setitem(sys.modules, module, None)

    ObjectStores([], MAX_BYTES, 1.0).close()
    with pytest.raises(ConfigurationError, match=r"pip install adgauge\[objectstore\]"):
        stores()


def test_the_extra_is_not_imported_before_a_bucket_is_allowed() -> None:
    code = "import sys, adgauge.images.objects; print('obstore' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert ran.stdout == "False\n"


def test_what_is_ours_passes() -> None:
    assert {ImageReason.STORE_ERROR, ImageReason.CONNECTION, ImageReason.TIMEOUT} <= TRANSIENT
    assert not {ImageReason.HTTP_ERROR, ImageReason.OUTSIDE_ROOT, ImageReason.BAD_REFERENCE} & TRANSIENT

"""`adgauge doctor` against servers of ours over real sockets: good, broken, hostile, and with TLS."""

import io
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from PIL import Image

from adgauge.cli import main
from tests.misbehaving_server import DATE, Server, serve, whole

Doctor = Callable[..., Any]


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (6, 3), 9).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def allowed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures may come from `localhost`, and nothing else than what they need is set."""
    for name in ("KAFKA_BOOTSTRAP", "REDIS_URL", "TRITON_URL", "MODEL_DIR"):
        monkeypatch.delenv(f"ADGAUGE_{name}", raising=False)
    monkeypatch.setenv("ADGAUGE_IMAGE_SCHEMES", "http,https")
    monkeypatch.setenv("ADGAUGE_IMAGE_NETWORKS", "127.0.0.0/8,::1/128")
    monkeypatch.setenv("ADGAUGE_IMAGE_PORTS", str(server.port))
    monkeypatch.setenv("ADGAUGE_IMAGE_TIMEOUT_S", "1")


@pytest.fixture
def doctor(allowed: None, capsys: pytest.CaptureFixture[str]) -> Doctor:
    def run(url: str, code: int) -> Any:
        assert main(["doctor", url, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


def steps(diagnosis: Any) -> dict[str, str]:
    return {each["step"]: each["detail"] for each in diagnosis["steps"]}


def test_each_step_to_a_picture_is_told(server: Server, doctor: Doctor) -> None:
    server.answers["/png"] = whole(png(), "Content-Type: image/png", 'ETag: "one"', f"Last-Modified: {DATE}")
    diagnosis = doctor(server.url("/to?/png", host="localhost"), 0)
    told = [each["step"] for each in diagnosis["steps"]]
    details = steps(diagnosis)

    assert told[:7] == ["scheme", "parsed", "url", "resolve", "connect", "request", "status"]
    assert [each for each in told if each in ("redirect", "body", "later", "decode")] == [
        "redirect", "body", "later", "decode",
    ]  # fmt: skip
    assert details["resolve"] == "127.0.0.1 may be asked: in 127.0.0.0/8 of ADGAUGE_IMAGE_NETWORKS"
    assert details["body"] == f"{len(png())} bytes, image/png"
    assert details["later"] == (
        f'etag "one", last-modified {DATE}: asked about every time, a 304 costs no body'
    )
    assert details["decode"].startswith("PNG, 6 x 3, mode L, in ")


@pytest.mark.parametrize(
    ("headers", "later"),
    [
        (("Cache-Control: max-age=3600",), "may be reused for 3600 s"),
        ((), "no validators: downloaded each time"),
    ],
)
def test_what_happens_the_next_time_is_told(
    server: Server, doctor: Doctor, headers: tuple[str, ...], later: str
) -> None:
    server.answers["/png"] = whole(png(), *headers)

    assert steps(doctor(server.url("/png", host="localhost"), 0))["later"] == later


@pytest.mark.parametrize(
    ("path", "reason", "lasting"),
    [
        ("/missing", "not_found", True),
        ("/forbidden", "http_error", True),
        ("/broken", "server_error", False),
        ("/limited", "rate_limited", False),
        ("/slow-body", "timeout", False),
        ("/garbage", "connection", False),
        ("/html", "unsupported_format", True),
        ("/to-metadata", "forbidden_address", True),
        ("/to-mapped", "forbidden_address", True),
        ("/to-file", "scheme_not_allowed", True),
        ("/loop", "http_error", True),
    ],
)
def test_no_picture_has_a_reason_and_a_remedy(
    server: Server, doctor: Doctor, path: str, reason: str, lasting: bool
) -> None:
    verdict = doctor(server.url(path, host="localhost"), 1)["verdict"]

    assert (verdict["reason"], verdict["lasting"]) == (reason, lasting)
    assert verdict["what_to_do"]
    assert ("rescore" in verdict["what_happens"]) is not lasting


def test_what_the_host_asks_for_is_told(server: Server, doctor: Doctor) -> None:
    verdict = doctor(server.url("/limited", host="localhost"), 1)["verdict"]

    assert verdict["detail"] == "HTTP 429 (asked to wait 7 s)"


def test_nothing_that_a_server_says_reaches_the_terminal_as_it_is(
    server: Server, allowed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\x07\x9b31m"
    server.answers["/evil"] = whole(png(), f"Content-Type: image/png{evil}")
    server.answers["/evil-place"] = whole(b"", f"Location: /{evil}{'x' * 5000}", status="302 Found")
    server.answers["/evil-words"] = whole(b"", f"Content-Encoding: {evil}")
    for path in ("/evil", "/evil-place", "/evil-words"):
        main(["doctor", server.url(path, host="localhost")])
    shown = capsys.readouterr()

    assert shown.err == ""
    assert all(line.isprintable() for line in shown.out.splitlines())
    assert "\\x1b[2J" in shown.out
    assert max(map(len, shown.out.splitlines())) < 1500


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with serve(context) as running:
        running.answers["/png"] = whole(png())
        yield running


def test_tls_is_told_and_a_certificate_of_nobody_known_is_refused(
    secure: Server,
    authority: trustme.CA,
    doctor: Doctor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("ADGAUGE_IMAGE_PORTS", str(secure.port))
    url = secure.url("/png", host="localhost", scheme="https")
    unknown = doctor(url, 1)["verdict"]
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("ADGAUGE_IMAGE_CA_FILE", str(tmp_path / "ca.pem"))
    known = doctor(url, 0)

    assert (unknown["reason"], unknown["lasting"]) == ("tls", False)
    assert "ADGAUGE_IMAGE_CA_FILE" in unknown["what_to_do"]
    assert steps(known)["tls"].startswith("TLSv1.3, certificate of ")

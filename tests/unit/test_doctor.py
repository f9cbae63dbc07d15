"""`adgauge doctor` on references that need no network, and what it says of reasons and addresses."""

import io
import json
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adgauge.adapters.settings import ServerSettings
from adgauge.canonical.data_url import data_url
from adgauge.canonical.image import TRANSIENT, ImageReason
from adgauge.cli import main
from adgauge.cli.remedies import REMEDIES, consequence, kind_of
from adgauge.images.guard import is_allowed
from tests.brightness import grey_url

Doctor = Callable[..., Any]


@pytest.fixture(autouse=True)
def defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServerSettings.model_fields:
        monkeypatch.delenv(f"ADGAUGE_{name.upper()}", raising=False)
    monkeypatch.setenv("ADGAUGE_IMAGE_SCHEMES", "https,data")


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    def run(reference: str, code: int, *arguments: str) -> Any:
        assert main(["doctor", reference, "--json", *arguments]) == code
        return json.loads(capsys.readouterr().out)

    return run


def steps(diagnosis: Any) -> dict[str, str]:
    return {each["step"]: each["detail"] for each in diagnosis["steps"]}


def test_every_reason_has_a_remedy_and_a_consequence() -> None:
    assert set(REMEDIES) == set(ImageReason)
    for reason in ImageReason:
        told = consequence(reason, required=False, several=False, patience_s=900)
        assert "flagged no_image" in told
        assert ("waited for" in told and "rescore" in told) is (reason in TRANSIENT)
        assert "rejected" in consequence(reason, required=True, several=False, patience_s=900)
        assert "other pictures" in consequence(reason, required=False, several=True, patience_s=900)


def test_every_setting_that_a_remedy_names_exists() -> None:
    named = {
        word.strip("…,;:=")
        for text in REMEDIES.values()
        for word in text.replace("=", " ").split()
        if word.startswith("ADGAUGE_")
    }

    assert len(named) >= 9
    assert named <= {f"ADGAUGE_{name.upper()}" for name in ServerSettings.model_fields}


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("10.1.2.3", "private"),
        ("169.254.169.254", "link-local, where clouds keep their metadata"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("0.0.0.1", "this machine"),
        ("224.0.0.1", "multicast"),
        ("192.0.2.1", "documentation"),
        ("168.63.129.16", "a cloud's host agent"),
        ("240.0.0.1", "of a special purpose"),
        ("::ffff:10.0.0.1", "10.0.0.1 as IPv6: private"),
        ("64:ff9b::7f00:1", "127.0.0.1 through NAT64: loopback"),
        ("fe80::1%eth0", "link-local"),
        ("9.9.9.9", "public"),
        ("2606:4700::1", "public"),
        ("172.16.3.4", "in 172.16.0.0/12 of ADGAUGE_IMAGE_NETWORKS"),
        ("nonsense", "no address that can be judged"),
    ],
)
def test_an_address_is_named_by_what_it_is(address: str, kind: str) -> None:
    allowed = (ip_network("172.16.0.0/12"),)

    assert kind_of(address, allowed) == kind
    assert is_allowed(address, allowed) is (kind == "public" or "ADGAUGE" in kind)


def test_a_picture_inside_the_record_is_ok(doctor: Doctor) -> None:
    diagnosis = doctor(grey_url(7), 0)

    assert diagnosis["verdict"]["ok"] is True
    assert steps(diagnosis)["decode"].startswith("PNG, 8 x 8, mode L, in ")
    assert "--model" in steps(diagnosis)["canonical"]


def test_a_model_says_what_the_picture_becomes(doctor: Doctor, brightness_dir: Path) -> None:
    diagnosis = doctor(grey_url(7), 0, "--model", str(brightness_dir))

    assert steps(diagnosis)["canonical"] == "224 x 224 RGB"


def test_orientation_and_mode_are_told(doctor: Doctor) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("CMYK", (30, 20)).save(buffer, "JPEG", exif=exif)
    diagnosis = doctor(data_url(buffer.getvalue(), "image/jpeg"), 0)

    assert steps(diagnosis)["decode"].startswith("JPEG, 30 x 20, mode CMYK, EXIF orientation 6, in ")


@pytest.mark.parametrize(
    ("reference", "reason", "remedy"),
    [
        ("ftp://host/x.png", "scheme_not_allowed", "ADGAUGE_IMAGE_SCHEMES="),
        ("photos/x.png", "scheme_not_allowed", "ADGAUGE_IMAGE_SCHEMES="),
        ("https://user:secret@host/x.png", "bad_reference", "without credentials"),
        ("https://host/\x1b[31mred", "bad_reference", "https://host/path"),
        ("https://10.0.0.1/x.png", "forbidden_address", "ADGAUGE_IMAGE_NETWORKS="),
        ("https://9.9.9.9:8443/x.png", "forbidden_address", "ADGAUGE_IMAGE_PORTS="),
        ("https://metadata.google.internal/x", "forbidden_address", "ADGAUGE_IMAGE_NETWORKS="),
        ("//[::ffff:10.0.0.1]/x.png", "forbidden_address", "ADGAUGE_IMAGE_NETWORKS="),
        ("data:image/png;base64,iVBORw0KGgo=", "undecodable", "save it again"),
        ("data:,<svg/>", "unsupported_format", "publish the picture as JPEG"),
    ],
)
def test_what_is_refused_or_broken_has_its_reason_and_a_remedy(
    doctor: Doctor, reference: str, reason: str, remedy: str
) -> None:
    verdict = doctor(reference, 1)["verdict"]

    assert (verdict["ok"], verdict["reason"], verdict["lasting"]) == (False, reason, True)
    assert "flagged no_image" in verdict["what_happens"]
    assert remedy in verdict["what_to_do"]


def test_a_url_is_shown_as_it_is_read(doctor: Doctor) -> None:
    diagnosis = doctor("HTTPS://Bücher.example:8443/ä?q=1#part", 1)

    assert steps(diagnosis)["parsed"] == "https, host xn--bcher-kva.example, port 8443, path /%C3%A4?q=1"


def test_the_lists_of_hosts_are_told(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADGAUGE_IMAGE_HOSTS", "*.cdn.example")
    diagnosis = doctor("https://other.example/x.png", 1)

    assert steps(diagnosis)["hosts"] == "allowed: *.cdn.example; denied: none"
    assert diagnosis["verdict"]["reason"] == "host_not_allowed"
    assert "ADGAUGE_IMAGE_HOSTS" in diagnosis["verdict"]["what_to_do"]


def test_files_are_those_below_the_roots(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "x.png")
    (tmp_path / "out.png").symlink_to("/etc/passwd")
    monkeypatch.setenv("ADGAUGE_IMAGE_SCHEMES", "file")
    monkeypatch.setenv("ADGAUGE_IMAGE_ROOTS", str(tmp_path))

    assert steps(doctor("x.png", 0))["roots"] == str(tmp_path)
    assert doctor("missing.png", 1)["verdict"]["reason"] == "not_found"
    assert doctor("out.png", 1)["verdict"]["reason"] == "outside_root"


def test_objects_are_those_in_the_buckets(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADGAUGE_IMAGE_SCHEMES", "s3")
    monkeypatch.setenv("ADGAUGE_IMAGE_BUCKETS", "s3://ours/pictures/")
    diagnosis = doctor("s3://ours/private/x.png", 1)

    assert steps(diagnosis)["buckets"] == "s3://ours/pictures/"
    assert diagnosis["verdict"]["reason"] == "outside_root"
    assert "ADGAUGE_IMAGE_BUCKETS=" in diagnosis["verdict"]["what_to_do"]


def test_the_last_line_is_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "https://10.0.0.1/x.png"]) == 1
    *told, verdict = capsys.readouterr().out.splitlines()

    assert [line.split()[0] for line in told] == ["scheme", "parsed", "url", "resolve"]
    assert told[-1].endswith("10.0.0.1 must not be asked: private")
    assert verdict.startswith("refused: forbidden_address (lasting): 10.0.0.1 is not a public address;")
    assert "; what happens: " in verdict
    assert "; what to do: " in verdict


def test_a_model_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor", grey_url(1), "--model", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1

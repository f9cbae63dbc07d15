"""The picture server itself: each behaviour that measurements lean on, and its counts."""

import gzip
import io
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse, IncompleteRead

import pytest
from PIL import Image

from services.embedded.workspace import Workspace
from tests.pictures.answers import HOSTILE
from tests.pictures.hosts import HOSTS, PictureHosts, running_hosts
from tests.pictures.server import State

FIRST, SECOND, THIRD = HOSTS
PATH = "/p/200/a.png"


@pytest.fixture(scope="module")
def running(workspace: Workspace) -> Iterator[PictureHosts]:
    with running_hosts(workspace) as hosts:
        yield hosts


@pytest.fixture
def hosts(running: PictureHosts) -> PictureHosts:
    """All up, and nothing counted."""
    for address in running.addresses:
        running.enter(address, State.UP)
    running.count_anew()
    return running


def connected(hosts: PictureHosts, address: str, timeout_s: float = 5.0) -> HTTPConnection:
    return HTTPConnection(address, hosts.port, timeout=timeout_s)


def get(hosts: PictureHosts, path: str, address: str = FIRST, **headers: str) -> HTTPResponse:
    connection = connected(hosts, address)
    connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
    return connection.getresponse()


def level(body: bytes) -> object:
    return Image.open(io.BytesIO(body)).convert("L").getpixel((0, 0))


@pytest.mark.parametrize(
    ("path", "etag", "cached"),
    [
        ("/p/200/a.png", '"grey-200"', None),
        ("/fresh/200/a.png", '"grey-200"', "max-age=86400"),
        ("/bare/200/a.png", None, None),
    ],
)
def test_a_path_names_a_picture_and_its_validators(
    hosts: PictureHosts, path: str, etag: str | None, cached: str | None
) -> None:
    answer = get(hosts, path)

    assert (answer.status, level(answer.read())) == (200, 200)
    assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (etag, cached)


def test_who_has_the_picture_is_told_that_it_is_unchanged(hosts: PictureHosts) -> None:
    answer = get(hosts, PATH, If_None_Match='"grey-200"')

    assert (answer.status, answer.read()) == (304, b"")
    assert hosts.seen()[FIRST].not_modified == 1
    assert get(hosts, PATH, If_None_Match='"grey-1"').status == 200
    assert get(hosts, "/bare/200/a.png", If_None_Match='"grey-200"').status == 200


def test_a_changed_picture_has_another_etag(hosts: PictureHosts) -> None:
    hosts.change(FIRST, "/p/200/changed.png", 10)
    answer = get(hosts, "/p/200/changed.png", If_None_Match='"grey-200"')

    assert (answer.status, level(answer.read()), answer.headers["ETag"]) == (200, 10, '"grey-10"')
    assert get(hosts, "/p/200/changed.png", If_None_Match='"grey-10"').status == 304


def test_a_connection_is_kept_for_the_next_request(hosts: PictureHosts) -> None:
    connection = connected(hosts, SECOND)
    for number in range(3):
        connection.request("GET", f"/p/{number}/a.png")
        assert level(connection.getresponse().read()) == number
    seen = hosts.seen()[SECOND]
    connection.close()

    assert (seen.requests, seen.bodies, seen.connections, seen.most_open) == (3, 3, 1, 1)
    assert seen.statuses == {200: 3}
    assert hosts.seen()[FIRST].requests == 0


def test_paths_that_name_nothing_are_not_found(hosts: PictureHosts) -> None:
    for path in ("/dead/1", "/p/256/a.png", "/p/x/a.png", "/p/1/", "/slow/x/1", "/hostile/x/1", "/"):
        assert get(hosts, path).status == 404


@pytest.mark.parametrize("how", ["head", "body"])
def test_a_dripping_answer_goes_on_and_is_never_done(hosts: PictureHosts, how: str) -> None:
    with socket.create_connection((FIRST, hosts.port), 5.0) as client:
        client.sendall(f"GET /slow/{how}/1 HTTP/1.1\r\n\r\n".encode())
        received = client.recv(4096)
        while not received.endswith(b"xxx"):
            received += client.recv(1)

    assert (b"\r\n\r\n" in received) == (how == "body")


def test_a_silent_answer_never_comes(hosts: PictureHosts) -> None:
    with socket.create_connection((FIRST, hosts.port), 0.5) as client:
        client.sendall(b"GET /slow/silent/1 HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_refusing_host_takes_nobody_and_keeps_nobody(hosts: PictureHosts) -> None:
    connection = connected(hosts, FIRST)
    connection.request("GET", PATH)
    connection.getresponse().read()
    hosts.enter(FIRST, State.REFUSING)

    with pytest.raises(ConnectionError):
        get(hosts, PATH)
    with pytest.raises(ConnectionError):
        connection.sock.recv(1)
    connection.close()
    assert get(hosts, PATH, SECOND).status == 200
    hosts.enter(FIRST, State.UP)
    assert get(hosts, PATH).status == 200


def test_a_hanging_host_takes_requests_and_cuts_them_when_it_is_back(hosts: PictureHosts) -> None:
    hosts.enter(FIRST, State.HANGING)
    with socket.create_connection((FIRST, hosts.port), 0.3) as client:
        client.sendall(b"GET /p/1/a.png HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert hosts.seen()[FIRST].requests == 1
        hosts.enter(FIRST, State.UP)
        client.settimeout(5.0)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_an_unavailable_host_says_when_to_come_again(hosts: PictureHosts) -> None:
    hosts.enter(FIRST, State.UNAVAILABLE, retry_after_s=7)
    answer = get(hosts, PATH)

    assert (answer.status, answer.headers["Retry-After"]) == (503, "7")


def test_a_resetting_host_hangs_up_on_each_request(hosts: PictureHosts) -> None:
    hosts.enter(FIRST, State.RESETTING)

    with pytest.raises(ConnectionResetError):
        get(hosts, PATH)


def test_a_late_host_answers_each_after_a_while(hosts: PictureHosts) -> None:
    hosts.enter(FIRST, State.LATE, late_s=0.4)
    with socket.create_connection((FIRST, hosts.port), 0.2) as client:
        client.sendall(b"GET /p/7/a.png HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(5.0)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("how", [how for how in HOSTILE if how.startswith("to-") or how == "loop"])
def test_a_hostile_redirect_leads_where_it_says(hosts: PictureHosts, how: str) -> None:
    path = f"/hostile/{how}/1"
    expected = {
        "to-metadata": "http://169.254.169.254/latest/meta-data/",
        "to-mapped": "http://[::ffff:10.0.0.1]/picture.png",
        "to-port": "http://127.0.0.1:9/picture.png",
        "to-file": "file:///etc/passwd",
        "loop": path,
    }
    answer = get(hosts, path)

    assert (answer.status, answer.headers["Location"]) == (302, expected[how])


def test_a_hostile_body_is_what_it_says(hosts: PictureHosts) -> None:
    assert get(hosts, "/hostile/html/1").read().startswith(b"<!doctype html>")
    assert get(hosts, "/hostile/svg/1").read().startswith(b"<svg")
    with pytest.raises(IncompleteRead):
        get(hosts, "/hostile/wrong-length/1").read()
    with pytest.raises(OSError, match="truncated"):
        Image.open(get(hosts, "/hostile/truncated-jpeg/1")).load()
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(get(hosts, "/hostile/huge-png/1").read()))


def test_a_gzip_bomb_grows_a_thousandfold(hosts: PictureHosts) -> None:
    packed = get(hosts, "/hostile/gzip-bomb/1").read()
    with gzip.open(io.BytesIO(packed)) as unpacked:
        size = sum(len(piece) for piece in iter(lambda: unpacked.read(2**20), b""))

    assert size > 100 * 2**20 > 500 * len(packed)


def test_an_endless_body_does_not_end_and_holds_nobody_up(hosts: PictureHosts) -> None:
    with socket.create_connection((FIRST, hosts.port), 5.0) as client:
        client.sendall(b"GET /hostile/endless/1 HTTP/1.1\r\n\r\n")
        received = 0
        while received < 20 * 2**20:
            received += len(client.recv(2**20))
        assert get(hosts, PATH).status == 200

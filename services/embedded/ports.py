"""Free loopback ports."""

import random
import socket
from collections.abc import Collection

from services.embedded.processes import ServerFailed

HOST = "127.0.0.1"
# Below the kernel's ephemeral range, so that no outgoing connection takes a port before its server does.
_LOWEST, _HIGHEST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback interface now."""
    with socket.socket() as probe:
        # As servers do: connections of a server that has just ended do not block its successor.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(besides: Collection[int] = ()) -> int:
    """A port that is free now, drawn at random: side by side starts do not meet.

    It is none of `besides`, which are somebody's already though nobody listens yet.
    """
    draw = random.SystemRandom()
    while (port := draw.randrange(_LOWEST, _HIGHEST)) in besides or not is_free(port):
        pass
    return port


def claim(port: int | None, setting: str) -> int:
    """`port` if it is free, or any free one for None; raises ServerFailed naming `setting`."""
    if port is None:
        return free_port()
    if not is_free(port):
        raise ServerFailed(
            f"port {port} on {HOST} is in use: stop the program that holds it or change {setting}"
        )
    return port

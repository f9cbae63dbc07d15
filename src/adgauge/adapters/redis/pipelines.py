"""Many commands of one key each in one trip a node.

redis-py's own ClusterPipeline refuses EVALSHA and does not recover from a time-out (redis-py#3130), so
commands are grouped by the slot map here and go to each node as an ordinary pipeline.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    SlotNotCoveredError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from adgauge.adapters.redis.connection import FAILURES, Client, translated

Words = tuple[str, ...]

ROUNDS = 4
"""A command may be sent so often: a slot that moved, then a node that does not know the script, and once
more for each."""
_LEFT_BEHIND = (ReadOnlyError, ClusterDownError, TryAgainError, BusyLoadingError)
"""Answers of a node that is not, or not yet, the one to ask."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of one key that may be sent twice; `in_full` does the same where its script is unknown."""

    key: str
    words: Words
    in_full: Words | None = None


class Pipelines:
    """Sends commands to whoever holds their keys. Threads may share it.

    A call ends within about two time-outs of the client: one node that hangs costs one, and learning
    where its slots are now, at the next call, another. `closing` is sent to every node last, on the
    connection of the others.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._doubted: str | None = None
        """The node because of which the slot map must be read again; empty: of no node in particular."""

    def run(self, commands: Sequence[Command], closing: Words | None = None) -> tuple[list[Any], list[Any]]:
        """The answer to each command, and of each node to `closing`, one for each trip.

        An error that a server answers a command with is an answer. Raises BackendUnavailable, and
        then any part may have been done, or ConfigurationError.
        """
        with translated():
            self._look_again()
            return self._run(commands, closing)

    def values(self, keys: Sequence[str]) -> list[str | None]:
        """What the keys hold, None where that is nothing or no string; raises what `run` raises.

        A cluster's nodes refuse MGET of several slots, so there it is one GET for each key.
        """
        if not isinstance(self._client, RedisCluster):
            return cast(list[str | None], self.one(keys[0], "MGET", *keys)) if keys else []
        answers, _ = self.run([Command(key, ("GET", key)) for key in keys])
        return [None if _is_no_string(answer) else raised(answer) for answer in answers]

    def one(self, key: str, *words: str) -> Any:
        """The answer to one command; raises what `run` raises, and for an error too."""
        ((answer,), _) = self.run([Command(key, words)])
        return raised(answer)

    def _run(self, commands: Sequence[Command], closing: Words | None) -> tuple[list[Any], list[Any]]:
        answers: dict[int, Any] = {}
        closings: list[Any] = []
        waiting = {number: command.words for number, command in enumerate(commands)}
        for _ in range(ROUNDS):
            for node, numbers in self._by_node(commands, waiting).items():
                said = self._send(node, [waiting[number] for number in numbers], closing, closings)
                answers.update(zip(numbers, said, strict=True))
            waiting = self._to_send_again(commands, waiting, answers, closing, closings)
            if not waiting:
                return [answers[number] for number in range(len(commands))], closings
        self._doubted = ""
        raise answers[next(iter(waiting))]

    def _by_node(
        self, commands: Sequence[Command], waiting: Iterable[int]
    ) -> Mapping[ClusterNode | None, list[int]]:
        """Numbers of commands by who holds their keys; a single server is None."""
        if not isinstance(self._client, RedisCluster):
            return {None: list(waiting)} if commands else {}
        groups: dict[ClusterNode | None, list[int]] = defaultdict(list)
        for number in waiting:
            groups[self._holder(self._client, commands[number].key)].append(number)
        return groups

    def _holder(self, cluster: RedisCluster, key: str) -> ClusterNode:
        try:
            return cast(ClusterNode, cast(Any, cluster).get_node_from_key(key))
        except SlotNotCoveredError:
            self._doubted = ""
            raise

    def _send(
        self, node: ClusterNode | None, words: Sequence[Words], closing: Words | None, closings: list[Any]
    ) -> list[Any]:
        pipeline: Any = self._server(node).pipeline(transaction=False)
        for command in [*words, closing] if closing else words:
            pipeline.execute_command(*command)
        try:
            said: list[Any] = pipeline.execute(raise_on_error=False)
        except (RedisConnectionError, RedisTimeoutError):
            self._doubted = node.name if node else ""
            raise
        closings += said[len(words) :]
        return said[: len(words)]

    def _server(self, node: ClusterNode | None) -> redis.Redis:
        if isinstance(self._client, RedisCluster):
            return self._client.get_redis_connection(cast(ClusterNode, node))
        return self._client

    def _to_send_again(
        self,
        commands: Sequence[Command],
        sent: Mapping[int, Words],
        answers: dict[int, Any],
        closing: Words | None,
        closings: list[Any],
    ) -> dict[int, Words]:
        again = {}
        for number, words in sent.items():
            answer, in_full = answers[number], commands[number].in_full
            if isinstance(answer, MovedError) and isinstance(self._client, RedisCluster):
                self._client.nodes_manager.move_slot(answer)
                again[number] = words
            elif isinstance(answer, AskError):
                answers[number] = self._ask(answer, in_full or words, closing, closings)
            elif isinstance(answer, NoScriptError) and in_full:
                again[number] = in_full
            elif isinstance(answer, _LEFT_BEHIND):
                self._doubted = ""
                raise answer
        return again

    def _ask(self, ask: AskError, words: Words, closing: Words | None, closings: list[Any]) -> Any:
        """Ask the node that a key is just being moved to; the slot map stays."""
        cluster = cast(Any, self._client)
        node = cluster.get_node(ask.host, ask.port)
        if node is None:
            self._doubted = ""
            raise ask
        return self._send(node, [("ASKING",), words], closing, closings)[-1]

    def _look_again(self) -> None:
        """Read the slot map again after it was wrong; one server's name may lead to another one by now."""
        doubted, self._doubted = self._doubted, None
        if doubted is None:
            return
        if not isinstance(self._client, RedisCluster):
            self._client.connection_pool.disconnect(inuse_connections=False)
            return
        try:
            self._client.nodes_manager.initialize(last_failed_node_name=doubted or None)
        except FAILURES:
            self._doubted = doubted
            raise


def raised(answer: Any) -> Any:
    """The answer, unless it is an error: then raises what we call it."""
    if isinstance(answer, FAILURES):
        with translated():
            raise answer
    return answer


def _is_no_string(answer: Any) -> bool:
    return isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE")

"""`adgauge scores promote | rollback | generations`: which generation recommenders read."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from adgauge.adapters.redis import Flip, Generation, Generations, Live, ScoreReader, Why, connect
from adgauge.adapters.redis.connection import close
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.cli.scores import utc
from adgauge.errors import ConfigurationError
from adgauge.monitor.gate_result import Decision, GateResult, Side, load_gate_result
from adgauge.records import CLOCK_SKEW_MS

GATE_LIVES_H = 24
"""An older result of the gate says nothing of today's scores."""
COMPARED_PRODUCTS = 1000
LEAST_FILLED = 0.9
"""Of products with a score in the live generation so many must have one in the next."""
SHOWN_FLIPS = 5


@dataclass(frozen=True, slots=True)
class Filled:
    """How many of some `products` that are scored in the live generation are `scored` in another."""

    products: int
    scored: int

    def __str__(self) -> str:
        return f"{self.scored} of {self.products} products that are scored in the live one"

    @property
    def is_enough(self) -> bool:
        """Whether recommenders would not miss scores."""
        return self.scored >= LEAST_FILLED * self.products


def promote_generation(number: int, *, gate: Path | None, force: bool, as_json: bool) -> int:
    """Make a generation live. Raises ConfigurationError, and nothing is done, where that is not shown to be
    wise, unless forced; in any case for a generation without scores.
    """
    result = load_gate_result(gate) if gate is not None else None
    with _connected() as (generations, reader):
        seen = generations.live()
        candidate = _with_scores(generations, number)
        if seen.generation == number:
            _report(seen, candidate, None, None, [], as_json=as_json)
            return 0
        filled = _filled(generations, reader, seen, number)
        lacking = [*_lacking(result, candidate, _live(generations, seen)), *_lacking_scores(filled)]
        if lacking and not force:
            raise ConfigurationError(
                f"generation {number} is not promoted: {'; '.join(lacking)}. --force promotes it nevertheless"
            )
        _flip(generations, seen, number, Why.FORCED if lacking else Why.GATE)
    _warn_forced(number, lacking)
    _report(seen, candidate, Why.FORCED if lacking else Why.GATE, filled, lacking, as_json=as_json)
    return 0


def roll_back(*, as_json: bool) -> int:
    """Make the generation live that was so before; again: the one before that.

    Raises ConfigurationError, and nothing is done, where there is none or it holds no scores any more.
    """
    with _connected() as (generations, reader):
        seen = generations.live()
        number = seen.before()
        if number is None:
            raise ConfigurationError(
                "no generation is known to have been live before: `adgauge scores generations` lists all"
            )
        before = _with_scores(generations, number)
        filled = _filled(generations, reader, seen, number)
        _flip(generations, seen, number, Why.ROLLBACK)
    _report(seen, before, Why.ROLLBACK, filled, [], as_json=as_json)
    return 0


def list_generations(*, as_json: bool) -> int:
    """Print every generation, which one is live, and how that came."""
    with _connected() as (generations, _):
        live, sizes, found = generations.live(), generations.sizes(), generations.all()
    if as_json:
        listed = [
            asdict(each) | {"live": each.number == live.generation, "products": sizes.get(each.number, 0)}
            for each in found
        ]
        history = [asdict(flip) for flip in live.flips]
        print(json.dumps({"live": live.generation, "generations": listed, "history": history}))
        return 0
    for each in found:
        mark = "live" if each.number == live.generation else ""
        print(f"{each.number}  {mark:4}  about {sizes.get(each.number, 0)} products  {_described(each)}")
    for flip in live.flips[:SHOWN_FLIPS]:
        print(_in_words(flip))
    if live.generation is None:
        print("no generation is live yet: has a scorer been started?")
    return 0


@contextmanager
def _connected() -> Iterator[tuple[Generations, ScoreReader]]:
    settings = load_settings(ServerSettings)
    client = connect(settings.redis(), settings.redis_timeout_s, settings.redis_ca_file)
    try:
        yield Generations(client), ScoreReader(client, time.monotonic)
    finally:
        close(client)


def _with_scores(generations: Generations, number: int) -> Generation:
    found = generations.described(number)
    if found is None:
        raise ConfigurationError(
            f"there is no generation {number}: `adgauge scores generations` lists those that scorers wrote"
        )
    if not generations.scored(number, 1):
        raise ConfigurationError(
            f"generation {number} holds no scores: run a scorer with ADGAUGE_GENERATION={number} first"
        )
    return found


def _live(generations: Generations, seen: Live) -> Generation | None:
    return generations.described(seen.generation) if seen.generation is not None else None


def _filled(generations: Generations, reader: ScoreReader, seen: Live, number: int) -> Filled | None:
    if seen.generation is None:
        return None
    products = generations.scored(seen.generation, COMPARED_PRODUCTS)
    scores = reader.get(products, number).scores
    return Filled(len(scores), sum(score is not None for score in scores.values()))


def _lacking_scores(filled: Filled | None) -> list[str]:
    if filled is None or filled.is_enough:
        return []
    return [f"it holds scores of only {filled}: let its scorer catch up"]


def _lacking(result: GateResult | None, candidate: Generation, live: Generation | None) -> list[str]:
    """What the gate has not shown: that these scores are as good as those that are live now."""
    if result is None:
        return ["no result of `adgauge gate` is given with --gate"]
    lacking = []
    if result.decision is not Decision.PROMOTE:
        lacking.append(f"the gate says {result.decision}: {'; '.join(result.reasons)}")
    if not _is(result.candidate, candidate):
        lacking.append(f"the gate judged {_side(result.candidate)}, this is {_described(candidate)}")
    if live is None or not _is(result.baseline, live):
        now = _described(live) if live is not None else "no generation that is described"
        lacking.append(f"the gate compared with {_side(result.baseline)}, live is {now}")
    age_ms = _now_ms() - result.decided_at_ms
    if age_ms > GATE_LIVES_H * 3_600_000:
        lacking.append(f"the gate decided on {utc(result.decided_at_ms)}, over {GATE_LIVES_H} hours ago")
    if age_ms < -CLOCK_SKEW_MS:
        lacking.append(f"the gate decided on {utc(result.decided_at_ms)}, which is yet to come")
    return lacking


def _is(side: Side, generation: Generation) -> bool:
    """Files may name no generation; a contract they must."""
    return side.contract == generation.digest and side.generation in (None, generation.number)


def _flip(generations: Generations, seen: Live, number: int, why: Why) -> None:
    if not generations.flip(seen, number, why, _now_ms()):
        live = generations.live().generation
        raise ConfigurationError(
            f"nothing is changed: somebody else was faster, generation {live} is live now; look and try again"
        )


def _warn_forced(number: int, lacking: list[str]) -> None:
    if lacking:
        print(
            f"adgauge: WARNING: generation {number} was promoted by --force, although {'; '.join(lacking)}",
            file=sys.stderr,
        )


def _report(
    seen: Live, live: Generation, why: Why | None, filled: Filled | None, lacking: list[str], *, as_json: bool
) -> None:
    """`why` None: nothing was changed."""
    if as_json:
        document = {
            "live": live.number,
            "before": seen.generation,
            "why": why,
            "model": live.model,
            "digest": live.digest,
            "lacking": lacking,
            "filled": asdict(filled) if filled is not None else None,
        }
        print(json.dumps(document, ensure_ascii=False))
        return
    if why is None:
        print(f"{_described(live)} is live already")
        return
    before = f"generation {seen.generation}" if seen.generation is not None else "none"
    print(f"{_described(live)} is live now ({why}), before it was {before}")
    if filled is not None:
        print(f"it holds scores of {filled}")


def _described(generation: Generation) -> str:
    return f"generation {generation.number} ({generation.model}, contract {generation.digest[:12]})"


def _side(side: Side) -> str:
    number = f"generation {side.generation}" if side.generation is not None else side.source
    return f"{number} ({side.model}, contract {side.contract[:12]})"


def _in_words(flip: Flip) -> str:
    before = flip.before if flip.before is not None else "none"
    return f"{utc(flip.at_ms)}  {before} → {flip.after}  {flip.why}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

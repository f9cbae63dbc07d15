"""The process of the model is SIGKILLed inside a tritonserver that goes on saying it is ready."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tritonclient.utils import InferenceServerException

from adgauge.adapters.triton import TritonClient, plain_triton
from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, load_golden
from adgauge.contract import GOLDEN_FILE, load_contract
from adgauge.records import CanonicalInput
from services.embedded.ports import HOST
from tests.chaos.checker import Verdict
from tests.chaos.commands import until
from tests.outages.load import Load, Say

NOTICED_WITHIN_S = 10.0
HEALED_WITHIN_S = 30.0
PROBE_S = 1.0
CALM_S = 2.0
"""Between two deaths, so that each is one of its own."""


@dataclass(frozen=True)
class Death:
    """Seconds until a worker showed that it knows, and until the model scored again; None: it did not."""

    idle: bool
    noticed_s: float | None
    healed_s: float | None
    not_ready: bool


@dataclass(frozen=True)
class Deaths:
    """Several of them in one world."""

    deaths: tuple[Death, ...]
    verdict: Verdict

    def of(self, *, idle: bool) -> list[Death]:
        """Those without any load, or those under load."""
        return [each for each in self.deaths if each.idle is idle]


def play(load: Load, repeats: int, say: Say) -> Deaths:
    """Kill it `repeats` times under load and as often idle, and judge; raises ServerFailed."""
    world, deaths = load.world, list[Death]()
    with _asking(f"{HOST}:{world.triton.port}", Path(world.settings["ADGAUGE_MODEL_DIR"])) as asking:
        for idle in (False, True) * repeats:
            _calm(load, idle=idle)
            deaths.append(_die(load, asking, idle=idle))
            say(f"stub killed {_where(idle)}: {_words(deaths[-1])}")
    return Deaths(tuple(deaths), load.judged())


def problems(found: Deaths) -> list[str]:
    """The bounds that were missed, in words."""
    missed = [
        f"stub killed {_where(each.idle)}: {_words(each)}"
        for each in found.deaths
        if each.noticed_s is None or each.noticed_s > NOTICED_WITHIN_S or each.healed_s is None
    ]
    if not found.verdict.sound:
        missed.append(f"stub killed: {found.verdict.lost} lost, {found.verdict.stale} stale")
    return missed


def rows(found: Deaths) -> dict[str, str]:
    """What the table says."""
    table = {}
    for idle, name in ((False, "under load"), (True, "idle")):
        deaths = found.of(idle=idle)
        noticed, healed = _seconds([each.noticed_s for each in deaths]), _healed(deaths)
        table[f"{name}: noticed, median and worst of {len(deaths)}"] = _pair(noticed)
        table[f"{name}: scoring again"] = _pair(healed)
        table[f"{name}: readiness false"] = f"{sum(each.not_ready for each in deaths)} times"
    table["lost, stale"] = f"{found.verdict.lost}, {found.verdict.stale} of {found.verdict.produced:,}"
    return table


def figures(found: Deaths) -> dict[str, object]:
    """Numbers by name, for docs/figures."""
    numbers: dict[str, object] = {"lost": found.verdict.lost, "stale": found.verdict.stale}
    for idle, name in ((False, "load"), (True, "idle")):
        deaths = found.of(idle=idle)
        noticed, healed = _seconds([each.noticed_s for each in deaths]), _healed(deaths)
        numbers[name] = {
            "times": len(deaths),
            "noticed_median_s": round(median(noticed), 1),
            "noticed_worst_s": round(max(noticed), 1),
            "healed_median_s": round(median(healed), 1),
            "healed_worst_s": round(max(healed), 1),
        }
    return numbers


def _die(load: Load, asking: "_Asking", *, idle: bool) -> Death:
    before = load.readings.latest()
    load.world.triton.kill_stub()
    began_s = time.monotonic()
    healed_s = asking.until_scored(HEALED_WITHIN_S)
    time.sleep(CALM_S)  # the last reading may still be on its way
    signs = [
        each
        for each in load.readings.between(began_s, time.monotonic())
        if each.suspects_triton_since(before[each.worker])
    ]
    noticed_s = signs[0].at_s - began_s if signs else None
    return Death(idle, noticed_s, healed_s, not all(each.ready for each in signs))


def _calm(load: Load, *, idle: bool) -> None:
    """Return when everybody is well and, without load, everything is committed."""
    if idle:
        load.catch_up()
    else:
        load.publisher.resume()
    until(lambda: _all_ready(load), HEALED_WITHIN_S, "a worker is not ready again")
    time.sleep(CALM_S)


def _all_ready(load: Load) -> bool:
    return all(each.ready for each in load.readings.latest().values())


@dataclass(frozen=True)
class _Asking:
    """Asks the model itself, without healing anything."""

    client: TritonClient
    golden: Sequence[CanonicalInput]

    def until_scored(self, timeout_s: float) -> float | None:
        """Seconds until it scores; None when it does not."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < timeout_s:
            try:
                self.client.infer(self.golden[:1])
                return time.monotonic() - began_s
            except InferenceServerException:
                time.sleep(0.05)
        return None


@contextmanager
def _asking(url: str, model_dir: Path) -> Iterator[_Asking]:
    contract = load_contract(model_dir)
    golden = canonicalize_golden(Canonicalizer(contract, model_dir), load_golden(model_dir / GOLDEN_FILE))
    with closing(TritonClient(plain_triton(url, PROBE_S), contract)) as client:
        yield _Asking(client, golden)


def _healed(deaths: Sequence[Death]) -> list[float]:
    return _seconds([each.healed_s for each in deaths])


def _seconds(found: Sequence[float | None]) -> list[float]:
    return [float("inf") if each is None else each for each in found]


def _pair(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.1f} s, {max(seconds):.1f} s"


def _where(idle: bool) -> str:
    return "idle" if idle else "under load"


def _words(death: Death) -> str:
    noticed, healed = _seconds([death.noticed_s, death.healed_s])
    return f"noticed after {noticed:.1f} s, scoring again after {healed:.1f} s"

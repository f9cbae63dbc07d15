import json

from adgauge.models.registry import SYSTEMS
from tools.recount import KEPT, RECOUNT, document


def test_the_recount_is_what_is_counted_now() -> None:
    assert RECOUNT.read_text(encoding="utf-8") == document(), "run `python tools/recount.py`"


def test_the_recount_holds_every_system() -> None:
    systems = json.loads(RECOUNT.read_text(encoding="utf-8"))["systems"]
    assert list(systems) == list(SYSTEMS)
    assert all(tuple(costs) == KEPT and all(costs.values()) for costs in systems.values())
    assert all(costs["flops"] == 2 * costs["macs"] for costs in systems.values())

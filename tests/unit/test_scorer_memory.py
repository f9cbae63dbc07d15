import gc
import weakref

from services.scorer.memory import EVERY_S, Garbage


class Knot:
    """Refers to itself, so that only a collection frees it."""

    def __init__(self) -> None:
        self.itself = self


def test_cycles_are_collected_when_it_is_time_and_not_before() -> None:
    now = 0.0
    garbage = Garbage(lambda: now)
    knot = weakref.ref(Knot())
    gc.disable()
    try:
        garbage.collect_when_due()
        assert knot() is not None
        now = EVERY_S
        garbage.collect_when_due()
        assert knot() is None
    finally:
        gc.enable()


def test_what_was_there_at_the_start_is_left_out() -> None:
    try:
        Garbage(lambda: 0.0).leave_out_what_stays()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()

"""Where a rollback leads, after any promotions, rollbacks and changes by hand."""

from hypothesis import given
from hypothesis import strategies as st

from adgauge.adapters.redis import Flip, Live, Why

NUMBERS = st.integers(1, 4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("promote"), NUMBERS),
        st.tuples(st.just("by hand"), NUMBERS),
        st.tuples(st.just("rollback"), st.just(0)),
    ),
    max_size=30,
)


@given(STEPS, st.none() | NUMBERS)
def test_it_takes_back_the_latest_change_that_is_not_taken_back(
    steps: list[tuple[str, int]], first: int | None
) -> None:
    live, flips, stack = first, list[Flip](), list[int]()

    def now() -> Live:
        return Live(live, tuple(reversed(flips)), ("", ""))

    for step, number in steps:
        if step == "rollback":
            assert now().before() == (stack[-1] if stack else None)
            if not stack:
                continue
            flips.append(Flip(0, live, stack[-1], Why.ROLLBACK))
            live = stack.pop()
        elif number != live and (step == "promote" or not flips or flips[-1].after == live):
            # Of several changes by hand in a row nobody can know more than the last.
            is_known = live is not None and (step == "promote" or bool(flips))
            stack += [live] if is_known and live is not None else []
            if step == "promote":
                flips.append(Flip(0, live, number, Why.GATE))
            live = number
    assert now().before() == (stack[-1] if stack else None)


def test_what_was_forgotten_of_a_long_history_leads_nowhere_wrong() -> None:
    flips = [Flip(0, 3, 2, Why.ROLLBACK), Flip(0, 2, 5, Why.GATE), Flip(0, 5, 2, Why.ROLLBACK)]
    assert Live(2, tuple(reversed(flips)), ("", "")).before() is None

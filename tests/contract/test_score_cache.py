"""What every `ScoreCache` does: the in-memory one."""

from adgauge.adapters.memory import MemoryScoreCache


def test_unknown_content_is_a_miss() -> None:
    assert list(MemoryScoreCache().get(["a", "b"])) == [None, None]


def test_remembered_scores_come_back_in_the_order_asked() -> None:
    cache = MemoryScoreCache()
    cache.put({"a": 1.5, "b": 2.5})

    assert list(cache.get(["b", "x", "a"])) == [2.5, None, 1.5]


def test_a_later_score_of_the_same_content_replaces_the_earlier() -> None:
    cache = MemoryScoreCache()
    cache.put({"a": 1.5})
    cache.put({"a": 2.0})

    assert list(cache.get(["a"])) == [2.0]

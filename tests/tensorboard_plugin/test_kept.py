"""What is kept from one request to the next."""

from __future__ import annotations

from gradscope.tensorboard_plugin.kept import Kept


def test_a_value_is_made_once_as_long_as_nothing_was_written() -> None:
    kept, made = Kept(), []

    def make() -> int:
        made.append(None)
        return len(made)

    assert [kept.get("a", stamp, make, lambda _: 8) for stamp in (1, 1, 2, 2)] == [1, 1, 2, 2]


def test_those_not_asked_for_longest_go_first() -> None:
    kept = Kept(most_bytes=20)
    for key in ("a", "b", "a", "c"):  # `b` is the one to go
        kept.get(key, 0, lambda key=key: key, lambda _: 10)
    assert [kept.get(key, 0, lambda: "anew", lambda _: 10) for key in ("a", "c", "b")] == ["a", "c", "anew"]


def test_what_is_too_large_is_answered_and_not_kept() -> None:
    kept = Kept(most_bytes=20)
    assert kept.get("a", 0, lambda: "large", lambda _: 21) == "large"
    assert kept.get("a", 0, lambda: "again", lambda _: 5) == "again"
    assert kept.get("b", 0, lambda: "b", lambda _: 15) == "b"
    assert kept.get("a", 0, lambda: "anew", lambda _: 5) == "again"

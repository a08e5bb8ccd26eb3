"""Which deliveries are stored already, told of histories of a session with known truth."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from hp_pipeline.sources.mqtt.messages import Message
from hp_pipeline.sources.mqtt.redelivery import MOST_UNACKNOWLEDGED, StoredDeliveries

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def delivery(number: int, payload: str, *, again: bool = False, topic: str = "a", qos: int = 1) -> Message:
    return Message(topic, payload.encode(), NOW, qos, repeated=again, number=number)


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.sampled_from("123"), min_size=1, max_size=120),
    cuts=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20), st.sampled_from(["break", "kill"])), max_size=12),
    last_number=st.integers(1, 65535),
)
def test_over_any_breaks_each_message_is_stored_just_once(
    values: list[str], cuts: list[tuple[int, int, str]], last_number: int
) -> None:
    """A broker that numbers on, has at most 20 in flight and forgets what it saw acknowledged, in order."""
    numbers = [(last_number + index) % 65535 + 1 for index in range(len(values))]
    stored: list[int] = []
    known, kept = StoredDeliveries(), ""
    acknowledged = sent = 0

    def send(upto: int) -> None:
        nonlocal known, kept, sent
        flight = range(acknowledged, min(upto, len(values)))
        messages = [delivery(numbers[index], values[index], again=index < sent) for index in flight]
        new, known = known.taken(messages)
        fresh = {id(message) for message in new}
        stored.extend(index for index, message in zip(flight, messages, strict=True) if id(message) in fresh)
        kept = known.text()
        sent = max(sent, flight.stop)

    for count, seen, end in cuts:
        send(min(acknowledged + count, acknowledged + 20))
        acknowledged = min(acknowledged + seen, sent)
        if end == "kill":
            known = StoredDeliveries(kept)
    while acknowledged < len(values):
        send(acknowledged + 20)
        acknowledged = sent
    assert stored == list(range(len(values)))


def test_a_number_that_is_used_anew_is_a_new_message_though_it_says_the_same() -> None:
    _, known = StoredDeliveries().taken([delivery(1, "21.5")])
    again = delivery(1, "21.5", again=True)
    assert known.taken([again])[0] == []
    new = delivery(1, "21.5")
    assert known.taken([new])[0] == [new]
    for other in (delivery(1, "21.6", again=True), delivery(2, "21.5", again=True), delivery(1, ".5", topic="a21")):
        assert known.taken([other])[0] == [other]


def test_what_has_no_number_is_always_new() -> None:
    messages = [delivery(0, "1", qos=0), delivery(0, "1", qos=0)]
    new, known = StoredDeliveries().taken(messages)
    assert new == messages
    assert known.text() == ""


def test_what_is_kept_is_small_and_what_is_not_understood_is_nothing() -> None:
    _, known = StoredDeliveries().taken([delivery(number, "x" * 1000) for number in range(1, 3001)])
    assert len(known.text()) < 700
    kept = StoredDeliveries(known.text())
    newest = [delivery(number, "x" * 1000, again=True) for number in range(3001 - MOST_UNACKNOWLEDGED, 3001)]
    assert kept.taken(newest)[0] == []
    before = delivery(3000 - MOST_UNACKNOWLEDGED, "x" * 1000, again=True)
    assert kept.taken([before])[0] == [before]
    assert known.taken([before])[0] == []
    for text in (None, 7, "%%%", "AAA=", "ü"):
        assert StoredDeliveries(text).text() == ""

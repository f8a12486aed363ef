"""The live stream's pure parts: requests, feeds, queues."""

import asyncio
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st

from nfvportal.lib.errors import InvalidInputError
from nfvportal.live.client import QUEUE_LENGTH, Client
from nfvportal.live.feed import RING_LENGTH, Feed
from nfvportal.live.frames import (
    MAX_TOPICS,
    Request,
    decode_request,
    error_text,
    ping_text,
    snapshot_text,
    telemetry_text,
)
from nfvportal.live.publish import encode
from nfvportal.live.topics import TOPICS, snapshot_function, topic_find
from tests.support.web import eventually

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
requests = st.dictionaries(
    st.sampled_from(["subscribe", "unsubscribe", "x"]), json_values | st.lists(st.text())
)


@given(st.text() | st.binary() | requests.map(json.dumps))
def test_any_message_is_a_request_or_invalid_input(text: str | bytes) -> None:
    try:
        request = decode_request(text)
    except InvalidInputError:
        return
    for topic in request.subscribe + request.unsubscribe:
        topic_find(topic)
        assert json.loads(error_text(topic, "x", "y").encode())["topic"] == topic


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[]", "frame"),
        ("{}", "frame"),
        ('{"subscribe":"wan"}', "subscribe"),
        ('{"subscribe":[1]}', "subscribe[0]"),
        ('{"unsubscribe":["wan",""]}', "unsubscribe[1]"),
        (json.dumps({"subscribe": ["x"] * (MAX_TOPICS + 1)}), "subscribe"),
        ('{"subscribe":[],"also":1}', "frame"),
        ("[" * 10_000, "frame"),
    ],
)
def test_what_is_wrong_with_a_request_is_named(text: str, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_request(text)
    assert caught.value.field == field


def test_requests_name_each_topic_once() -> None:
    assert decode_request('{"subscribe":["wan","wan","jobs"]}') == Request(("wan", "jobs"))


@pytest.mark.parametrize(
    ("topic", "is_known"),
    [("wan", True), ("job:0b1d", True), ("job", False), ("job:", False), ("wan:x", False), ("job:a/b", False),
     ("", False)],
)  # fmt: skip
def test_topics_of_the_table(topic: str, is_known: bool) -> None:
    assert (topic_find(topic) is not None) == is_known


@pytest.mark.parametrize("name", sorted(TOPICS))
def test_every_topic_has_a_snapshot(name: str) -> None:
    assert callable(snapshot_function(TOPICS[name]))


@given(st.text(), st.dictionaries(st.text(), st.integers() | st.text()), st.integers(0, 2**53))
def test_frames_are_json(topic: str, data: dict[str, Any], seq: int) -> None:
    snapshot = json.loads(snapshot_text(topic, seq, 1.0, encode(data)))
    assert snapshot == {"type": "snapshot", "topic": topic, "seq": seq, "at_s": 1.0, "data": data}
    latest = {json.dumps(key): encode(value) for key, value in data.items()}
    telemetry = json.loads(telemetry_text(topic, 1.0, latest))
    assert telemetry == {"type": "event", "topic": topic, "event": "telemetry", "at_s": 1.0, "data": data}
    assert json.loads(ping_text(1.5)) == {"type": "ping", "at_s": 1.5}


@given(st.lists(st.integers(1, 6), max_size=60))
def test_feed_is_whole_or_says_so(steps: list[int]) -> None:
    """Mostly the next number, sometimes a gap, sometimes back to 1: `since` never hides a missing event."""
    feed, seq, whole_since = Feed(), 0, 1
    for step in steps:
        if step == 6:
            seq = 0
        seq += 2 if step == 5 else 1
        is_first = feed.last_seq is None
        is_next = is_first or seq == feed.last_seq + 1
        assert feed.receive(seq, str(seq)) == is_next
        whole_since = whole_since if is_next and not is_first else seq
        for snapshot_seq in range(max(0, whole_since - 3), seq + 1):
            events = feed.since(snapshot_seq)
            if snapshot_seq >= whole_since - 1:
                assert events == [str(number) for number in range(snapshot_seq + 1, seq + 1)]
            else:
                assert events is None


def test_feed_keeps_a_bounded_past() -> None:
    feed = Feed()
    assert feed.since(0) is None  # nothing known: no promise
    feed.expect_after(4)
    assert feed.since(4) == []
    assert feed.since(3) is None
    for seq in range(5, 5 + RING_LENGTH + 1):
        assert feed.receive(seq, "")
    assert feed.since(4) is None
    assert len(feed.since(5) or []) == RING_LENGTH
    feed.forget()
    assert feed.since(5) is None


async def test_queue_overflows_as_a_whole_and_recovers() -> None:
    sent: list[str] = []
    gate = asyncio.Event()
    recovered: list[Client] = []

    async def send(text: str) -> None:
        await gate.wait()
        sent.append(text)

    client = Client(User(username="x"), send, recovered.append)
    for index in range(QUEUE_LENGTH + 10):
        client.offer(str(index))
    client.offer_latest("telemetry")
    assert client.dropped_count == QUEUE_LENGTH + 11
    writing = asyncio.create_task(client.run())
    gate.set()
    await eventually(lambda: recovered)
    assert sent == []
    client.offer("after")
    await eventually(lambda: sent == ["after"])
    writing.cancel()


async def test_telemetry_gives_way_before_events_do() -> None:
    client = Client(User(username="x"), lambda text: asyncio.sleep(0), lambda client: None)
    for _ in range(QUEUE_LENGTH // 4):
        client.offer("event")
    client.offer_latest("telemetry")
    assert client.dropped_count == 1
    client.offer("event")
    assert client.dropped_count == 1

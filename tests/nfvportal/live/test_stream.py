"""The live stream on real Valkey and PostgreSQL, through a real web server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis
from django.conf import settings
from django.http import Http404
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from nfvportal.accounts.access import Role
from nfvportal.events.selectors import SNAPSHOT_EVENTS
from nfvportal.events.services import event_publish
from nfvportal.live import topics
from nfvportal.live.client import QUEUE_LENGTH
from nfvportal.live.publish import SEQ_KEY, publish, publish_latest
from nfvportal.live.topics import Topic
from tests.support.live import Follower, assert_stream_consistent, follow
from tests.support.web import WebServer, eventually, in_database, token_of, user_make, web_serve

pytestmark = pytest.mark.django_db(transaction=True)

_values: dict[str, int] = {}


def values_snapshot(user: Any, topic: str) -> dict[str, Any]:
    """The topic of these tests: numbers kept in memory."""
    if topic.endswith("missing"):
        raise Http404("no such thing")
    return dict(_values)


@pytest.fixture(autouse=True)
def _topics(monkeypatch: pytest.MonkeyPatch) -> None:
    _values.clear()
    here = f"{__name__}:values_snapshot"
    monkeypatch.setitem(topics.TOPICS, "values", Topic(here))
    monkeypatch.setitem(topics.TOPICS, "value", Topic(here, has_key=True))
    monkeypatch.setitem(topics.TOPICS, "secret", Topic(here, min_role=Role.ADMIN))


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[WebServer]:
    async with web_serve(tmp_path) as web:
        yield web


@pytest_asyncio.fixture
async def token() -> str:
    return await in_database(lambda: token_of(user_make("viewer", "viewer")))


def change(key: str, value: int) -> None:
    """Change a number and publish it, in the order of the real thing: first the truth, then the news."""
    _values[key] = value
    publish("values", "value_changed", {key: value})


def fold_value(state: dict[str, Any], event: str, data: dict[str, Any]) -> dict[str, Any]:
    assert event == "value_changed"
    return {**state, **data}


async def test_snapshot_and_events_equal_a_fresh_snapshot(server: WebServer, token: str) -> None:
    async def act() -> None:
        for index in range(200):
            await asyncio.to_thread(change, f"k{index % 7}", index)

    state = await assert_stream_consistent(server, token, "values", act, fold_value)
    assert state["k0"] == 196


async def test_events_that_race_with_the_snapshot_are_neither_lost_nor_doubled(
    server: WebServer, token: str
) -> None:
    """Browsers that join while changes pour in all end at the truth."""
    stop = asyncio.Event()

    async def pour() -> None:
        index = 0
        while not stop.is_set():
            index += 1
            await asyncio.to_thread(change, f"k{index % 5}", index)

    async def join() -> None:
        async with follow(server, token) as browser:
            first = await browser.snapshot("values")
            state, seq = first["data"], first["seq"]
            for _ in range(50):
                event = await browser.numbered_event("values")
                assert event["seq"] == seq + 1
                seq, state = event["seq"], fold_value(state, event["event"], event["data"])
            newest = max(state.values())
            assert set(state.values()) >= set(range(newest - 3, newest))

    pouring = asyncio.create_task(pour())
    try:
        await asyncio.gather(*(join() for _ in range(20)))
    finally:
        stop.set()
        await pouring


async def test_events_topic_is_consistent(server: WebServer, token: str) -> None:
    def fold(state: dict[str, Any], event: str, data: dict[str, Any]) -> dict[str, Any]:
        assert event == data["type"]
        return {"events": [data, *state["events"]][:SNAPSHOT_EVENTS]}

    def act() -> None:
        for index in range(60):
            event_publish(
                type="test.thing_done", at_s=float(index), severity="info", subject="x", data={"n": index}
            )

    await assert_stream_consistent(server, token, "events", lambda: in_database(act), fold)


async def test_telemetry_is_coalesced_to_the_latest(server: WebServer, token: str) -> None:
    async with follow(server, token) as browser:
        await browser.snapshot("values")
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        count, sent, seen = 0, 0, {}
        while loop.time() - started_s < 1.5:
            sent += 1
            await asyncio.to_thread(publish_latest, "values", "a", {"n": sent})
        await asyncio.to_thread(publish_latest, "values", "end", {})
        while "end" not in seen:
            frame = await browser.frame("event", "values")
            assert frame["event"] == "telemetry"
            assert "seq" not in frame
            seen, count = {**seen, **frame["data"]}, count + 1
        assert seen["a"] == {"n": sent}
        assert sent > 50
        assert count <= 4 * (loop.time() - started_s) + 1


@pytest.mark.parametrize(
    ("topic", "code"),
    [("secret", "forbidden"), ("nonsense", "unknown_topic"), ("value", "unknown_topic"), ("values:x", "unknown_topic"),
     ("value:missing", "not_found")],
)  # fmt: skip
async def test_topics_that_are_refused_say_why(server: WebServer, token: str, topic: str, code: str) -> None:
    async with follow(server, token) as browser:
        await browser.subscribe(topic)
        assert (await browser.frame("error", topic))["code"] == code
        await browser.snapshot("values")


async def test_unsubscribed_topics_fall_silent(server: WebServer, token: str) -> None:
    async with follow(server, token) as browser:
        await browser.snapshot("values")
        await browser.socket.send('{"unsubscribe":["values"]}')
        await browser.snapshot("value:b")
        await asyncio.to_thread(change, "a", 1)
        await asyncio.to_thread(publish, "value:b", "value_changed", {})
        assert (await browser.frame("event"))["topic"] == "value:b"


async def _pester(browser: Follower) -> None:
    for _ in range(100):
        await browser.socket.send(b"\x00")
        await browser.frame("error")


async def test_broken_requests_are_answered_and_end_the_stream_when_they_do_not_stop(
    server: WebServer, token: str
) -> None:
    async with follow(server, token) as browser:
        await browser.socket.send("nonsense")
        assert (await browser.frame("error"))["code"] == "malformed"
        await browser.snapshot("values")
        with pytest.raises(ConnectionClosed) as closed:
            await _pester(browser)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4400


@pytest.mark.parametrize(("role", "code"), [(None, 4403), ("viewer", 4401)])
async def test_strangers_are_turned_away(server: WebServer, role: str | None, code: int) -> None:
    raw = await in_database(lambda: token_of(user_make("someone", role)))
    if code == 4401:
        raw = "nfv_api_wrong"
    async with follow(server, raw) as browser:
        with pytest.raises(ConnectionClosed) as closed:
            await browser.socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://[", "https://127.0.0.1:1"])
async def test_pages_from_elsewhere_cannot_connect(server: WebServer, token: str, origin: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Origin": origin}
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{server.url}/ws/live/", additional_headers=headers):
            pass
    assert refused.value.response.status_code == 403


async def test_own_pages_connect_with_their_session(server: WebServer) -> None:
    from django.test import Client as Browser

    def log_in() -> str:
        browser = Browser()
        browser.force_login(user_make("person", "viewer"))
        return f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"

    headers = {"Cookie": await in_database(log_in), "Origin": server.url.replace("ws:", "http:")}
    async with connect(f"{server.url}/ws/live/", additional_headers=headers) as socket:
        await socket.send('{"subscribe":["values"]}')
        assert json.loads(await socket.recv())["type"] == "snapshot"


async def test_a_slow_browser_loses_frames_but_not_the_truth(server: WebServer, token: str) -> None:
    """It stops reading, overflows its queue, reads again: a new snapshot says what it missed."""
    headers = {"Authorization": f"Bearer {token}"}
    large = "x" * 50_000  # all in all far beyond what the kernel buffers for a connection
    async with (
        connect(f"{server.url}/ws/live/", additional_headers=headers, max_queue=1, compression=None) as slow,
        follow(server, token) as quick,
    ):
        await slow.send('{"subscribe":["values"]}')
        assert json.loads(await slow.recv())["type"] == "snapshot"
        await quick.snapshot("values")
        count = QUEUE_LENGTH * 3
        for index in range(count):
            await asyncio.to_thread(publish, "values", "value_changed", {"n": index, "fill": large})
        for index in range(count):
            assert (await quick.numbered_event("values"))["data"]["n"] == index
        _values["n"] = count
        kinds = []
        async with asyncio.timeout(20):
            while "snapshot" not in kinds:
                frame = json.loads(await slow.recv())
                kinds.append(frame["type"])
        assert kinds.count("event") < count
        assert frame["data"] == {"n": count}
        await asyncio.to_thread(change, "after", 1)
        while (frame := json.loads(await slow.recv()))["type"] != "event":
            pass
        assert frame["data"] == {"after": 1}


async def test_lost_memory_of_valkey_leads_to_new_snapshots(server: WebServer, token: str) -> None:
    with redis.Redis.from_url(settings.VALKEY_URL) as valkey:
        async with follow(server, token) as browser:
            for index in range(3):
                await asyncio.to_thread(change, "a", index)
            await browser.snapshot("values")
            await asyncio.to_thread(change, "a", 10)
            assert (await browser.numbered_event("values"))["data"] == {"a": 10}
            valkey.delete(SEQ_KEY + "values")
            await asyncio.to_thread(change, "a", 11)
            again = await browser.frame("snapshot", "values")
            assert (again["seq"], again["data"]) == (1, {"a": 11})
            await asyncio.to_thread(change, "a", 12)
            assert (await browser.numbered_event("values"))["data"] == {"a": 12}


async def test_cut_connection_to_valkey_leads_to_new_snapshots(server: WebServer, token: str) -> None:
    """As after a restart of Valkey: what was published meanwhile is in the snapshot that follows by itself."""
    with redis.Redis.from_url(settings.VALKEY_URL) as valkey:
        async with follow(server, token) as browser:
            await browser.snapshot("values")
            _values["silent"] = 1
            valkey.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            again = await browser.frame("snapshot", "values")
            assert again["data"] == {"silent": 1}
            await asyncio.to_thread(change, "a", 2)
            assert (await browser.numbered_event("values"))["data"] == {"a": 2}


async def test_log_out_ends_the_stream(
    server: WebServer, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nfvportal.accounts.models import ApiToken
    from nfvportal.live import consumers

    monkeypatch.setattr(consumers, "CHECK_AGAIN_S", 0.05)
    async with follow(server, token) as browser:
        await browser.snapshot("values")
        await in_database(lambda: ApiToken.objects.all().delete())
        with contextlib.suppress(AssertionError), pytest.raises(ConnectionClosed) as closed:
            await browser.frame("never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


async def test_hub_forgets_topics_nobody_follows(
    server: WebServer, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nfvportal.live import hub

    monkeypatch.setattr(hub, "IDLE_TOPIC_S", 0.0)
    async with follow(server, token) as browser:
        await browser.snapshot("values")
    own = hub.hub_get()
    await eventually(lambda: not own._clients)
    await own._forget_idle_topics()
    assert own._topics == {}
    async with follow(server, token) as browser:
        await browser.snapshot("values")
        await asyncio.to_thread(change, "a", 1)
        assert (await browser.numbered_event("values"))["data"] == {"a": 1}
